//! The bounds of what a request may carry, field by field, and the types that hold what is within them.
//!
//! One place for each bound: the rules refuse by it and the API's description shows it.

use serde_json::{Map, Value};

use super::Refusal;

/// The longest one-line text that is looked at before it is trimmed, in bytes.
pub const LINE_BYTES_MAX: usize = 4 * 1024;
/// The longest name of a token, a user, a client or a label, in characters after trimming.
pub const NAME_CHARS_MAX: usize = 200;
/// The longest e-mail, in bytes after trimming.
pub const EMAIL_BYTES_MAX: usize = 254;
/// The shortest password, in bytes.
pub const PASSWORD_BYTES_MIN: usize = 12;
/// The longest password, in bytes.
pub const PASSWORD_BYTES_MAX: usize = 1024;
/// The longest scope, in bytes.
pub const SCOPE_BYTES_MAX: usize = 1024;
/// The most groups of one user.
pub const GROUPS_MAX: usize = 64;
/// The longest name of a group, in characters.
pub const GROUP_CHARS_MAX: usize = 64;
/// The largest JSON object that goes with a token, in bytes as written.
pub const METADATA_BYTES_MAX: usize = 4 * 1024;
/// The largest facts of a host, in bytes as written.
pub const FACTS_BYTES_MAX: usize = 16 * 1024;
/// The largest credentials of a host, in bytes as written.
pub const CREDENTIALS_BYTES_MAX: usize = 16 * 1024;
/// The most address ranges of one token.
pub const ALLOWED_IPS_MAX: usize = 64;
/// The longest name of a host, in characters: as long as a name in the DNS.
pub const HOSTNAME_CHARS_MAX: usize = 253;
/// The most tags of one host.
pub const TAGS_MAX: usize = 32;
/// The longest tag, in characters.
pub const TAG_CHARS_MAX: usize = 64;
/// The longest overlap of a rotation, in seconds: 30 days.
pub const OVERLAP_SECONDS_MAX: u64 = 30 * 24 * 60 * 60;

/// A text of `min` to `max` characters after trimming, without control characters.
pub fn line(field: &'static str, text: &str, min: usize, max: usize) -> Result<String, Refusal> {
    let trimmed = text.trim();
    let chars = trimmed.chars().count();
    if chars < min || chars > max || trimmed.chars().any(char::is_control) {
        return Err(Refusal::invalid(
            field,
            format!("must be {min} to {max} characters after trimming, without control characters"),
        ));
    }
    Ok(trimmed.to_owned())
}

/// A name for people: 1 to [`NAME_CHARS_MAX`] characters.
pub fn name(field: &'static str, text: &str) -> Result<String, Refusal> {
    line(field, text, 1, NAME_CHARS_MAX)
}

/// An e-mail: trimmed, at most [`EMAIL_BYTES_MAX`] bytes, one `@` with something on both sides, no white
/// space or control characters. Whether mail arrives there is nobody's business here.
pub fn email(field: &'static str, text: &str) -> Result<String, Refusal> {
    let trimmed = text.trim();
    let well_formed = trimmed
        .split_once('@')
        .is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty() && !domain.contains('@'))
        && !trimmed.chars().any(|c| c.is_control() || c.is_whitespace());
    if !well_formed || trimmed.len() > EMAIL_BYTES_MAX {
        return Err(Refusal::invalid(
            field,
            format!("must be an e-mail address of at most {EMAIL_BYTES_MAX} bytes"),
        ));
    }
    Ok(trimmed.to_owned())
}

/// Whether a password is within its bounds: [`PASSWORD_BYTES_MIN`] to [`PASSWORD_BYTES_MAX`] bytes.
pub fn password(field: &'static str, text: &str) -> Result<(), Refusal> {
    if (PASSWORD_BYTES_MIN..=PASSWORD_BYTES_MAX).contains(&text.len()) {
        return Ok(());
    }
    Err(Refusal::invalid(field, format!("must be {PASSWORD_BYTES_MIN} to {PASSWORD_BYTES_MAX} bytes")))
}

/// The one spelling of a set of groups: sorted, each once. A group is a word of `[A-Za-z0-9._:-]`.
pub fn groups(field: &'static str, groups: &[String]) -> Result<Vec<String>, Refusal> {
    let word = |group: &String| {
        !group.is_empty()
            && group.len() <= GROUP_CHARS_MAX
            && group.bytes().all(|b| b.is_ascii_alphanumeric() || b"._:-".contains(&b))
    };
    if groups.len() > GROUPS_MAX || !groups.iter().all(word) {
        return Err(Refusal::invalid(
            field,
            format!(
                "must be at most {GROUPS_MAX} words of 1 to {GROUP_CHARS_MAX} characters of A-Z a-z 0-9 . _ : -"
            ),
        ));
    }
    let mut sorted = groups.to_vec();
    sorted.sort();
    sorted.dedup();
    Ok(sorted)
}

/// Scope words (RFC 6749, section 3.3) separated by one space, each once, at most [`SCOPE_BYTES_MAX`] bytes.
pub fn scope(field: &'static str, text: &str) -> Result<String, Refusal> {
    // scope-token = 1*( %x21 / %x23-5B / %x5D-7E )
    let allowed = |b: u8| matches!(b, 0x21 | 0x23..=0x5b | 0x5d..=0x7e);
    let words: Vec<&str> = text.split(' ').collect();
    let distinct = words
        .iter()
        .enumerate()
        .all(|(at, word)| !words.iter().skip(at.saturating_add(1)).any(|w| w == word));
    if text.len() > SCOPE_BYTES_MAX
        || !distinct
        || words.iter().any(|word| word.is_empty() || !word.bytes().all(allowed))
    {
        return Err(Refusal::invalid(
            field,
            format!(
                "must be different scope words (RFC 6749) separated by one space, at most {SCOPE_BYTES_MAX} bytes"
            ),
        ));
    }
    Ok(text.to_owned())
}

/// A JSON object of at most `max` bytes as it is written without white space.
pub fn object(field: &'static str, object: &Map<String, Value>, max: usize) -> Result<String, Refusal> {
    let text = serde_json::to_string(object).map_err(|_| Refusal::invalid(field, "must be a JSON object"))?;
    if text.len() > max {
        return Err(Refusal::invalid(field, format!("must be a JSON object of at most {max} bytes")));
    }
    Ok(text)
}

/// At most [`TAGS_MAX`] tags of 1 to [`TAG_CHARS_MAX`] characters, without control characters.
pub fn tags(field: &'static str, tags: &[String]) -> Result<Vec<String>, Refusal> {
    let bounds = || {
        Refusal::invalid(
            field,
            format!(
                "must be at most {TAGS_MAX} strings of 1 to {TAG_CHARS_MAX} characters, without control characters"
            ),
        )
    };
    if tags.len() > TAGS_MAX {
        return Err(bounds());
    }
    tags.iter().map(|tag| line(field, tag, 1, TAG_CHARS_MAX).map_err(|_| bounds())).collect()
}

/// A host's name, as the host itself has it: 1 to [`HOSTNAME_CHARS_MAX`] characters.
pub fn hostname(field: &'static str, text: &str) -> Result<String, Refusal> {
    line(field, text, 1, HOSTNAME_CHARS_MAX)
}

/// How long a rotated token lives on: at most [`OVERLAP_SECONDS_MAX`].
pub fn overlap(seconds: Option<u64>) -> Result<u64, Refusal> {
    match seconds {
        None => Ok(0),
        Some(seconds) if seconds <= OVERLAP_SECONDS_MAX => Ok(seconds),
        Some(_) => Err(Refusal::invalid("overlap_seconds", format!("must be 0 to {OVERLAP_SECONDS_MAX}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    #[expect(clippy::needless_pass_by_value, reason = "rows read better")]
    fn check<T: core::fmt::Debug>(outcome: Result<T, Refusal>, good: bool) {
        let outcome = outcome.as_ref();
        assert_eq!(outcome.is_ok(), good, "{outcome:?}");
    }

    #[test]
    fn a_name_is_1_to_200_characters_after_trimming() {
        check(name("name", ""), false);
        check(name("name", "  "), false);
        check(name("name", " a "), true);
        check(name("name", &"ä".repeat(200)), true);
        check(name("name", &"ä".repeat(201)), false);
        check(name("name", "a\u{7}b"), false);
        check(name("name", "a\nb"), false);
    }

    #[test]
    fn an_email_has_one_at_and_at_most_254_bytes() {
        check(email("email", " a@b "), true);
        check(email("email", &format!("{}@b.c", "a".repeat(250))), true);
        check(email("email", &format!("{}@b.c", "a".repeat(251))), false);
        for bad in ["", "a", "@b", "a@", "a@b@c", "a b@c", "a@b\r\nc"] {
            check(email("email", bad), false);
        }
    }

    #[test]
    fn scope_words_are_those_of_rfc_6749() {
        check(scope("scope", "general"), true);
        check(scope("scope", "a:read b!#[]~"), true);
        check(scope("scope", &"a".repeat(1024)), true);
        check(scope("scope", &"a".repeat(1025)), false);
        for bad in ["", " a", "a ", "a  b", "a\"b", "a\\b", "ä", "a a", "a\tb"] {
            check(scope("scope", bad), false);
        }
    }

    #[test]
    fn passwords_are_counted_in_bytes() {
        check(password("password", &"a".repeat(11)), false);
        check(password("password", &"a".repeat(12)), true);
        check(password("password", &"a".repeat(1024)), true);
        check(password("password", &"a".repeat(1025)), false);
    }

    #[test]
    fn groups_are_sorted_and_each_once() {
        let given = ["ops", "admin", "ops"].map(str::to_owned);
        assert_eq!(groups("groups", &given).unwrap(), ["admin", "ops"]);
        check(groups("groups", &["a b".to_owned()]), false);
        check(groups("groups", &[String::new()]), false);
        check(groups("groups", &vec!["x".repeat(64); 64]), true);
        check(groups("groups", &["x".repeat(65)]), false);
        check(groups("groups", &vec!["x".to_owned(); 65]), false);
    }

    #[test]
    fn a_host_name_is_1_to_253_characters_after_trimming() {
        let long = "é".repeat(253);
        for good in
            ["a", " web-1 ", "web_1.example.org", "WEB", "10.0.0.1", "köln 1", &long, &format!(" {long} ")]
        {
            check(hostname("hostname", good), true);
        }
        for bad in ["", "  ", "a\nb", "a\0", "a\u{7f}b", "a\u{9b}b", &format!("{long}a")] {
            check(hostname("hostname", bad), false);
        }
    }

    #[test]
    fn an_overlap_is_at_most_30_days() {
        check(overlap(Some(2_592_000)), true);
        check(overlap(Some(2_592_001)), false);
    }
}
