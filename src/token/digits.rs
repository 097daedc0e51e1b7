//! The two alphabets that ids and tokens are spelled in: each digit has one character and each
//! character one value. Knows nothing of what the digits mean.

/// What the table of values holds where a character is no digit.
const NO_DIGIT: u8 = u8::MAX;

/// TypeID's base 32: Crockford's, lower case, without his synonyms.
pub(super) static BASE32: Alphabet<32> = Alphabet::new(b"0123456789abcdefghjkmnpqrstvwxyz");

/// Base 62. Its characters ascend in ASCII, so that two spellings of one length compare as their numbers do.
pub(super) static BASE62: Alphabet<62> =
    Alphabet::new(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz");

/// `N` digits, with the way back from a character to its value as a table.
pub(super) struct Alphabet<const N: usize> {
    digits: [u8; N],
    values: [u8; 256],
}

impl<const N: usize> Alphabet<N> {
    #[expect(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::cast_possible_truncation,
        reason = "runs while compiling the two statics above, where a fault is a build error"
    )]
    const fn new(digits: &[u8; N]) -> Self {
        let mut values = [NO_DIGIT; 256];
        let mut value = 0;
        while value < N {
            values[digits[value] as usize] = value as u8;
            value += 1;
        }
        Self { digits: *digits, values }
    }

    /// The character of `value`, which the caller has reduced below `N`.
    pub(super) fn digit(&self, value: u8) -> char {
        char::from(self.character(value))
    }

    /// The same as a byte of ASCII.
    pub(super) fn character(&self, value: u8) -> u8 {
        debug_assert!(usize::from(value) < N, "a digit's value is below the base");
        self.digits.get(usize::from(value)).copied().unwrap_or(b'0')
    }

    /// The value of a character, if it is a digit.
    pub(super) fn value(&self, character: u8) -> Option<u8> {
        self.values.get(usize::from(character)).copied().filter(|&value| value != NO_DIGIT)
    }

    /// Whether every byte is a digit.
    pub(super) fn spells(&self, text: &[u8]) -> bool {
        text.iter().all(|&character| self.value(character).is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check<const N: usize>(alphabet: &Alphabet<N>, strangers: &[u8]) {
        let digits: Vec<u8> = (0..=u8::MAX).filter(|&byte| alphabet.value(byte).is_some()).collect();
        assert_eq!(digits.len(), N);
        assert!(digits.is_sorted_by_key(|&byte| alphabet.value(byte)), "values ascend as ASCII does");
        for byte in digits {
            assert_eq!(alphabet.digit(alphabet.value(byte).unwrap()), char::from(byte));
        }
        for &byte in strangers {
            assert_eq!(alphabet.value(byte), None, "{byte:#x}");
        }
    }

    #[test]
    fn characters_and_values_match_one_to_one_in_ascii_order() {
        check(&BASE32, b"ilouABZ-_/:@[`{ \0\x7f\x80\xff");
        check(&BASE62, b"-_+/:@[`{ \0\x7f\x80\xff");
    }
}
