//! Files that the operator hands over: read as they stand, and never quoted.

use std::collections::BTreeSet;

use bearerd::config::toml;
use bearerd::settings::{Settings, limits};
use bearerd::token::service_secrets::{Slot, parse_env_file, parse_secret_file};
use bearerd::token::{Keyring, text};

use super::assert_quotes_no_secret;

/// Every secret that is read is 32 to 4096 visible characters and no token of ours, and none stands there twice.
fn judge_slots(slots: &[Slot]) {
    assert!(slots.len() <= 16);
    let secrets: BTreeSet<&str> = slots.iter().map(|slot| slot.secret.expose()).collect();
    assert_eq!(secrets.len(), slots.len(), "a secret twice");
    for secret in secrets {
        assert!((32..=4096).contains(&secret.len()));
        assert!(secret.bytes().all(|byte| byte.is_ascii_graphic()));
        assert!(text::parse(secret).is_err());
    }
}

/// The secrets of a file are its lines without the white space around them, all of them and in their order;
/// no error quotes one.
pub fn secret_file(input: &[u8]) {
    let slots = match parse_secret_file(input) {
        Ok(slots) => slots,
        Err(fault) => return assert_quotes_no_secret(&format!("{fault} {fault:?}"), input),
    };
    judge_slots(&slots);
    let text = core::str::from_utf8(input).expect("text");
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut lines: Vec<&str> = Vec::new();
    for line in text.split('\n').map(str::trim).filter(|line| !line.is_empty()) {
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    assert_eq!(slots.iter().map(|slot| slot.secret.expose()).collect::<Vec<_>>(), lines);
    assert_quotes_no_secret(&format!("{slots:?}"), input);
}

/// Secrets of a `.env` file are those of the keys that were asked for, and written down plainly they read the
/// same; no error quotes one; the other keys do not matter.
pub fn env_file(input: &[u8]) {
    let keys = ["SECRET".to_owned(), "OLD_SECRET".to_owned()];
    let slots = match parse_env_file(input, &keys) {
        Ok(slots) => slots,
        Err(fault) => return assert_quotes_no_secret(&format!("{fault} {fault:?}"), input),
    };
    judge_slots(&slots);
    assert_quotes_no_secret(&format!("{slots:?}"), input);
    let mut plain = "# plain\nOTHER='x'\n".to_owned();
    for slot in &slots {
        assert!(keys.contains(&slot.name));
        if slot.secret.expose().contains(['\'', '\\']) {
            return;
        }
        plain.push_str(&format!("export {}='{}'\n", slot.name, slot.secret.expose()));
    }
    let again = parse_env_file(plain.as_bytes(), &keys).expect("plain");
    let shown = |slots: &[Slot]| -> Vec<(String, String)> {
        slots.iter().map(|slot| (slot.name.clone(), slot.secret.expose().to_owned())).collect()
    };
    assert_eq!(shown(&again), shown(&slots));
    assert!(
        parse_env_file(input, &["ZZ_NOT_THERE_9".to_owned()]).is_ok_and(|none| none.is_empty())
            || input.windows(14).any(|part| part == b"ZZ_NOT_THERE_9")
    );
}

/// A keyring that is read has one current key and each id once; written down it reads the same, to the byte;
/// no error quotes a key.
pub fn keyring_file(input: &[u8]) {
    let Ok(text) = core::str::from_utf8(input) else { return };
    let keyring = match Keyring::parse(text) {
        Ok(keyring) => keyring,
        Err(fault) => {
            let message = format!("{fault} {fault:?}");
            let keys = text.split_whitespace().filter(|word| word.len() >= 40);
            keys.for_each(|word| assert!(!message.contains(word), "a message quotes a key"));
            return;
        }
    };
    let ids: Vec<&str> = keyring.ids().map(|id| id.as_str()).collect();
    assert!((1..=64).contains(&ids.len()));
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "an id twice");
    let lines: Vec<Vec<&str>> = text
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default().split_whitespace().collect())
        .filter(|words: &Vec<&str>| !words.is_empty())
        .collect();
    assert_eq!(lines.len(), ids.len(), "a key a line");
    let current: Vec<_> = lines.iter().filter(|words| words[0] == "current").collect();
    assert_eq!(current.len(), 1);
    assert_eq!(current[0][1], keyring.current().id().as_str());
    let written = keyring.to_text();
    let again = Keyring::parse(written.expose()).expect("what was written");
    assert_eq!(again.to_text().expose(), written.expose());
    assert!(again.holds(keyring.current()) && keyring.dropped_by(&again).next().is_none());
    for id in ids {
        assert!(again.find(id).is_some_and(|key| keyring.holds(key)));
    }
}

/// A configuration that is read keeps to every bound; a comment before it changes nothing; a table that is not
/// known spoils it; and each fault names a line that is there.
pub fn configuration(input: &[u8]) {
    const FOLDER: &str = "/etc/bearerd";
    let Ok(text) = core::str::from_utf8(input) else { return };
    let settings = match toml::parse(text, FOLDER) {
        Ok(settings) => settings,
        Err(faults) => {
            assert!(!faults.is_empty());
            let lines = text.split('\n').count();
            for fault in faults {
                assert!((1..=lines).contains(&fault.line), "line {} of {lines}", fault.line);
                assert!(!fault.what.is_empty());
                assert!(!fault.to_string().chars().any(char::is_control), "{fault:?}");
            }
            return;
        }
    };
    assert!(settings.server.forbidden_listener().is_none());
    judge_limits(&settings);
    for path in settings.store.dir.iter().chain(&settings.server.admin_socket) {
        assert!(path.starts_with('/'), "{path}");
    }
    if !text.starts_with('\u{feff}') {
        assert_eq!(toml::parse(&format!("# é\n\n{text}"), FOLDER).as_ref(), Ok(&settings));
    }
    let stranger = format!("{text}\n[zz_stranger]\n");
    assert!(toml::parse(&stranger, FOLDER).is_err(), "an unknown table is passed over");
}

fn judge_limits(settings: &Settings) {
    let of = &settings.limits;
    let wide = |number: usize| u64::try_from(number).unwrap();
    for (number, bounds) in [
        (wide(of.header_bytes), limits::HEADER_BYTES),
        (wide(of.body_bytes), limits::BODY_BYTES),
        (wide(of.batch_body_bytes), limits::BATCH_BODY_BYTES),
    ] {
        assert!((bounds.min..=bounds.max).contains(&number));
    }
}
