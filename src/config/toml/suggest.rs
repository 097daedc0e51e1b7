//! Which of the known words was meant by one that is not known.

/// The longest word for which a suggestion is looked for, in bytes: the search takes time by its square.
const WORD_BYTES_MAX: usize = 64;

/// The known word that differs least, if few enough typing errors lead there.
pub(super) fn nearest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    if word.len() > WORD_BYTES_MAX {
        return None;
    }
    let nearest =
        known.into_iter().map(|known| (distance(word.as_bytes(), known.as_bytes()), known)).min()?;
    (nearest.0 <= nearest.1.len().div_ceil(3)).then_some(nearest.1)
}

/// How many characters must be put in, left out or exchanged to make one of the other.
fn distance(from: &[u8], to: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (above, left) in from.iter().zip(1_usize..) {
        let mut diagonal = left.saturating_sub(1);
        let mut before = left;
        let mut next = vec![left];
        for (other, over) in to.iter().zip(row.iter().skip(1)) {
            let exchanged = diagonal.saturating_add(usize::from(above != other));
            before = exchanged.min(before.saturating_add(1)).min(over.saturating_add(1));
            diagonal = *over;
            next.push(before);
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_counted_in_characters() {
        for (from, to, expected) in [
            ("", "", 0),
            ("a", "", 1),
            ("", "ab", 2),
            ("listen", "listen", 0),
            ("lisen", "listen", 1),
            ("ilsten", "listen", 2),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(distance(from.as_bytes(), to.as_bytes()), expected, "{from} {to}");
        }
    }

    #[test]
    fn only_what_is_close_is_suggested() {
        let known = ["listen", "public_url", "allow_remote"];
        assert_eq!(nearest("listne", known), Some("listen"));
        assert_eq!(nearest("publicurl", known), Some("public_url"));
        assert_eq!(nearest("colour", known), None);
        assert_eq!(nearest("x", known), None);
        assert_eq!(nearest(&"l".repeat(WORD_BYTES_MAX + 1), known), None);
        assert_eq!(nearest("listen", []), None);
    }
}
