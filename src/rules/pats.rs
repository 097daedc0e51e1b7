//! Personal access tokens: what may be asked for, minting, rotating, changing, listing, revoking.
//!
//! A PAT is bounded three times: by what may be asked for, by the clamps of its scopes, and by its owner,
//! who cannot give it what the owner does not have.

use ipnet::IpNet;

use super::{
    Conflict, Forbidden, Refusal, Terms,
    access::{Authorized, Power},
    limits,
    tokens::{self, Fresh, Minted, Noted, Row},
    users,
};
use crate::{
    records::{
        Action, Params, Time, Txn, View,
        token::{Format, Owner, State, Token},
        user::User,
    },
    settings::{Settings, cidr},
    token::{Kind, TokenHash, TokenId, UserId, jwt},
};

/// How long a PAT lives if nobody says otherwise, in days.
pub const DAYS_DEFAULT: u64 = 90;
/// The longest life in days that can be asked for.
pub const DAYS_MAX: u64 = 3_650;
/// The longest life in seconds that can be asked for.
pub const TTL_SECONDS_MAX: u64 = 315_360_000;
/// The largest number of uses that can be asked for.
pub const USES_MAX: u64 = 1_000_000_000_000;
/// The scope of a PAT if nobody says otherwise.
pub const SCOPE_DEFAULT: &str = "general";

const DAY_SECONDS: u64 = 24 * 60 * 60;

/// How long it was asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Life {
    /// Nothing was said: [`DAYS_DEFAULT`].
    #[default]
    Unsaid,
    /// For ever.
    Unlimited,
    /// So many days.
    Days(u64),
}

/// How it is to be spelled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Spelled {
    /// As our own opaque text.
    #[default]
    Opaque,
    /// As a JWT.
    Jwt,
}

/// What is asked for, as it was said.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    /// A name for people.
    pub name: String,
    /// How long.
    pub life: Life,
    /// How long in seconds; wins over `life`.
    pub ttl_seconds: Option<u64>,
    /// Scope words; [`SCOPE_DEFAULT`] without.
    pub scope: Option<String>,
    /// How it is to be spelled.
    pub spelled: Spelled,
    /// Address ranges; empty: from everywhere.
    pub allowed_ips: Vec<String>,
    /// How often it may be used.
    pub max_uses: Option<u64>,
    /// A JSON object for the product.
    pub metadata: Option<serde_json::Map<String, serde_json::Value>>,
}

/// A wish that is within its bounds.
#[derive(Clone, Debug)]
pub struct Plan {
    name: String,
    span_seconds: Option<u64>,
    scope: String,
    spelled: Spelled,
    allowed_ips: Vec<IpNet>,
    max_uses: Option<u64>,
    metadata: Option<String>,
}

/// What is to be different about a PAT; what is absent stays.
#[derive(Clone, Debug, Default)]
pub struct Change {
    /// A name for people.
    pub name: Option<String>,
    /// A JSON object for the product, or none from now on.
    pub metadata: Option<Option<serde_json::Map<String, serde_json::Value>>>,
    /// Whether it is switched on.
    pub enabled: Option<bool>,
}

/// Judges a wish by its bounds, without looking at who wishes.
pub fn plan(wish: Wish) -> Result<Plan, Refusal> {
    let days = match wish.life {
        Life::Unsaid => Some(DAYS_DEFAULT),
        Life::Unlimited => None,
        Life::Days(days) => Some(within("expires_in_days", days, DAYS_MAX)?),
    };
    let ttl = wish.ttl_seconds.map(|ttl| within("ttl_seconds", ttl, TTL_SECONDS_MAX)).transpose()?;
    let metadata = wish
        .metadata
        .map(|object| limits::object("metadata", &object, limits::METADATA_BYTES_MAX))
        .transpose()?;
    Ok(Plan {
        name: limits::name("name", &wish.name)?,
        span_seconds: ttl.or(days.map(|days| days.saturating_mul(DAY_SECONDS))),
        scope: limits::scope("scope", wish.scope.as_deref().unwrap_or(SCOPE_DEFAULT))?,
        spelled: wish.spelled,
        allowed_ips: ranges(&wish.allowed_ips)?,
        max_uses: wish.max_uses.map(|uses| within("max_uses", uses, USES_MAX)).transpose()?,
        metadata,
    })
}

fn within(field: &'static str, value: u64, max: u64) -> Result<u64, Refusal> {
    if (1..=max).contains(&value) {
        Ok(value)
    } else {
        Err(Refusal::invalid(field, format!("must be 1 to {max}")))
    }
}

/// Address ranges in their one spelling: a single address is the range that holds only itself, host bits
/// are cut off, and IPv4 in IPv6 dress is IPv4.
fn ranges(texts: &[String]) -> Result<Vec<IpNet>, Refusal> {
    let bounds = || {
        Refusal::invalid(
            "allowed_ips",
            format!("must be at most {} CIDR ranges such as 10.0.0.0/8", limits::ALLOWED_IPS_MAX),
        )
    };
    if texts.len() > limits::ALLOWED_IPS_MAX {
        return Err(bounds());
    }
    let mut ranges = Vec::with_capacity(texts.len());
    for text in texts {
        let range = cidr::parse(text).ok_or_else(bounds)?.trunc();
        if !ranges.contains(&range) {
            ranges.push(range);
        }
    }
    Ok(ranges)
}

/// Mints a PAT of the caller's own.
pub fn mint_own(
    txn: &mut Txn<'_>,
    terms: Terms<'_>,
    who: &Authorized,
    plan: Plan,
    fresh: &Fresh,
) -> Result<Minted, Refusal> {
    let owner = who.caller().user().ok_or(Refusal::Forbidden(Forbidden::Kind))?;
    mint_for(txn, terms, who, owner, plan, fresh)
}

/// Mints a PAT for somebody.
pub fn mint_for(
    txn: &mut Txn<'_>,
    terms: Terms<'_>,
    who: &Authorized,
    owner: UserId,
    plan: Plan,
    fresh: &Fresh,
) -> Result<Minted, Refusal> {
    let owner = users::active_person(txn, owner)?;
    let minted = blank(txn, terms, &owner, plan, fresh)?;
    let params = Params::none()
        .with("user", owner.id.to_string())
        .with("name", minted.token.name.clone())
        .with("scope", minted.token.scope.clone())
        .with("span_seconds", minted.token.span_seconds);
    txn.entry(&who.by(), Action::TokenCreate, minted.token.id, params)?;
    tokens::insert(txn, minted.token.clone())?;
    Ok(minted)
}

/// A row and its text from a plan, clamped, and refused where it is more than its owner has.
fn blank(
    txn: &Txn<'_>,
    terms: Terms<'_>,
    owner: &User,
    plan: Plan,
    fresh: &Fresh,
) -> Result<Minted, Refusal> {
    refuse_escalation(owner, &plan.scope)?;
    let span = clamped(terms.settings, &plan.scope, plan.span_seconds);
    let prefix = &terms.settings.tokens.prefix;
    let minted = tokens::blank(txn, prefix, Kind::Pat, Owner::User(owner.id), span, fresh);
    let token = Token {
        name: plan.name,
        scope: plan.scope,
        allowed_ips: plan.allowed_ips,
        max_uses: plan.max_uses,
        metadata: plan.metadata,
        ..minted.token
    };
    match plan.spelled {
        Spelled::Opaque => Ok(Minted { token, secret: minted.secret }),
        Spelled::Jwt => as_jwt(terms, owner, token),
    }
}

/// The same token spelled as a JWT under the current key.
fn as_jwt(terms: Terms<'_>, owner: &User, token: Token) -> Result<Minted, Refusal> {
    let key = terms.keyring.current();
    let claims = jwt::Claims {
        iss: terms.settings.server.public_url.as_str().to_owned(),
        sub: owner.id,
        email: Some(owner.email.clone()),
        jti: token.id,
        scope: token.scope.clone(),
        iat: token.created_at.unix(),
        exp: token.expires_at.map(Time::unix),
    };
    let secret = jwt::mint(key, &claims)
        .map_err(|_| Refusal::invalid("scope", "makes a JWT that is too long to be presented"))?;
    let hash = *TokenHash::of(secret.expose()).as_bytes();
    let token = Token { hash, format: Format::Jwt(key.id().clone()), ..token };
    Ok(Minted { token, secret })
}

/// Nobody gives a token a reserved scope that its owner's groups do not give.
fn refuse_escalation(owner: &User, scope: &str) -> Result<(), Refusal> {
    let own = Power::of_groups(&owner.groups);
    if Power::of_scope(scope) > own { Err(Refusal::Forbidden(Forbidden::Escalation)) } else { Ok(()) }
}

/// The span that the scopes leave of what was asked for, "never" included.
fn clamped(settings: &Settings, scope: &str, span_seconds: Option<u64>) -> Option<u64> {
    let longest = settings.max_ttl(scope.split(' '));
    [span_seconds, longest].into_iter().flatten().min()
}

/// A PAT that the caller may know of: one's own, or as an admin anybody's.
pub fn seen(view: &dyn View, who: &Authorized, id: TokenId) -> Result<(Token, UserId), Refusal> {
    let token = Token::by_id(view, id)?.filter(|token| token.kind == Kind::Pat).ok_or(Refusal::NotFound)?;
    let Owner::User(owner) = token.owner else { return Err(Refusal::NotFound) };
    if !who.caller().may_see_tokens_of(owner) {
        return Err(Refusal::NotFound);
    }
    Ok((token, owner))
}

/// One PAT.
pub fn show(
    view: &dyn View,
    who: &Authorized,
    id: TokenId,
    now: Time,
    noted: Noted<'_>,
) -> Result<Row, Refusal> {
    let (token, _) = seen(view, who, id)?;
    Ok(tokens::row(view, token, now, noted)?)
}

/// Changes name, metadata, or whether it is switched on. What changes nothing has no entry.
pub fn update(txn: &mut Txn<'_>, who: &Authorized, id: TokenId, change: Change) -> Result<Token, Refusal> {
    let name = change.name.map(|name| limits::name("name", &name)).transpose()?;
    let metadata = match change.metadata {
        Some(Some(object)) => Some(Some(limits::object("metadata", &object, limits::METADATA_BYTES_MAX)?)),
        Some(None) => Some(None),
        None => None,
    };
    let (before, _) = seen(txn, who, id)?;
    let after = Token {
        name: name.unwrap_or_else(|| before.name.clone()),
        metadata: metadata.unwrap_or_else(|| before.metadata.clone()),
        enabled: change.enabled.unwrap_or(before.enabled),
        ..before.clone()
    };
    let differing: Vec<&str> = [
        ("name", before.name != after.name),
        ("metadata", before.metadata != after.metadata),
        ("enabled", before.enabled != after.enabled),
    ]
    .into_iter()
    .filter_map(|(field, differs)| differs.then_some(field))
    .collect();
    if !differing.is_empty() {
        let params = Params::none().with("changed", differing).with("enabled", after.enabled);
        txn.entry(&who.by(), Action::TokenUpdate, id, params)?;
        txn.put(after.clone())?;
    }
    Ok(after)
}

/// Gives the same token anew: its name, scope, span, addresses, uses, metadata and spelling, clamped once
/// more. The old one lives on for the overlap, and never beyond its own end.
pub fn rotate(
    txn: &mut Txn<'_>,
    terms: Terms<'_>,
    who: &Authorized,
    id: TokenId,
    overlap_seconds: Option<u64>,
    fresh: &Fresh,
) -> Result<Minted, Refusal> {
    let overlap = limits::overlap(overlap_seconds)?;
    let (old, owner) = seen(txn, who, id)?;
    if tokens::row(txn, old.clone(), txn.now(), &|_| None)?.state != State::Active {
        return Err(Refusal::Conflict(Conflict::NotActive));
    }
    let owner = users::active_person(txn, owner)?;
    let plan = Plan {
        name: old.name.clone(),
        span_seconds: old.span_seconds,
        scope: old.scope.clone(),
        spelled: match old.format {
            Format::Opaque | Format::Imported => Spelled::Opaque,
            Format::Jwt(_) => Spelled::Jwt,
        },
        allowed_ips: old.allowed_ips.clone(),
        max_uses: old.max_uses,
        metadata: old.metadata.clone(),
    };
    let minted = blank(txn, terms, &owner, plan, fresh)?;
    let params = Params::none()
        .with("user", owner.id.to_string())
        .with("successor", minted.token.id.to_string())
        .with("overlap_seconds", overlap);
    txn.entry(&who.by(), Action::TokenRotate, id, params)?;
    tokens::retire(txn, old, overlap)?;
    tokens::insert(txn, minted.token.clone())?;
    Ok(minted)
}

/// Revokes a PAT that the caller may know of. Revoking it again changes nothing, and the first time stands.
pub fn revoke(txn: &mut Txn<'_>, who: &Authorized, id: TokenId) -> Result<(), Refusal> {
    let (token, owner) = seen(txn, who, id)?;
    let own = who.caller().user() == Some(owner);
    let action = if own { Action::TokenRevoke } else { Action::TokenAdminRevoke };
    end(txn, who, action, token)
}

/// Ends a token with an entry of its own; one that was ended already stays as it is.
pub(super) fn end(txn: &mut Txn<'_>, who: &Authorized, action: Action, token: Token) -> Result<(), Refusal> {
    if tokens::is_revoked(txn, &token)? {
        return Ok(());
    }
    txn.entry(&who.by(), action, token.id, Params::none().with("kind", token.kind.name()))?;
    tokens::revoke(txn, token)?;
    Ok(())
}

#[cfg(test)]
mod tests;
