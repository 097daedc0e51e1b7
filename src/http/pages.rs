//! The pages that people see: the button of a single-use link, and what is said where there is no way in.
//!
//! They are whole in themselves: no script, no image, no font, nothing from anywhere. Their one style sheet
//! is allowed by its digest. What they show of the outside world is escaped; that is a client's name and
//! the token in the button's form, and nothing else. Whether somebody gets a page or a problem is said by
//! `Accept` alone.

use hyper::{
    HeaderMap, StatusCode,
    header::{
        ACCEPT, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
        X_FRAME_OPTIONS,
    },
};

use super::{problem::Problem, reply::Reply};
use crate::token::Secret;

/// What a page may load and where its form may lead: nothing, and here. The digest is that of [`STYLE`].
const POLICY: &str = "default-src 'none'; style-src 'sha256-ZUMB9vZpAJX5Tolh11EeSDPbcfx+0mdTa4PwldGfeMY='; form-action 'self'; \
                      base-uri 'none'; frame-ancestors 'none'";

const STYLE: &str = include_str!("pages.css");

/// Adds what every answer of the portal carries, page or not: nobody keeps it, nobody is told where it was,
/// and nobody takes it for something else.
#[must_use]
pub fn guarded(reply: Reply) -> Reply {
    reply
        .no_store()
        .header(REFERRER_POLICY, HeaderValue::from_static("no-referrer"))
        .header(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"))
}

/// The page of a single-use link: nothing happens before its button is pressed, so that whoever only looks
/// at links uses none up.
pub fn button(client: &str, token: &Secret) -> Reply {
    let body = format!(
        "<h1>{}</h1>\n\
         <p>This link opens your portal. It works once, so it waits for you to press the button.</p>\n\
         <form method=\"post\" action=\"/portal/enter\">\n\
         <input type=\"hidden\" name=\"token\" value=\"{}\">\n\
         <button type=\"submit\">Open the portal</button>\n\
         </form>",
        escaped(client),
        escaped(token.expose()),
    );
    page(StatusCode::OK, "Open the portal", &body)
}

/// The page after logging out.
pub fn goodbye() -> Reply {
    let body = "<h1>Signed out</h1>\n<p>You have left the portal on this device. Your link opens it again, \
                unless it works only once.</p>";
    page(StatusCode::OK, "Signed out", body)
}

/// A problem as the caller can read it: a page for a browser, RFC 9457 for the rest. Status and headers are
/// the problem's own either way.
pub fn refusal(headers: &HeaderMap, problem: Problem) -> Reply {
    if !wants_page(headers) {
        return guarded(problem.into_reply());
    }
    let (title, body) = words(problem.status());
    let told = problem.into_reply();
    let mut reply = page(told.status(), title, &format!("<h1>{title}</h1>\n{body}"));
    for (name, value) in told.headers() {
        if name != CONTENT_TYPE {
            reply = reply.also_unless_there(name, value);
        }
    }
    reply
}

/// What a person is told.
fn words(status: StatusCode) -> (&'static str, &'static str) {
    match status {
        StatusCode::UNAUTHORIZED => (
            "Access required",
            "<p>This page opens with a personal link. There was none, or it is not valid any more: links \
             can expire, be withdrawn, or work only once.</p>\n\
             <p>Please ask whoever sent you the link for a new one.</p>",
        ),
        StatusCode::FORBIDDEN => (
            "Not from here",
            "<p>Another site tried to do this in your name, so nothing was done.</p>\n\
             <p>If it was you, open your link again and press the button there.</p>",
        ),
        status if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => (
            "Not available",
            "<p>The portal cannot be opened right now. Your link is still good: please try again in a \
             moment.</p>",
        ),
        _ => ("This did not work", "<p>The portal did not understand the request.</p>"),
    }
}

/// Whether the caller reads pages: `Accept` names `text/html`, and no form of JSON that it likes better
/// (RFC 9110 section 12.5.1).
pub fn wants_page(headers: &HeaderMap) -> bool {
    let mut html = 0;
    let mut json = 0;
    for line in headers.get_all(ACCEPT) {
        for range in line.to_str().unwrap_or_default().split(',') {
            let mut parts = range.split(';').map(str::trim);
            let quality = match parts.next().unwrap_or_default().to_ascii_lowercase().as_str() {
                "text/html" | "application/xhtml+xml" => &mut html,
                "application/json" | "application/problem+json" => &mut json,
                _ => continue,
            };
            let weight = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
            *quality = weight.map_or(1000, thousandths).max(*quality);
        }
    }
    html > 0 && html >= json
}

/// A weight in thousandths; one that is none counts as nothing.
fn thousandths(weight: &str) -> u32 {
    let (whole, fraction) = weight.split_once('.').unwrap_or((weight, ""));
    let digits = format!("{whole}{fraction:0<3}");
    let well_formed =
        whole.len() == 1 && digits.len() == 4 && digits.bytes().all(|byte| byte.is_ascii_digit());
    if well_formed { digits.parse().unwrap_or(0).min(1000) } else { 0 }
}

fn page(status: StatusCode, title: &str, body: &str) -> Reply {
    let page = format!(
        "<!doctype html>\n\
         <html lang=\"en\">\n\
         <head>\n\
         <meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"robots\" content=\"noindex\">\n\
         <title>{title}</title>\n\
         <style>{STYLE}</style>\n\
         </head>\n\
         <body>\n\
         <main>\n\
         {body}\n\
         </main>\n\
         </body>\n\
         </html>\n"
    );
    guarded(Reply::html(status, page))
        .header(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY))
        .header(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"))
}

/// Text as HTML shows it, in an element or in a quoted attribute.
fn escaped(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            c => html.push(c),
        }
    }
    html
}

#[cfg(test)]
mod tests {
    use base64ct::{Base64, Encoding as _};
    use sha2::{Digest, Sha256};

    use super::*;

    fn text(reply: &Reply) -> String {
        String::from_utf8(reply.bytes().unwrap().to_vec()).unwrap()
    }

    fn accepting(accept: &[&'static str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in accept {
            headers.append(ACCEPT, HeaderValue::from_static(line));
        }
        headers
    }

    #[test]
    fn the_policy_allows_the_one_style_sheet_and_nothing_else() {
        let digest = Base64::encode_string(&Sha256::digest(STYLE.as_bytes()));
        assert!(POLICY.contains(&format!("'sha256-{digest}'")), "the digest is sha256-{digest}");
        for page in [goodbye(), button("a", &Secret::new("t".to_owned()))] {
            let page = text(&page);
            assert!(page.contains(&format!("<style>{STYLE}</style>")));
            for forbidden in ["<script", "<img", "<link", "style=", "http:", "https:", "onclick"] {
                assert!(!page.contains(forbidden), "{forbidden}");
            }
        }
    }

    #[test]
    fn every_page_carries_the_headers_that_make_it_safe_to_show() {
        let denied = || Problem::Unauthenticated(super::super::problem::Presented::Nothing);
        let browser = accepting(&["text/html"]);
        let token = Secret::new("t".to_owned());
        for page in [goodbye(), button("a", &token), refusal(&browser, denied())] {
            let headers = page.headers();
            assert_eq!(headers["content-type"], "text/html; charset=utf-8");
            assert_eq!(headers["cache-control"], "no-store");
            assert_eq!(headers["referrer-policy"], "no-referrer");
            assert_eq!(headers["x-content-type-options"], "nosniff");
            assert_eq!(headers["x-frame-options"], "DENY");
            assert_eq!(headers["content-security-policy"], POLICY);
        }
        let problem = refusal(&HeaderMap::new(), denied());
        assert_eq!(problem.headers()["content-type"], "application/problem+json");
        assert_eq!(problem.headers()["referrer-policy"], "no-referrer");
        assert_eq!(problem.headers()["cache-control"], "no-store");
    }

    #[test]
    fn a_page_says_status_and_headers_of_its_problem() {
        let browser = accepting(&["text/html"]);
        let denied = refusal(&browser, Problem::Unauthenticated(super::super::problem::Presented::Bearer));
        assert_eq!(denied.status(), 401);
        assert!(denied.headers().contains_key("www-authenticate"));
        assert!(text(&denied).contains("<h1>Access required</h1>"));
        let unavailable = refusal(&browser, Problem::Unavailable);
        assert_eq!(unavailable.status(), 503);
        assert_eq!(unavailable.headers()["retry-after"], "1");
        assert_eq!(unavailable.headers().get_all("content-type").iter().count(), 1);
    }

    #[test]
    fn names_are_shown_and_never_run() {
        let name = "</h1><script>alert('x')</script>&amp; \"Söhne\"";
        let page = text(&button(name, &Secret::new("a\"><b>".to_owned())));
        assert!(page.contains(
            "<h1>&lt;/h1&gt;&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&amp;amp; &quot;Söhne&quot;</h1>"
        ));
        assert!(page.contains("value=\"a&quot;&gt;&lt;b&gt;\""));
        assert!(!page.contains("<script"));
    }

    #[track_caller]
    fn wants(accept: &[&'static str], page: bool) {
        assert_eq!(wants_page(&accepting(accept)), page, "{accept:?}");
    }

    #[test]
    fn a_browser_gets_a_page_and_a_program_a_problem() {
        wants(&["text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"], true);
        wants(&["text/html"], true);
        wants(&["TEXT/HTML"], true);
        wants(&["text/html;q=0.5, application/json;q=0.5"], true);
        wants(&["application/json", "text/html"], true);
        wants(&["text/html;level=1;q=0.7"], true);
        wants(&[], false);
        wants(&[""], false);
        wants(&["*/*"], false);
        wants(&["text/*"], false);
        wants(&["application/json"], false);
        wants(&["text/html;q=0"], false);
        wants(&["text/html;q=0.000"], false);
        wants(&["text/html;q=0.5, application/json"], false);
        wants(&["text/html;q=x"], false);
        wants(&["text/htmlx"], false);
    }
}
