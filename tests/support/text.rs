//! Reading text: tokens in a stream of bytes, digests, times.

use sha2::{Digest, Sha256};

const KIND_TAGS: [&str; 6] = ["ist", "ses", "pat", "enr", "agt", "lnk"];
const ID_CHARS: usize = 26;
const SECRET_AND_CHECKSUM_CHARS: usize = 49;
const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Whether `part` occurs in `whole`.
pub fn contains(whole: &[u8], part: &[u8]) -> bool {
    !part.is_empty() && whole.windows(part.len()).any(|window| window == part)
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    let digits = b"0123456789abcdef";
    let digit = |value: u8| char::from(digits[usize::from(value)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// SHA-256 of a text in lower-case hexadecimal.
pub fn sha256_hex(text: &str) -> String {
    hex(&Sha256::digest(text.as_bytes()))
}

/// The first token of this kind tag with the default prefix in a text.
pub fn token_in(text: &str, tag: &str) -> Option<String> {
    tokens_in(text).into_iter().find(|token| token.starts_with(&format!("bdr_{tag}_")))
}

/// Every token with the default prefix in a text.
pub fn tokens_in(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (start, _) in text.match_indices("bdr_") {
        let rest = &text[start + 4..];
        let Some((tag, body)) = rest.split_once('_') else { continue };
        let body: String = body.chars().take_while(char::is_ascii_alphanumeric).collect();
        if KIND_TAGS.contains(&tag) && body.len() == ID_CHARS + SECRET_AND_CHECKSUM_CHARS {
            found.push(format!("bdr_{tag}_{body}"));
        }
    }
    found
}

/// The checksum that the contract gives a token body: CRC-32 in six base 62 digits.
pub fn checksum(body: &str) -> String {
    let mut rest = crc32fast::hash(body.as_bytes());
    let mut digits = [b'0'; 6];
    for digit in digits.iter_mut().rev() {
        *digit = BASE62[(rest % 62) as usize];
        rest /= 62;
    }
    String::from_utf8(digits.to_vec()).unwrap()
}

/// A token of the right shape and checksum that nobody ever minted.
pub fn never_minted(tag: &str) -> String {
    let body = format!("bdr_{tag}_01jd8w3m5ze8vr3pa0n2q9k6ms{}", "Q".repeat(43));
    let check = checksum(&body);
    body + &check
}

/// `2026-11-22T05:41:54Z` as seconds since the epoch; nothing for any other spelling.
pub fn parse_time(text: &str) -> Option<i64> {
    let body = text.strip_suffix('Z')?;
    let (date, clock) = body.split_once('T')?;
    let date: Vec<i64> = date.split('-').map(str::parse).collect::<Result<_, _>>().ok()?;
    let clock = clock.split_once('.').map_or(clock, |(whole, _)| whole);
    let clock: Vec<i64> = clock.split(':').map(str::parse).collect::<Result<_, _>>().ok()?;
    let ([year, month, day], [hour, minute, second]) = (date.as_slice(), clock.as_slice()) else {
        return None;
    };
    // Days from the civil calendar, counted from March so that the leap day comes last.
    let (shifted_year, shifted_month) = if *month > 2 { (*year, month - 3) } else { (year - 1, month + 9) };
    let era = shifted_year.div_euclid(400);
    let year_of_era = shifted_year.rem_euclid(400);
    let day_of_year = (153 * shifted_month + 2) / 5 + day - 1;
    let days =
        era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468;
    Some(days * 86_400 + hour * 3_600 + minute * 60 + second)
}
