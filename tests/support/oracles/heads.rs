//! What a head says of its sender: bearer, Basic, cookies, origin.

use base64ct::{Base64, Encoding as _};
use bearerd::http::{caller, client, cookies, same_origin};
use bearerd::settings::PublicUrl;
use hyper::header::{AUTHORIZATION, COOKIE, HeaderName, HeaderValue, ORIGIN};
use hyper::http::request::Parts;

use super::assert_quotes_no_secret;

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const URLS: [&str; 3] = ["https://portal.example.org", "http://127.0.0.1:8420", "http://10.0.0.5"];

/// A line each: `Authorization`, `Origin`, `Sec-Fetch-Site`, then lines of cookies; an empty line is a header that
/// is not sent. Each is read as a plainer reader reads it, and the order of cookies decides nothing.
pub fn sender(input: &[u8]) {
    let lines: Vec<&[u8]> = input.split(|byte| *byte == b'\n').take(12).collect();
    let mut request = hyper::Request::new(());
    for (at, line) in lines.iter().enumerate() {
        let name = match at {
            0 => AUTHORIZATION,
            1 => ORIGIN,
            2 => FETCH_SITE,
            _ => COOKIE,
        };
        let Ok(value) = HeaderValue::from_bytes(line) else { return };
        if !line.is_empty() {
            request.headers_mut().append(name, value);
        }
    }
    let (head, ()) = request.into_parts();
    judge_authorization(&head, lines[0]);
    judge_origin(&head, &lines);
    judge_cookies(&head, lines.get(3..).unwrap_or_default());
}

fn judge_authorization(head: &Parts, line: &[u8]) {
    // A scheme ends at the first space; a header that ends there presents the empty word.
    let (scheme, rest) = match line.iter().position(|byte| *byte == b' ') {
        Some(at) => (&line[..at], &line[at + 1..]),
        None => (line, &line[line.len()..]),
    };
    // One space or more (RFC 6750, section 2.1).
    let spaces = rest.iter().take_while(|byte| **byte == b' ').count();
    let bearer = scheme.eq_ignore_ascii_case(b"bearer").then_some(&rest[spaces..]);
    assert_eq!(caller::bearer(head), bearer);
    let basic = client::basic(head);
    assert_eq!(basic.is_some(), scheme.eq_ignore_ascii_case(b"basic"));
    let Some(basic) = basic else { return };
    assert_quotes_no_secret(&format!("{basic:?}"), line);
    let plain = decoded(rest);
    if basic.secrets().is_empty() {
        let name_is_broken = plain.as_ref().is_none_or(|(name, _)| form_decoded(name).is_none());
        assert!(basic.name().is_empty() && name_is_broken, "a credential is passed over");
        return;
    }
    let (name, secret) = plain.expect("a name and a secret");
    assert_eq!(Some(basic.name()), form_decoded(&name).as_deref());
    let mut secrets: Vec<String> = form_decoded(&secret).into_iter().collect();
    if !secrets.contains(&secret) {
        secrets.push(secret);
    }
    assert_eq!(basic.secrets(), secrets);
}

/// Name and secret of a Basic credential in its one spelling.
fn decoded(encoded: &[u8]) -> Option<(String, String)> {
    let encoded = core::str::from_utf8(encoded).ok().filter(|text| text.len() <= 8192)?;
    let bytes = bits(encoded)?;
    assert_eq!(Base64::encode_string(&bytes), encoded, "another spelling");
    let text = String::from_utf8(bytes).ok()?;
    text.split_once(':').map(|(name, secret)| (name.to_owned(), secret.to_owned()))
}

/// Base 64 with padding, six bits at a time; none where a bit is left over.
fn bits(text: &str) -> Option<Vec<u8>> {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits = text.trim_end_matches('=');
    if !text.len().is_multiple_of(4) || text.len() - digits.len() > 2 {
        return None;
    }
    let (mut held, mut count, mut bytes) = (0u32, 0, Vec::new());
    for digit in digits.bytes() {
        held = held << 6 | DIGITS.iter().position(|known| *known == digit)? as u32;
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((held >> count) as u8);
            held &= (1 << count) - 1;
        }
    }
    (held == 0 && count < 6).then_some(bytes)
}

fn form_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digits = [char::from(rest.next()?), char::from(rest.next()?)];
                let [high, low] = digits.map(|digit| digit.to_digit(16));
                (high? * 16 + low?) as u8
            }
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}

fn judge_origin(head: &Parts, lines: &[&[u8]]) {
    let said = |at: usize| lines.get(at).copied().filter(|line| !line.is_empty());
    let (origin, site) = (said(1), said(2));
    for url in URLS {
        let silent = url == "http://10.0.0.5";
        let own = origin.is_none_or(|origin| {
            origin == url.as_bytes() || (origin == b"null" && (site.is_some() || silent))
        });
        let good = own && site.is_none_or(|site| site == b"same-origin" || site == b"none");
        let judged = same_origin::check(&head.headers, &PublicUrl::parse(url).unwrap());
        assert_eq!(judged.is_ok(), good, "{url} {origin:?} {site:?}");
    }
}

fn judge_cookies(head: &Parts, lines: &[&[u8]]) {
    for secure in [false, true] {
        let name = if secure { "__Host-portal_session" } else { "portal_session" };
        let mut values: Vec<&[u8]> = Vec::new();
        for pair in lines.iter().flat_map(|line| line.split(|byte| *byte == b';')) {
            let from = pair.iter().position(|byte| !b" \t".contains(byte)).unwrap_or(pair.len());
            let to = pair.iter().rposition(|byte| !b" \t".contains(byte)).map_or(from, |at| at + 1);
            let pair = &pair[from..to];
            if let Some(at) = pair.iter().position(|byte| *byte == b'=')
                && &pair[..at] == name.as_bytes()
            {
                values.push(&pair[at + 1..]);
            }
        }
        let same = values.windows(2).all(|two| two[0] == two[1]);
        let only = values.first().filter(|_| same).and_then(|value| core::str::from_utf8(value).ok());
        assert_eq!(cookies::session(&head.headers, secure).ok(), only);
        let mut turned = hyper::HeaderMap::new();
        for line in lines.iter().rev().filter(|line| !line.is_empty()) {
            let pairs: Vec<&[u8]> = line.split(|byte| *byte == b';').rev().collect();
            turned.append(COOKIE, HeaderValue::from_bytes(&pairs.join(&b';')).unwrap());
        }
        assert_eq!(cookies::session(&turned, secure).ok(), only, "order decides");
    }
}
