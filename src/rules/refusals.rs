//! Refused setups, logins and enrolments in the audit log: counted by address and reason, and written as
//! one entry each, so that a flood fills no disk.

use core::net::IpAddr;

use super::Refusal;
use crate::{
    records::{Action, By, Params, Time, Txn},
    token::TokenId,
};

/// What was refused, from where and why. Refusals that are the same are counted together.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Refused {
    /// [`Action::SetupRefused`] and its like.
    pub action: Action,
    /// From where.
    pub ip: Option<IpAddr>,
    /// Why, in a word.
    pub reason: &'static str,
    /// Which token, where the entry is to name it.
    pub token: Option<TokenId>,
    /// From where that token was used the first time, where this is about a second one.
    pub first_ip: Option<IpAddr>,
}

impl Refused {
    /// A refusal that names no token.
    pub const fn new(action: Action, ip: Option<IpAddr>, reason: &'static str) -> Self {
        Self { action, ip, reason, token: None, first_ip: None }
    }
}

/// How often, and since when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted {
    /// How often.
    pub count: u64,
    /// When the first of them was.
    pub since: Time,
}

/// Writes one entry for each.
pub fn write(txn: &mut Txn<'_>, refusals: &[(Refused, Counted)]) -> Result<(), Refusal> {
    for (refused, counted) in refusals {
        let mut params = Params::none()
            .with("reason", refused.reason)
            .with("count", counted.count)
            .with("seconds", txn.now().since(counted.since));
        if let Some(first) = refused.first_ip {
            params = params.with("first_ip", first.to_string());
        }
        let resource = refused.token.map(|token| token.to_string()).unwrap_or_default();
        txn.entry(&By::unknown(refused.ip), refused.action, resource, params)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{records::shelf::Shelf, token::TokenId};

    #[test]
    fn refusals_are_one_entry_each_with_their_count_and_both_addresses() {
        let mut shelf = Shelf::new();
        let token = TokenId::from_parts(1, [1; 10]);
        let ip = "192.0.2.1".parse().ok();
        let plain = Refused::new(Action::LoginRefused, ip, "hash");
        let replayed = Refused {
            token: Some(token),
            first_ip: "192.0.2.9".parse().ok(),
            ..Refused::new(Action::EnrollmentReplayed, ip, "replayed")
        };
        let counted = |count| Counted { count, since: Time::from_unix(93) };
        shelf.change(100_000, |txn| write(txn, &[(plain, counted(7)), (replayed, counted(1))])).unwrap();
        let shown: Vec<_> = shelf
            .audit()
            .into_iter()
            .map(|entry| (entry.action, entry.resource, entry.params, entry.ip))
            .collect();
        assert_eq!(shown.len(), 2);
        assert_eq!(shown[0].0, Action::LoginRefused.name());
        assert_eq!((shown[0].1.as_str(), shown[0].3), ("", ip));
        assert_eq!(shown[0].2, r#"{"count":7,"reason":"hash","seconds":7}"#);
        assert_eq!(shown[1].1, token.to_string());
        assert_eq!(shown[1].2, r#"{"count":1,"first_ip":"192.0.2.9","reason":"replayed","seconds":7}"#);
    }
}
