//! Bringing to the disk when and from where tokens were last used.

use super::Refusal;
use crate::records::{
    Record, Txn,
    token::{LastUsed, Token},
};

/// Uses written in one operation at the most.
pub const BATCH_ROWS_MAX: usize = 1_000;

/// Writes down last uses. One that is older than what is stored, or of a token that is gone, is dropped.
/// Nothing is decided by them, so they have no entry.
pub fn write(txn: &mut Txn<'_>, uses: &[LastUsed]) -> Result<(), Refusal> {
    for last in uses.iter().take(BATCH_ROWS_MAX) {
        let stored = LastUsed::of(txn, last.token)?;
        let is_news = stored.is_none_or(|stored| stored.at <= last.at && stored != *last);
        // A use that is stored goes with its token, which therefore is still there.
        let is_there = stored.is_some() || txn.holds(Token::TABLE, last.token.as_bytes())?;
        if is_news && is_there {
            txn.note(last)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        records::{Action, By, Params, Time},
        rules::{pats::Wish, tokens, town::Town},
        token::TokenId,
    };

    #[test]
    fn a_newer_use_of_a_token_that_is_there_is_written_and_no_other() {
        let mut town = Town::new();
        let anna = town.user("anna@example.org", &[]).id;
        let token = town.pat(anna, Wish::default()).unwrap().token.id;
        let used = |token, at, ip: Option<&str>| LastUsed {
            token,
            at: Time::from_unix(at),
            ip: ip.map(|ip| ip.parse().unwrap()),
        };
        let mut stored_after = |last: LastUsed| {
            town.change(|txn, _| write(txn, &[last])).unwrap();
            LastUsed::of(&town.shelf, last.token).unwrap()
        };
        let first = used(token, 100, None);
        assert_eq!(stored_after(first), Some(first));
        assert_eq!(stored_after(used(token, 99, None)), Some(first), "an older one");
        let elsewhere = used(token, 100, Some("192.0.2.1"));
        assert_eq!(stored_after(elsewhere), Some(elsewhere), "the same second, from elsewhere");
        let later = used(token, 101, None);
        assert_eq!(stored_after(later), Some(later));
        let gone = TokenId::from_parts(1, [9; 10]);
        assert_eq!(stored_after(used(gone, 200, None)), None, "of a token that is gone");
    }

    #[test]
    fn a_use_of_a_token_that_went_after_an_earlier_one_was_stored_is_dropped() {
        let mut town = Town::new();
        let anna = town.user("anna@example.org", &[]).id;
        let token = town.pat(anna, Wish::default()).unwrap().token;
        let used = |at| LastUsed { token: token.id, at: Time::from_unix(at), ip: None };
        town.change(|txn, _| write(txn, &[used(100)])).unwrap();
        town.change(|txn, _| {
            txn.entry(&By::system(), Action::TokenPurge, "tokens", Params::none())?;
            Ok(tokens::erase(txn, &token)?)
        })
        .unwrap();
        town.change(|txn, _| write(txn, &[used(101)])).unwrap();
        assert_eq!(LastUsed::of(&town.shelf, token.id).unwrap(), None);
    }

    #[test]
    fn what_is_stored_already_is_not_written_again() {
        let mut town = Town::new();
        let anna = town.user("anna@example.org", &[]).id;
        let token = town.pat(anna, Wish::default()).unwrap().token.id;
        let last = LastUsed { token, at: Time::from_unix(100), ip: None };
        town.change(|txn, _| write(txn, &[last])).unwrap();
        let mut txn = Txn::new(&town.shelf, 1);
        write(&mut txn, &[last]).unwrap();
        assert!(txn.finish().unwrap().rows.is_empty());
    }
}
