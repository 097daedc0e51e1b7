//! The alphabets of the words that the configuration names things by.

/// The longest scope word, in bytes.
const SCOPE_WORD_BYTES_MAX: usize = 255;
/// The longest group name, in bytes.
const GROUP_BYTES_MAX: usize = 64;
/// The longest name of a policy, in bytes.
const POLICY_BYTES_MAX: usize = 64;
/// The longest name of a variable in a `.env` file, in bytes.
const ENV_KEY_BYTES_MAX: usize = 255;
/// The longest name of a systemd credential, in bytes: it is a file name.
const CREDENTIAL_BYTES_MAX: usize = 255;

/// Whether this is one scope word as RFC 6749 section 3.3 spells it: visible ASCII without `"` and `\`.
pub fn is_scope_word(text: &str) -> bool {
    (1..=SCOPE_WORD_BYTES_MAX).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\')
}

/// Whether this is a group's name: a scope word without a comma, since headers list groups with commas.
pub fn is_group(text: &str) -> bool {
    text.len() <= GROUP_BYTES_MAX && is_scope_word(text) && !text.contains(',')
}

/// Whether this is a policy's name: what stands in a path without being escaped.
pub fn is_policy_name(text: &str) -> bool {
    text.len() <= POLICY_BYTES_MAX
        && text.starts_with(|first: char| first.is_ascii_alphanumeric())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

/// Whether this is the name of a variable, as shells have it.
pub fn is_env_key(text: &str) -> bool {
    text.len() <= ENV_KEY_BYTES_MAX
        && text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Whether this is the name of a systemd credential, which is the name of a file in one directory.
pub fn is_credential_name(text: &str) -> bool {
    (1..=CREDENTIAL_BYTES_MAX).contains(&text.len())
        && !text.starts_with('.')
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(judge: fn(&str) -> bool, good: &[&str], bad: &[&str], longest: usize) {
        for text in good {
            assert!(judge(text), "{text:?} is fine");
        }
        for text in bad {
            assert!(!judge(text), "{text:?} is not");
        }
        assert!(judge(&"a".repeat(longest)), "the limit");
        assert!(!judge(&"a".repeat(longest + 1)), "one past the limit");
        assert!(!judge(""), "nothing");
    }

    #[test]
    fn a_scope_word_is_visible_ascii() {
        check(
            is_scope_word,
            &["general", "reports:read", "a,b", "!", "~", "[]"],
            &["a b", "a\"", "a\\", "é", "a\n", "\u{7f}"],
            SCOPE_WORD_BYTES_MAX,
        );
    }

    #[test]
    fn a_group_fits_into_a_comma_separated_header() {
        check(is_group, &["admin", "team/red", "x.y"], &["a,b", "a b", "ä"], GROUP_BYTES_MAX);
    }

    #[test]
    fn a_policy_name_is_a_plain_path_segment() {
        check(
            is_policy_name,
            &["reports", "A-1_b.c", "0"],
            &["-a", ".", "..", "a/b", "a%62", "@a", "a b"],
            POLICY_BYTES_MAX,
        );
    }

    #[test]
    fn an_env_key_is_a_shell_variable() {
        check(is_env_key, &["TOKEN", "_x1", "a"], &["1A", "A-B", "A=B", "A B"], ENV_KEY_BYTES_MAX);
    }

    #[test]
    fn a_credential_name_cannot_leave_its_directory() {
        check(
            is_credential_name,
            &["keyring", "a.b-c_1"],
            &[".", "..", "../x", "a/b", ".hidden", "a\0"],
            CREDENTIAL_BYTES_MAX,
        );
    }
}
