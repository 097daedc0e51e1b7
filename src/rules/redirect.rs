//! Where a magic link may lead: to a path of the public origin, and nowhere else, in any browser's reading.
//!
//! A browser resolves the text against the public URL (WHATWG URL, "basic URL parser"). It leaves the
//! origin if the text begins with a scheme, with `//`, or, because `\` counts as `/`, with `/\`; and it
//! drops tabs and line ends wherever they stand, so that `/<tab>/host` is `//host`. What begins with one
//! `/` and holds no backslash and no control character keeps scheme, host and port, whatever its dot
//! segments and percent-encodings come to: those are resolved within the path.

use super::Refusal;

/// The longest redirect, in bytes as a header carries it, where what is not visible ASCII takes three.
pub const REDIRECT_BYTES_MAX: usize = 2048;

/// Where a link leads that was made without a redirect.
pub const REDIRECT_DEFAULT: &str = "/";

/// A path on the public origin, perhaps with query and fragment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect(String);

impl Redirect {
    /// The redirect of that text.
    pub fn parse(field: &'static str, text: &str) -> Result<Self, Refusal> {
        let refused = |why: &str| Err(Refusal::invalid(field, why));
        let mut chars = text.chars();
        if chars.next() != Some('/') || matches!(chars.next(), Some('/' | '\\')) {
            return refused("must be a path that begins with one /");
        }
        if text.chars().any(|c| c == '\\' || c.is_control()) {
            return refused("must not hold a backslash or a control character");
        }
        if header_bytes(text) > REDIRECT_BYTES_MAX {
            return Err(Refusal::invalid(
                field,
                format!("must be at most {REDIRECT_BYTES_MAX} bytes, percent-encoded"),
            ));
        }
        Ok(Self(text.to_owned()))
    }

    /// The text.
    pub fn into_text(self) -> String {
        self.0
    }
}

impl Default for Redirect {
    fn default() -> Self {
        Self(REDIRECT_DEFAULT.to_owned())
    }
}

/// How long `text` is once everything but visible ASCII is percent-encoded.
fn header_bytes(text: &str) -> usize {
    text.bytes().map(|byte| if byte.is_ascii_graphic() { 1 } else { 3 }).fold(0, usize::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn accepted(text: &str) {
        assert_eq!(Redirect::parse("redirect", text).map(Redirect::into_text), Ok(text.to_owned()));
    }

    #[track_caller]
    fn refused(text: &str) {
        assert!(
            matches!(Redirect::parse("redirect", text), Err(Refusal::Invalid { field: "redirect", .. })),
            "{text:?}"
        );
    }

    #[test]
    fn a_path_may_have_query_and_fragment_and_any_text() {
        accepted("/");
        accepted("/a/b?c=d&e=/f//g#h?i");
        accepted("/?next=https://evil.example/");
        accepted("/a//b");
        accepted("/über uns");
        accepted("/@evil.example");
        accepted("/:8080");
        // Resolved within the path, so that they stay where they are; the thorough tests ask a browser.
        accepted("/%09/evil.example");
        accepted("/%2f/evil.example");
        accepted("/%5cevil.example");
        accepted("/.//evil.example");
        accepted("/..//evil.example");
        accepted("/a/..//evil.example");
        accepted("/%2e%2e//evil.example");
        accepted("/／evil.example");
    }

    #[test]
    fn what_could_leave_the_origin_is_refused() {
        refused("");
        refused(" /");
        refused("a");
        refused("?a");
        refused("#a");
        refused("//evil.example");
        refused("///evil.example");
        refused("/\\evil.example");
        refused("\\\\evil.example");
        refused("\\/evil.example");
        refused("/a\\b");
        refused("/?a=\\");
        refused("https://evil.example/");
        refused("https:/evil.example");
        refused("https:evil.example");
        refused("javascript:alert(1)");
        refused("/\t/evil.example");
        refused("/\n/evil.example");
        refused("/\r\nSet-Cookie: a=b");
        refused("\t//evil.example");
        refused("\u{0}/");
        refused("/a\u{7f}");
        refused("/a\u{85}b");
        refused("\u{feff}/");
    }

    #[test]
    fn its_length_is_that_of_the_header() {
        accepted(&format!("/{}", "a".repeat(2047)));
        refused(&format!("/{}", "a".repeat(2048)));
        accepted(&format!("/{}", "é".repeat(341)));
        refused(&format!("/{}", "é".repeat(342)));
    }
}
