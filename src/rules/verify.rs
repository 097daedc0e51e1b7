//! Presented credential → [`Identity`], or why not. The path that everything else serves.
//!
//! The checks run in an order in which a refusal costs nothing: spelling and checksum, row, hash, kind,
//! state, owner, address, and last, where uses are counted, the use. The only `Ok` of each function is its
//! last line. Nothing here writes but [`count_use`], which runs at its turn in the writer.

use core::net::IpAddr;
use std::sync::Arc;

use super::{
    Denied, Reason, Refusal,
    access::{Caller, Identity, Subject, Verified, Who},
};
use crate::{
    records::{
        Fault, Holdable, Time, Txn, View,
        client::Client,
        host::Host,
        token::{Detail, LastUsed, Owner, State, Token, Uses},
        user::User,
    },
    settings::CredentialKind,
    token::{
        ClientId, Keyring, Kind, ServiceName, ServiceSecrets, Spelling, TokenHash, TokenId, TokenText,
        UserId,
        cookie::{self, CookieText},
        jwt::{self, JwtText},
        text,
    },
};

/// How long a portal cookie counts, in seconds: 30 days.
pub const COOKIE_SECONDS_MAX: u64 = 30 * 24 * 60 * 60;

/// A credential that is spelled like one of ours, was signed by us, or is a configured secret. Whether it
/// counts is another matter.
#[derive(Clone, Debug)]
pub enum Presented {
    /// An opaque token.
    Token(TokenText),
    /// A JWT that a root key of ours signed.
    Jwt(JwtText),
    /// Something of another spelling: perhaps a token that was imported.
    Imported(TokenHash),
    /// The secret of a configured service.
    Service {
        /// Whose.
        name: ServiceName,
        /// Which of its secrets.
        slot: String,
    },
    /// A portal cookie that a root key of ours signed for this store.
    Cookie(CookieText),
}

impl Presented {
    /// What a bearer's text is. Looks at no store; a typo in a token of ours ends here.
    pub fn bearer(text: &str, keyring: &Keyring, services: &ServiceSecrets) -> Result<Self, Denied> {
        Self::spelled(text::spelling(text), text, keyring, services)
    }

    /// The same of a text whose spelling is known already.
    pub fn spelled(
        spelling: Spelling,
        text: &str,
        keyring: &Keyring,
        services: &ServiceSecrets,
    ) -> Result<Self, Denied> {
        let of_service = || {
            let found = services.find(text)?;
            Some(Self::Service { name: found.service.clone(), slot: found.slot.to_owned() })
        };
        match spelling {
            // No service has such a secret: that is a mistake of its file.
            Spelling::Ours(token) => Ok(Self::Token(token)),
            Spelling::OursBroken(_) => {
                let found = if services.has_one_like_a_broken_token() { of_service() } else { None };
                found.ok_or(Denied::of(Reason::Checksum))
            }
            Spelling::Jwt => Ok(of_service().unwrap_or_else(|| match jwt::verify(keyring, text) {
                Ok(jwt) => Self::Jwt(jwt),
                Err(_) => Self::Imported(TokenHash::of(text)),
            })),
            Spelling::Foreign(hash) => Ok(of_service().unwrap_or(Self::Imported(hash))),
            Spelling::Unusable => Err(Denied::of(Reason::Malformed)),
        }
    }

    /// What a portal cookie's text is.
    pub fn cookie(text: &str, keyring: &Keyring, store_id: &[u8; 16]) -> Result<Self, Denied> {
        cookie::verify(keyring, store_id, text).map(Self::Cookie).map_err(|_| Denied::of(Reason::Signature))
    }

    /// When it ends by itself whatever its row says: a cookie, by its age.
    pub const fn own_end(&self) -> Option<Time> {
        match self {
            Self::Cookie(cookie) => Some(Time::from_unix(cookie.issued).plus(COOKIE_SECONDS_MAX)),
            Self::Token(_) | Self::Jwt(_) | Self::Imported(_) | Self::Service { .. } => None,
        }
    }

    /// Whether its last use decides whether it is still alive.
    pub fn can_idle(&self) -> bool {
        match self {
            Self::Token(token) => token.kind == Kind::Session,
            // Imported tokens are PATs and agent tokens.
            Self::Jwt(_) | Self::Imported(_) | Self::Service { .. } | Self::Cookie(_) => false,
        }
    }

    /// The token that it names, where it names one.
    pub const fn token(&self) -> Option<TokenId> {
        match self {
            Self::Token(token) => Some(token.id),
            Self::Jwt(jwt) => Some(jwt.id),
            Self::Cookie(cookie) => Some(cookie.link),
            Self::Imported(_) | Self::Service { .. } => None,
        }
    }
}

/// The circumstances of a verification.
#[derive(Clone, Copy, Debug)]
pub struct Asking<'a> {
    /// The time.
    pub now: Time,
    /// Where the credential is used from; none where nobody said.
    pub from: Option<IpAddr>,
    /// The kinds that are accepted here.
    pub kinds: &'a [CredentialKind],
    /// The last use that is noted in memory and may not have reached the store.
    pub noted: Option<Time>,
}

/// A credential that counts.
#[derive(Clone, Debug)]
pub struct Good {
    /// Who it says is calling.
    pub identity: Identity,
    /// Its row; none for a service secret.
    pub token: Option<Arc<Token>>,
}

impl Good {
    /// Whether each use of it must be counted, by [`count_use`], before it is answered.
    pub fn is_counted(&self) -> bool {
        self.token.as_ref().is_some_and(|token| token.max_uses.is_some())
    }
}

/// Whether `presented` counts under these circumstances.
pub fn verify(view: &dyn View, presented: &Presented, asking: &Asking<'_>) -> Result<Good, Refusal> {
    match presented {
        Presented::Token(TokenText { id, hash, .. }) | Presented::Jwt(JwtText { id, hash, .. }) => {
            counts(view, &row(view, Some(*id), hash)??, asking)
        }
        Presented::Imported(hash) => counts(view, &row(view, None, hash)??, asking),
        Presented::Service { name, .. } => service(view, name, asking),
        Presented::Cookie(cookie) => portal(view, cookie, asking),
    }
}

/// Verifies once more at the writer's turn and counts the use; the answer waits for the commit. `also` is
/// what else must hold of the credential: a use is counted only when all does.
pub fn count_use(
    txn: &mut Txn<'_>,
    presented: &Presented,
    asking: &Asking<'_>,
    also: &dyn Fn(&Good) -> Result<(), Refusal>,
) -> Result<Good, Refusal> {
    let at_this_turn = Asking { now: txn.now(), ..*asking };
    let good = verify(txn, presented, &at_this_turn)?;
    also(&good)?;
    if let Some(token) = good.token.as_ref().filter(|token| token.max_uses.is_some()) {
        let count = Uses::of(txn, token)?.saturating_add(1);
        txn.note(&Uses { token: token.id, count })?;
    }
    Ok(good)
}

/// The same caller at a later moment: whoever was revoked, demoted or deactivated since is not the caller
/// any more. What the caller presented is not looked at again.
pub fn again(view: &dyn View, caller: &Caller, now: Time) -> Result<Caller, Refusal> {
    let Who::Known(identity) = &caller.who else { return Ok(caller.clone()) };
    // Idleness and address were judged when the request came in; they are not judged twice.
    let asking =
        Asking { now, from: caller.ip, kinds: core::slice::from_ref(&identity.kind), noted: Some(now) };
    let good = match identity.token {
        Some(id) => {
            let row = Token::shared(view, id)?.ok_or(Denied { reason: Reason::Unknown, token: Some(id) })?;
            let row = match &*row {
                Token { max_uses: None, allowed_ips, .. } if allowed_ips.is_empty() => row,
                bound => Arc::new(Token { max_uses: None, allowed_ips: Vec::new(), ..bound.clone() }),
            };
            if identity.kind == CredentialKind::Portal {
                link_counts(view, &row, now)?
            } else {
                counts(view, &row, &asking)?
            }
        }
        None => match identity.user() {
            Some(id) => user_of(view, id).map(|user| of_user(user, CredentialKind::Service, None))?,
            None => return Err(Denied::of(Reason::OwnerGone).into()),
        },
    };
    Ok(Caller { who: Who::Known(Box::new(good.identity)), ip: caller.ip })
}

/// The row that a presented text of that `hash` is the text of: the row of the `id` that it names; where it names none,
/// or no row has that id, the one that was imported under the hash, as a token of another system may happen to be
/// spelled like ours. A row that has the id and another hash is nobody's, and no other row is looked for.
pub fn row(
    view: &dyn View,
    id: Option<TokenId>,
    hash: &TokenHash,
) -> Result<Result<Arc<Token>, Denied>, Fault> {
    let own = id.map(|id| Token::shared(view, id)).transpose()?.flatten();
    Ok(match own {
        Some(token) if token.has_hash(hash) => Ok(token),
        Some(_) => Err(Denied { reason: Reason::Hash, token: id }),
        None => Token::shared_by_hash(view, hash)?.ok_or(Denied { reason: Reason::Unknown, token: id }),
    })
}

/// Whether a token whose text was seen to be right counts as a bearer.
fn counts(view: &dyn View, token: &Arc<Token>, asking: &Asking<'_>) -> Result<Good, Refusal> {
    let denied = |reason| Denied { reason, token: Some(token.id) };
    let kind = bearer_kind(token.kind).filter(|kind| asking.kinds.contains(kind));
    let Some(kind) = kind else { return Err(denied(Reason::Kind).into()) };
    // Whether uses are left is the last thing to be asked, so that a use is lost only to a good answer.
    if let Some(reason) = Reason::of_state(token.state(asking.now, 0)) {
        return Err(denied(reason).into());
    }
    let good = match token.owner {
        Owner::User(id) => {
            let user = user_of(view, id).map_err(|refusal| naming(refusal, token.id))?;
            if let Some(reason) = session_over(view, token, &user, asking)? {
                return Err(denied(reason).into());
            }
            of_user(user, kind, Some(token))
        }
        Owner::Host(id) => {
            let host = Host::shared_at(view, id.as_bytes())?.ok_or_else(|| denied(Reason::OwnerGone))?;
            of_host(host, token)
        }
        Owner::Nobody | Owner::Client(_) => return Err(denied(Reason::Kind).into()),
    };
    if !may_come_from(token, asking.from) {
        return Err(denied(Reason::Address).into());
    }
    if let Some(reason) = Reason::of_state(token.state(asking.now, Uses::of(view, token)?)) {
        return Err(denied(reason).into());
    }
    Ok(good)
}

/// The kind of bearer that tokens of `kind` are; none for those that are never presented as one.
const fn bearer_kind(kind: Kind) -> Option<CredentialKind> {
    match kind {
        Kind::Session => Some(CredentialKind::Session),
        Kind::Pat => Some(CredentialKind::Pat),
        Kind::Agent => Some(CredentialKind::Agent),
        Kind::Install | Kind::Enrollment | Kind::Link => None,
    }
}

/// Whether the ranges of `token` let it be used from `from`.
pub fn may_come_from(token: &Token, from: Option<IpAddr>) -> bool {
    token.allowed_ips.is_empty()
        || from.is_some_and(|ip| {
            let ip = ip.to_canonical();
            token.allowed_ips.iter().any(|range| range.contains(&ip))
        })
}

/// Why a session of `user` is over though its row is alive; none for other tokens.
fn session_over(
    view: &dyn View,
    token: &Token,
    user: &User,
    asking: &Asking<'_>,
) -> Result<Option<Reason>, Fault> {
    let Detail::Session { epoch, idle_seconds } = token.detail else { return Ok(None) };
    if epoch != user.session_epoch {
        return Ok(Some(Reason::SessionEnded));
    }
    let is_idle_since = |last| asking.now.since(last) >= idle_seconds;
    // Of what is known without a look at the store, a recent use is enough.
    if !is_idle_since(asking.noted.unwrap_or(token.created_at).max(token.created_at)) {
        return Ok(None);
    }
    let last = last_use(view, token, asking.noted)?;
    Ok(is_idle_since(last).then_some(Reason::Idle))
}

/// When `token` was last used: what is noted in memory counts before the store does; its creation counts
/// as a use.
pub fn last_use(view: &dyn View, token: &Token, noted: Option<Time>) -> Result<Time, Fault> {
    let stored = LastUsed::of(view, token.id)?.map(|last| last.at);
    Ok([noted, stored].into_iter().flatten().fold(token.created_at, Time::max))
}

/// The state of `token` as lists show it: its own, and with it what its owner's state makes of it.
pub fn state_of(view: &dyn View, token: &Token, now: Time, noted: Option<Time>) -> Result<State, Fault> {
    let state = token.state(now, Uses::of(view, token)?);
    if state != State::Active {
        return Ok(state);
    }
    let id = match token.owner {
        Owner::User(id) => id,
        Owner::Client(id) => {
            return Ok(match Client::by_id(view, id)? {
                None => State::Revoked,
                Some(client) if !client.active => State::Disabled,
                Some(_) => state,
            });
        }
        Owner::Nobody | Owner::Host(_) => return Ok(state),
    };
    let Some(user) = User::by_id(view, id)? else { return Ok(State::Revoked) };
    let asking = Asking { now, from: None, kinds: &[], noted };
    Ok(match session_over(view, token, &user, &asking)? {
        Some(Reason::Idle) => State::Expired,
        Some(_) => State::Revoked,
        // For as long as its owner is deactivated it does not count.
        None if !user.active => State::Disabled,
        None => state,
    })
}

fn service(view: &dyn View, name: &ServiceName, asking: &Asking<'_>) -> Result<Good, Refusal> {
    if !asking.kinds.contains(&CredentialKind::Service) {
        return Err(Denied::of(Reason::Kind).into());
    }
    let user = User::of_service(view, name.as_str())?.ok_or(Denied::of(Reason::OwnerGone))?;
    if !user.active {
        return Err(Denied::of(Reason::OwnerInactive).into());
    }
    Ok(of_user(user, CredentialKind::Service, None))
}

/// The address of the user that a service acts as.
pub fn service_email(name: &ServiceName) -> String {
    format!("{}@{}", name.as_str(), crate::records::user::SYSTEM_DOMAIN)
}

fn portal(view: &dyn View, cookie: &CookieText, asking: &Asking<'_>) -> Result<Good, Refusal> {
    let denied = |reason| Denied { reason, token: Some(cookie.link) };
    if !asking.kinds.contains(&CredentialKind::Portal) {
        return Err(denied(Reason::Kind).into());
    }
    let issued = Time::from_unix(cookie.issued);
    if !cookie_age_counts(issued, asking.now) {
        return Err(denied(Reason::Expired).into());
    }
    let link = Token::shared(view, cookie.link)?.ok_or_else(|| denied(Reason::Unknown))?;
    let mut good = link_counts(view, &link, asking.now)?;
    let end = issued.plus(COOKIE_SECONDS_MAX);
    good.identity.expires_at = Some(good.identity.expires_at.map_or(end, |link_end| link_end.min(end)));
    Ok(good)
}

/// A cookie that was issued further ahead than this is not ours, or the clock is wrong.
const CLOCK_SLACK_SECONDS: u64 = 5;

/// Whether a cookie that was issued then is young enough, and not of the future.
pub fn cookie_age_counts(issued: Time, now: Time) -> bool {
    issued <= now.plus(CLOCK_SLACK_SECONDS) && now < issued.plus(COOKIE_SECONDS_MAX)
}

/// Whether `link` still carries those it let in: a consumed one does, a revoked or expired one does not.
pub fn link_counts(view: &dyn View, link: &Arc<Token>, now: Time) -> Result<Good, Refusal> {
    let denied = |reason| Denied { reason, token: Some(link.id) };
    let (Kind::Link, Owner::Client(client)) = (link.kind, link.owner) else {
        return Err(denied(Reason::Kind).into());
    };
    // Asked field by field: the state of a consumed link would hide what happened to it afterwards.
    if link.is_revoked() {
        return Err(denied(Reason::Revoked).into());
    }
    if link.expires_at.is_some_and(|end| end <= now) {
        return Err(denied(Reason::Expired).into());
    }
    if !link.enabled {
        return Err(denied(Reason::Disabled).into());
    }
    let client = client_of(view, client).map_err(|refusal| naming(refusal, link.id))?;
    Ok(Good {
        identity: Identity {
            subject: Subject::Client(client),
            kind: CredentialKind::Portal,
            token: Some(link.id),
            scoped: None,
            expires_at: link.expires_at,
            verified: Verified,
        },
        token: Some(Arc::clone(link)),
    })
}

fn client_of(view: &dyn View, id: ClientId) -> Result<Arc<Client>, Refusal> {
    let client = Client::shared_at(view, id.as_bytes())?.ok_or(Denied::of(Reason::OwnerGone))?;
    if client.active { Ok(client) } else { Err(Denied::of(Reason::OwnerInactive).into()) }
}

fn user_of(view: &dyn View, id: UserId) -> Result<Arc<User>, Refusal> {
    let user = User::shared(view, id)?.ok_or(Denied::of(Reason::OwnerGone))?;
    if user.active { Ok(user) } else { Err(Denied::of(Reason::OwnerInactive).into()) }
}

fn naming(refusal: Refusal, token: TokenId) -> Refusal {
    match refusal {
        Refusal::Denied(denied) => Denied { token: Some(token), ..denied }.into(),
        other => other,
    }
}

fn of_user(user: Arc<User>, kind: CredentialKind, token: Option<&Arc<Token>>) -> Good {
    Good {
        identity: Identity {
            subject: Subject::User(user),
            kind,
            token: token.map(|token| token.id),
            scoped: token.cloned(),
            expires_at: token.and_then(|token| token.expires_at),
            verified: Verified,
        },
        token: token.cloned(),
    }
}

fn of_host(host: Arc<Host>, token: &Arc<Token>) -> Good {
    Good {
        identity: Identity {
            subject: Subject::Host(host),
            kind: CredentialKind::Agent,
            token: Some(token.id),
            scoped: None,
            expires_at: token.expires_at,
            verified: Verified,
        },
        token: Some(Arc::clone(token)),
    }
}

#[cfg(test)]
mod tests;
