//! Names, ids, ranges, spans and addresses: each has one spelling, or is brought to one and then stays.

use core::net::IpAddr;

use bearerd::config::span;
use bearerd::rules::clients::Slug;
use bearerd::rules::{limits, users};
use bearerd::settings::{Bounds, Listen, PublicUrl, cidr};
use bearerd::token::{ClientId, HostId, KeyId, ServiceName, TokenId, UserId, text::Prefix};

/// Whatever is accepted as a word of some sort holds nothing that the sort does not allow, and written down again
/// it is the same.
pub fn names(input: &[u8]) {
    let Ok(given) = core::str::from_utf8(input) else { return };
    judge_ids(given);
    judge_words(given);
    judge_people(given);
    judge_places(given);
}

fn judge_ids(given: &str) {
    macro_rules! judge {
        ($($id:ident $name:literal)*) => {$(
            let id = $id::parse(given).ok();
            let bits = given.strip_prefix(concat!($name, "_")).and_then(base_32);
            assert_eq!(id.map(|id| u128::from_be_bytes(*id.as_bytes())), bits);
            if let Some(id) = id {
                assert_eq!(id.to_string(), given, "one spelling of an id");
            }
        )*};
    }
    judge! { UserId "user" TokenId "token" HostId "host" ClientId "client" }
    assert_eq!(
        TokenId::from_suffix(given).ok().map(|id| u128::from_be_bytes(*id.as_bytes())),
        base_32(given)
    );
}

/// 26 digits of five bits, of which the first has three.
fn base_32(digits: &str) -> Option<u128> {
    const DIGITS: &str = "0123456789abcdefghjkmnpqrstvwxyz";
    let mut value: u128 = 0;
    for (at, digit) in digits.chars().enumerate() {
        let digit = DIGITS.find(digit)? as u128;
        if at == 0 && digit >= 8 {
            return None;
        }
        value = value << 5 | digit;
    }
    (digits.chars().count() == 26).then_some(value)
}

fn judge_words(given: &str) {
    let of = |allowed: &str| given.chars().all(|c| allowed.contains(c));
    const LOWER: &str = "abcdefghijklmnopqrstuvwxyz";
    let begins_lower = given.starts_with(|c: char| LOWER.contains(c));
    let length = given.len();
    let inner = !given.starts_with('-') && !given.ends_with('-');

    let prefix = of(&format!("{LOWER}0123456789")) && begins_lower && (2..=12).contains(&length);
    assert_eq!(Prefix::new(given).is_ok(), prefix, "a prefix");
    let service = of(&format!("{LOWER}0123456789-")) && begins_lower && (1..=63).contains(&length);
    assert_eq!(ServiceName::new(given).is_ok(), service, "a service");
    let slug = of(&format!("{LOWER}0123456789-")) && inner && (1..=63).contains(&length);
    assert_eq!(Slug::parse("slug", given).is_ok(), slug, "a slug");
    let key = of(&format!("{LOWER}{}0123456789-", LOWER.to_uppercase())) && (1..=32).contains(&length);
    assert_eq!(KeyId::new(given).is_ok(), key, "a key's id");

    let word = |word: &str| {
        !word.is_empty()
            && word.bytes().all(|byte| (0x21..=0x7e).contains(&byte) && byte != b'"' && byte != b'\\')
    };
    let mut words: Vec<&str> = given.split(' ').collect();
    let count = words.len();
    let all = words.iter().all(|one| word(one));
    words.sort_unstable();
    words.dedup();
    let scope = all && words.len() == count && length <= 1024;
    assert_eq!(limits::scope("scope", given).ok(), scope.then(|| given.to_owned()));
}

fn judge_people(given: &str) {
    let trimmed = given.trim();
    let odd = trimmed.chars().any(|c| c.is_control() || c.is_whitespace());
    let halves: Vec<&str> = trimmed.split('@').collect();
    let email = halves.len() == 2 && halves.iter().all(|half| !half.is_empty()) && !odd;
    let email = email && trimmed.len() <= 254;
    assert_eq!(limits::email("email", given).ok(), email.then(|| trimmed.to_owned()));
    if email {
        let domain = halves[1].to_lowercase();
        let domain = domain.trim_end_matches('.');
        let ours = domain == "system.local" || domain.ends_with(".system.local");
        assert_eq!(users::is_reserved(trimmed), ours, "the daemon's own domain");
        assert_eq!(users::refuse_reserved("owner", trimmed).is_err(), ours);
    }
    let name = (1..=200).contains(&trimmed.chars().count()) && !trimmed.chars().any(char::is_control);
    assert_eq!(limits::name("name", given).ok(), name.then(|| trimmed.to_owned()));
    let hostname = (1..=253).contains(&trimmed.chars().count()) && !trimmed.chars().any(char::is_control);
    assert_eq!(limits::hostname("hostname", given).ok(), hostname.then(|| trimmed.to_owned()));
}

fn judge_places(given: &str) {
    if let Some(range) = cidr::parse(given) {
        assert_eq!(cidr::parse(&range.to_string()), Some(range), "a range has one meaning");
        let (address, bits) = given.split_once('/').map_or((given, None), |(a, b)| (a, Some(b)));
        let address: IpAddr = address.parse().expect("an address");
        // A range of more than the IPv4 addresses in IPv6 form is one of IPv6, where such an address stays as it is.
        let own = if range.addr().is_ipv4() { address.to_canonical() } else { address };
        assert!(range.contains(&own), "its own address lies outside");
        assert_eq!(range.addr().to_canonical(), address.to_canonical());
        let most: u8 = if address.is_ipv4() { 32 } else { 128 };
        let bits: u8 = bits.map_or(most, |bits| bits.parse().expect("bits"));
        assert!(bits <= most);
        let mapped = address.is_ipv6() && range.addr().is_ipv4();
        assert_eq!(range.prefix_len(), if mapped { bits - 96 } else { bits });
    }
    if let Ok(url) = PublicUrl::parse(given) {
        assert_eq!(url.as_str(), given.strip_suffix('/').unwrap_or(given));
        assert_eq!(PublicUrl::parse(url.as_str()).as_ref().map(PublicUrl::as_str), Ok(url.as_str()));
        let rest = url.as_str().split_once("://").expect("a scheme").1;
        assert_eq!(rest, url.authority());
        assert!(!rest.is_empty() && !rest.contains(['/', '?', '#', '@', '\\', ' ']));
        assert!(rest.chars().all(|c| c.is_ascii_graphic() && !c.is_ascii_uppercase()));
        let library: hyper::Uri = url.as_str().parse().expect("a URL for the library, too");
        assert_eq!(library.authority().map(hyper::http::uri::Authority::as_str), Some(url.authority()));
        assert_eq!((library.path(), library.query()), ("/", None));
    }
    if let Ok(listen) = Listen::parse(given) {
        assert_eq!(Listen::parse(&listen.to_string()), Ok(listen));
    }
    let bounds = Bounds::new(1, 315_360_000);
    if let Ok(seconds) = span::parse(given, bounds) {
        assert!((1..=315_360_000).contains(&seconds));
        assert_eq!(span::parse(&span::format(seconds), bounds), Ok(seconds));
        assert_eq!(span::parse(given, Bounds::new(seconds + 1, u64::MAX)).ok(), None, "outside the bounds");
    }
}
