//! Why a credential counts or does not: every check of verification, with its own outcome, for an operator.
//!
//! The verdict is that of [`verify`] itself; the checks are asked one by one beside it, also
//! those that it did not get to. Uses nothing up, and notes nothing. The public answer stays uniform: this
//! one is for the admin socket alone.

use std::sync::Arc;

use super::{
    Denied, Reason, Refusal,
    access::Identity,
    policy,
    verify::{self, Asking, Presented},
};
use crate::{
    records::{
        Fault, Time, View,
        client::Client,
        host::Host,
        token::{Detail, Owner, Token, Uses},
        user::User,
    },
    settings::Policy,
    token::{Keyring, Kind, ServiceSecrets, TokenHash, TokenId},
};

/// What was found out of one check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It holds.
    Passed,
    /// It does not.
    Failed,
    /// It does not apply, or what it would look at is not there.
    Skipped,
}

impl Outcome {
    /// The word for it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }
}

/// What was seen by a check, for people; no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// In words.
    Words(String),
    /// When something happened, or will.
    Moment(Option<Time>),
}

impl Seen {
    /// All of it in words; `written` knows how people write a time.
    pub fn in_words(&self, written: impl Fn(Time) -> String) -> String {
        match self {
            Self::Words(words) => words.clone(),
            Self::Moment(None) => "never".to_owned(),
            Self::Moment(Some(time)) => format!("at {}", written(*time)),
        }
    }
}

impl From<String> for Seen {
    fn from(words: String) -> Self {
        Self::Words(words)
    }
}

impl From<&str> for Seen {
    fn from(words: &str) -> Self {
        Self::Words(words.to_owned())
    }
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What it asks.
    pub name: &'static str,
    /// How it came out.
    pub outcome: Outcome,
    /// What was seen.
    pub seen: Seen,
}

/// Why a credential counts or does not.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// What verification says: whose it is, or the one reason that it was refused for.
    pub verdict: Result<Identity, Refusal>,
    /// The token that it names, where it names one that is stored.
    pub token: Option<Token>,
    /// Every check in the order in which verification goes through them.
    pub checks: Vec<Check>,
}

/// What verification looks at beside the store and the credential.
#[derive(Clone, Copy, Debug)]
pub struct Circumstances<'a> {
    /// The root keys.
    pub keyring: &'a Keyring,
    /// The secrets of the services.
    pub services: &'a ServiceSecrets,
    /// The store's own id.
    pub store_id: &'a [u8; 16],
    /// Time, address, and the kinds that are accepted.
    pub asking: Asking<'a>,
    /// A policy to be met: its name, and what it says where it exists.
    pub policy: Option<(&'a str, Option<&'a Policy>)>,
}

/// The credential as it was presented; a portal cookie is told by its spelling.
pub fn read(text: &str, circumstances: &Circumstances<'_>) -> Result<Presented, Denied> {
    // Four segments that begin with a version are a cookie's and nobody else's.
    if text.starts_with("v1.") && text.split('.').count() == 4 {
        return Presented::cookie(text, circumstances.keyring, circumstances.store_id);
    }
    Presented::bearer(text, circumstances.keyring, circumstances.services)
}

/// Explains `text`. A fault of the store is a fault of the explanation.
pub fn explain(
    view: &dyn View,
    text: &str,
    circumstances: &Circumstances<'_>,
) -> Result<Explanation, Refusal> {
    let mut checks = Checks(Vec::new());
    let presented = match read(text, circumstances) {
        Ok(presented) => presented,
        Err(denied) => {
            checks.fail("spelling", denied.reason.name());
            return Ok(Explanation { verdict: Err(denied.into()), token: None, checks: checks.0 });
        }
    };
    checks.pass("spelling", spelling(&presented));
    let verdict = verify::verify(view, &presented, &circumstances.asking).map(|good| good.identity);
    let verdict = match (verdict, circumstances.policy) {
        (Err(Refusal::Fault(fault)), _) => return Err(fault.into()),
        (Ok(identity), Some((_, policy))) => policy::meets(policy, &identity).map(|()| identity),
        (verdict, _) => verdict,
    };
    let token = match &presented {
        Presented::Token(token) => checks.row(view, Some(token.id), &token.hash)?,
        Presented::Jwt(jwt) => checks.row(view, Some(jwt.id), &jwt.hash)?,
        Presented::Imported(hash) => checks.row(view, None, hash)?,
        Presented::Cookie(cookie) => {
            checks.cookie_age(Time::from_unix(cookie.issued), circumstances.asking.now);
            let link = Token::by_id(view, cookie.link)?;
            checks.holds("row", link.is_some(), "the link that it was given for");
            link
        }
        Presented::Service { name, slot } => {
            checks.pass("row", format!("service {name}, secret {slot}"));
            let user = User::of_service(view, name.as_str())?;
            checks.user(user.as_deref());
            None
        }
    };
    if let Some(token) = &token {
        checks.token(view, token, &circumstances.asking, matches!(presented, Presented::Cookie(_)))?;
    }
    checks.policy(circumstances.policy, &verdict);
    if let Some(token) = &token {
        checks.uses(view, token)?;
    }
    Ok(Explanation { verdict, token, checks: checks.0 })
}

fn spelling(presented: &Presented) -> String {
    match presented {
        Presented::Token(token) => format!("a token of kind {}; its checksum is right", token.kind),
        Presented::Jwt(_) => "a JWT; its signature is right".to_owned(),
        Presented::Imported(_) => "of another system".to_owned(),
        Presented::Service { .. } => "the secret of a service".to_owned(),
        Presented::Cookie(_) => "a portal cookie; its signature is right".to_owned(),
    }
}

/// The checks so far.
struct Checks(Vec<Check>);

impl Checks {
    fn add(&mut self, name: &'static str, outcome: Outcome, seen: impl Into<Seen>) {
        self.0.push(Check { name, outcome, seen: seen.into() });
    }

    fn pass(&mut self, name: &'static str, seen: impl Into<Seen>) {
        self.add(name, Outcome::Passed, seen);
    }

    fn fail(&mut self, name: &'static str, seen: impl Into<Seen>) {
        self.add(name, Outcome::Failed, seen);
    }

    fn skip(&mut self, name: &'static str, seen: impl Into<Seen>) {
        self.add(name, Outcome::Skipped, seen);
    }

    fn holds(&mut self, name: &'static str, holds: bool, seen: impl Into<Seen>) {
        self.add(name, if holds { Outcome::Passed } else { Outcome::Failed }, seen);
    }

    /// The row that verification goes by, and whether the text is its own; where it is not, the row that it names.
    fn row(
        &mut self,
        view: &dyn View,
        id: Option<TokenId>,
        hash: &TokenHash,
    ) -> Result<Option<Token>, Fault> {
        let found = verify::row(view, id, hash)?;
        match &found {
            Ok(token) if id == Some(token.id) => {
                self.pass("row", token.id.to_string());
                self.pass("hash", "the token's own text");
            }
            Ok(token) => self.pass("row", format!("{}, imported", token.id)),
            Err(Denied { reason: Reason::Hash, token: Some(named) }) => {
                self.pass("row", named.to_string());
                self.fail("hash", "not the text of that token");
                return Token::by_id(view, *named);
            }
            Err(_) => self.fail("row", "there is no such token"),
        }
        Ok(found.ok().map(Arc::unwrap_or_clone))
    }

    fn cookie_age(&mut self, issued: Time, now: Time) {
        let seen = match issued.since(now) {
            0 => format!("issued {} s ago", now.since(issued)),
            ahead => format!("issued {ahead} s ahead"),
        };
        self.holds("age", verify::cookie_age_counts(issued, now), seen);
    }

    fn token(
        &mut self,
        view: &dyn View,
        token: &Token,
        asking: &Asking<'_>,
        by_cookie: bool,
    ) -> Result<(), Fault> {
        let now = asking.now;
        let (bearer, link) = (is_bearer(token.kind), token.kind == Kind::Link);
        self.holds("kind", if by_cookie { link } else { bearer }, token.kind.name());
        self.holds("not revoked", !token.is_revoked(), at(token.revoked_at));
        // A consumed link still carries those whom it let in.
        match token.consumed_at {
            Some(_) if by_cookie => self.pass("not consumed", "consumed, which does not end its cookies"),
            consumed => self.holds("not consumed", consumed.is_none(), at(consumed)),
        }
        self.holds("not expired", token.expires_at.is_none_or(|at| at > now), at(token.expires_at));
        self.holds("enabled", token.enabled, if token.enabled { "yes" } else { "no" });
        self.owner(view, token, asking)?;
        let from = asking.from.map_or_else(|| "nobody said from where".to_owned(), |ip| ip.to_string());
        if token.allowed_ips.is_empty() {
            self.skip("address", "it may be used from everywhere");
        } else {
            self.holds("address", verify::may_come_from(token, asking.from), from);
        }
        Ok(())
    }

    fn owner(&mut self, view: &dyn View, token: &Token, asking: &Asking<'_>) -> Result<(), Fault> {
        match token.owner {
            Owner::Nobody => self.skip("owner", "it belongs to nobody"),
            Owner::User(id) => {
                let user = User::by_id(view, id)?;
                self.user(user.as_ref());
                self.session(view, token, user.as_ref(), asking)?;
            }
            Owner::Host(id) => {
                let host = Host::by_id(view, id)?;
                self.holds("owner", host.is_some(), host.map_or_else(String::new, |host| host.hostname));
            }
            Owner::Client(id) => {
                let client = Client::by_id(view, id)?;
                let active = client.as_ref().is_some_and(|client| client.active);
                self.holds("owner", active, client.map_or_else(String::new, |client| client.slug));
            }
        }
        Ok(())
    }

    fn user(&mut self, user: Option<&User>) {
        match user {
            None => self.fail("owner", "does not exist"),
            Some(user) if user.active => self.pass("owner", user.email.clone()),
            Some(user) => self.fail("owner", format!("{} is deactivated", user.email)),
        }
    }

    fn session(
        &mut self,
        view: &dyn View,
        token: &Token,
        user: Option<&User>,
        asking: &Asking<'_>,
    ) -> Result<(), Fault> {
        let (Detail::Session { epoch, idle_seconds }, Some(user)) = (&token.detail, user) else {
            return Ok(());
        };
        let ended = *epoch != user.session_epoch;
        self.holds(
            "session",
            !ended,
            if ended { "all sessions of its user were ended" } else { "not ended" },
        );
        let idle = asking.now.since(verify::last_use(view, token, asking.noted)?);
        self.holds("idle", idle < *idle_seconds, format!("not used for {idle} s of {idle_seconds} s"));
        Ok(())
    }

    fn policy(&mut self, policy: Option<(&str, Option<&Policy>)>, verdict: &Result<Identity, Refusal>) {
        let Some((name, _)) = policy else { return self.skip("policy", "none was asked for") };
        match verdict {
            Ok(_) => self.pass("policy", name),
            Err(Refusal::Forbidden(why)) => self.fail("policy", format!("{name}: {why}")),
            Err(_) => self.skip("policy", "whose it is must be known first"),
        }
    }

    fn uses(&mut self, view: &dyn View, token: &Token) -> Result<(), Fault> {
        match token.max_uses {
            None => self.skip("uses", "they are not counted"),
            Some(most) => {
                let used = Uses::of(view, token)?;
                self.holds("uses", used < most, format!("{used} of {most}"));
            }
        }
        Ok(())
    }
}

const fn is_bearer(kind: Kind) -> bool {
    match kind {
        Kind::Session | Kind::Pat | Kind::Agent => true,
        Kind::Install | Kind::Enrollment | Kind::Link => false,
    }
}

const fn at(time: Option<Time>) -> Seen {
    Seen::Moment(time)
}

impl Explanation {
    /// The reason in one word; none where it counts.
    pub fn reason(&self) -> Option<&'static str> {
        match &self.verdict {
            Ok(_) => None,
            Err(Refusal::Denied(denied)) => Some(denied.reason.name()),
            Err(_) => Some("policy"),
        }
    }
}

#[cfg(test)]
mod tests;
