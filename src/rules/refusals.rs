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
