//! Whether a request that a browser sends with a cookie, or to get one, was made by a page of ours.
//!
//! `SameSite=Lax` keeps the cookie out of foreign POSTs, but a foreign page could still log somebody in or
//! out. Browsers say where a request comes from, and pages cannot forge that; what says nothing is no
//! browser. `Sec-Fetch-Site` is sent to https and to this machine, `Origin` with every POST, as `null`
//! where a page hides where it is: ours does, by `Referrer-Policy: no-referrer`.

use hyper::{
    HeaderMap,
    header::{HeaderName, ORIGIN},
};

use super::problem::Problem;
use crate::settings::{PublicUrl, Scheme};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Refuses a request that a browser says comes from another site. The public URL is the one origin that
/// counts.
pub fn check(headers: &HeaderMap, public_url: &PublicUrl) -> Result<(), Problem> {
    let refused = || Err(Problem::Forbidden { scope: None });
    let (Ok(site), Ok(origin)) = (only(headers, &SEC_FETCH_SITE), only(headers, &ORIGIN)) else {
        return refused();
    };
    // `none`: typed, or from a bookmark; no page made it.
    if site.is_some_and(|site| site != b"same-origin" && site != b"none") {
        return refused();
    }
    match origin {
        None => Ok(()),
        Some(b"null") if site.is_some() || says_no_site(public_url) => Ok(()),
        Some(origin) if origin == public_url.as_str().as_bytes() => Ok(()),
        Some(_) => refused(),
    }
}

/// Whether browsers keep `Sec-Fetch-Site` from this origin: plain http to another machine. There is nothing
/// else to go by there, and nothing that a stranger on the way could not do anyway.
fn says_no_site(public_url: &PublicUrl) -> bool {
    public_url.scheme() == Scheme::Http && !public_url.is_loopback_http()
}

/// A header's one value; an error where it stands there more than once.
fn only<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h [u8]>, ()> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (value, None) => Ok(value.map(hyper::header::HeaderValue::as_bytes)),
        (_, Some(_)) => Err(()),
    }
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    #[track_caller]
    fn at(public_url: &str, origins: &[&'static str], sites: &[&'static str], good: bool) {
        let mut headers = HeaderMap::new();
        for origin in origins {
            headers.append(ORIGIN, HeaderValue::from_static(origin));
        }
        for site in sites {
            headers.append(SEC_FETCH_SITE, HeaderValue::from_static(site));
        }
        let outcome = check(&headers, &PublicUrl::parse(public_url).unwrap());
        assert_eq!(outcome.is_ok(), good, "{public_url} {origins:?} {sites:?}");
    }

    #[test]
    fn a_page_of_ours_and_a_program_may() {
        for url in ["https://portal.example.com", "http://127.0.0.1:8420", "http://10.0.0.5"] {
            at(url, &[], &[], true);
            at(url, &[], &["same-origin"], true);
            at(url, &[], &["none"], true);
            at(url, &["null"], &["same-origin"], true);
        }
        at("https://portal.example.com", &["https://portal.example.com"], &[], true);
        at("https://portal.example.com", &["https://portal.example.com"], &["same-origin"], true);
    }

    #[test]
    fn a_foreign_page_may_not() {
        let url = "https://portal.example.com";
        for origin in [
            "https://evil.example",
            "http://portal.example.com",
            "https://portal.example.com:8443",
            "https://portal.example.com.evil.example",
            "https://portal.example.com/",
            "HTTPS://PORTAL.EXAMPLE.COM",
            "https://sub.portal.example.com",
            "portal.example.com",
            "",
        ] {
            at(url, &[origin], &[], false);
            at(url, &[origin], &["same-origin"], false);
        }
        for site in ["cross-site", "same-site", "", "Same-Origin", "same-origin, cross-site"] {
            at(url, &[], &[site], false);
            at(url, &["https://portal.example.com"], &[site], false);
        }
    }

    #[test]
    fn a_page_that_hides_where_it_is_may_not_where_browsers_would_say_more() {
        at("https://portal.example.com", &["null"], &[], false);
        at("http://127.0.0.1:8420", &["null"], &[], false);
        at("http://localhost", &["null"], &[], false);
        at("http://10.0.0.5", &["null"], &[], true);
        at("http://10.0.0.5", &["http://evil.example"], &[], false);
        at("http://10.0.0.5", &["null"], &["cross-site"], false);
    }

    #[test]
    fn what_is_said_twice_is_not_said() {
        let url = "https://portal.example.com";
        at(url, &["https://portal.example.com", "https://portal.example.com"], &[], false);
        at(url, &[], &["same-origin", "same-origin"], false);
    }
}
