//! Callers, and the permission table of the daemon: which credential may do what.
//!
//! One table, one function that reads it, closed by default. Every route names the [`Right`] that it
//! needs; nothing else in the program decides who may.

use core::{fmt, net::IpAddr};
use std::{borrow::Cow, sync::Arc};

use serde::Serialize;

use super::{Forbidden, Refusal};
use crate::{
    records::{
        Actor, By, Time,
        client::Client,
        host::Host,
        token::Token,
        user::{ADMIN, OPERATOR, User},
    },
    settings::CredentialKind,
    token::{HostId, TokenId, UserId},
};

/// Whom a credential speaks for: the row as it was at the moment of verification.
#[derive(Clone, PartialEq, Eq)]
pub enum Subject {
    /// A person, or a service's own user.
    User(Arc<User>),
    /// A host.
    Host(Arc<Host>),
    /// A portal client.
    Client(Arc<Client>),
}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Who, and not the row: a user's has the hash of its password.
        f.debug_tuple("Subject").field(&self.id()).finish()
    }
}

impl Subject {
    /// The word for its type.
    pub const fn type_name(&self) -> &'static str {
        match self {
            Self::User(_) => "user",
            Self::Host(_) => "host",
            Self::Client(_) => "client",
        }
    }

    /// Its id as text.
    pub fn id(&self) -> String {
        match self {
            Self::User(user) => user.id.to_string(),
            Self::Host(host) => host.id.to_string(),
            Self::Client(client) => client.id.to_string(),
        }
    }

    /// Appends the same.
    pub fn push_id_onto(&self, text: &mut String) {
        match self {
            Self::User(user) => user.id.push_onto(text),
            Self::Host(host) => host.id.push_onto(text),
            Self::Client(client) => client.id.push_onto(text),
        }
    }

    /// Its e-mail, where it is a user.
    pub fn email(&self) -> Option<&str> {
        match self {
            Self::User(user) => Some(&user.email),
            Self::Host(_) | Self::Client(_) => None,
        }
    }

    /// What people call it.
    pub fn label(&self) -> &str {
        match self {
            Self::User(user) => &user.email,
            Self::Host(host) => &host.hostname,
            Self::Client(client) => &client.slug,
        }
    }
}

/// Who a good credential says is calling. Only [`super::verify`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Whom it speaks for.
    pub subject: Subject,
    /// The kind of credential.
    pub kind: CredentialKind,
    /// Its token's id; none for a service secret.
    pub token: Option<TokenId>,
    /// The token whose scope words it has; none where the kind has none.
    pub(super) scoped: Option<Arc<Token>>,
    /// When it ends by itself.
    pub expires_at: Option<Time>,
    /// Proof of verification: cannot be made outside this folder.
    pub(super) verified: Verified,
}

/// What only the rules can make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Verified;

impl Identity {
    /// An identity that nobody verified, to ask the permission table about.
    #[cfg(test)]
    pub(crate) fn supposed(subject: Subject, kind: CredentialKind, groups: &[&str], scope: &str) -> Self {
        let groups = groups.iter().map(|group| (*group).to_owned()).collect();
        let subject = match subject {
            Subject::User(user) => Subject::User(Arc::new(User { groups, ..Arc::unwrap_or_clone(user) })),
            other => other,
        };
        let scoped = Some(Arc::new(Token::supposed(scope)));
        Self { subject, kind, token: None, scoped, expires_at: None, verified: Verified }
    }

    /// The subject's groups at this moment; none for hosts and clients.
    pub fn groups(&self) -> &[String] {
        match &self.subject {
            Subject::User(user) => &user.groups,
            Subject::Host(_) | Subject::Client(_) => &[],
        }
    }

    /// Its scope words as they were given, separated by one space; empty where the kind has none. What others
    /// are told is [`Identity::scope_now`].
    pub fn scope(&self) -> &str {
        self.scoped.as_ref().map_or("", |token| &token.scope)
    }

    /// The user it speaks for, if it is one.
    pub fn user(&self) -> Option<UserId> {
        match &self.subject {
            Subject::User(user) => Some(user.id),
            Subject::Host(_) | Subject::Client(_) => None,
        }
    }

    /// The host it speaks for, if it is one.
    pub fn host(&self) -> Option<HostId> {
        match &self.subject {
            Subject::Host(host) => Some(host.id),
            Subject::User(_) | Subject::Client(_) => None,
        }
    }

    /// Whether its scope has `word` at this moment, counting what the reserved words take in, and those only
    /// as far as its owner has the right itself.
    pub fn has_scope(&self, word: &str) -> bool {
        let lent = Power::of_word(word) <= Power::of_groups(self.groups());
        lent && scope_takes_in(self.scope(), word)
    }

    /// Its scope as others should read it: instead of a reserved word that its owner could not give it at this
    /// moment stands what is left of it, so that whoever goes by the scope alone is told of no right that is gone,
    /// and of those that remain.
    pub fn scope_now(&self) -> Cow<'_, str> {
        let own = Power::of_groups(self.groups());
        let scope = self.scope();
        if Power::of_scope(scope) <= own {
            return Cow::Borrowed(scope);
        }
        let mut left: Vec<&str> = scope.split(' ').filter(|word| Power::of_word(word) <= own).collect();
        if own == Power::Operate && !left.contains(&OPERATOR) {
            left.push(OPERATOR);
        }
        Cow::Owned(left.join(" "))
    }

    /// How far its rights reach at this moment: never further than its owner's, and for a PAT never
    /// further than its scope says.
    pub fn power(&self) -> Power {
        let own = Power::of_groups(self.groups());
        match self.kind {
            CredentialKind::Session => own,
            CredentialKind::Pat => own.min(Power::of_scope(self.scope())),
            CredentialKind::Service => own.max(Power::Introspect),
            CredentialKind::Agent | CredentialKind::Portal => Power::None,
        }
    }
}

/// Whether scope words `scope` hold `word`, counting what the reserved words take in: `admin` takes in
/// `operator`, `operator` takes in `introspect`.
pub fn scope_takes_in(scope: &str, word: &str) -> bool {
    let wanted = Power::of_word(word);
    scope.split(' ').any(|own| own == word || (wanted > Power::None && Power::of_word(own) > wanted))
}

/// How far rights over others reach; each level takes in those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Power {
    /// Only what is one's own.
    None,
    /// May ask what tokens are.
    Introspect,
    /// May look after enrolments, hosts, clients and links.
    Operate,
    /// May do everything.
    Administrate,
}

impl Power {
    /// What membership gives.
    pub fn of_groups(groups: &[String]) -> Self {
        let is_in = |name: &str| groups.iter().any(|group| group == name);
        if is_in(ADMIN) {
            Self::Administrate
        } else if is_in(OPERATOR) {
            Self::Operate
        } else {
            Self::None
        }
    }

    /// What scope words leave of it.
    pub fn of_scope(scope: &str) -> Self {
        scope.split(' ').map(Self::of_word).max().unwrap_or(Self::None)
    }

    fn of_word(word: &str) -> Self {
        match word {
            "admin" => Self::Administrate,
            "operator" => Self::Operate,
            "introspect" => Self::Introspect,
            _ => Self::None,
        }
    }
}

/// Who is calling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    /// Nobody that is known.
    Nobody,
    /// Somebody whom the file system let open the admin socket, by user id.
    Local(u32),
    /// The holder of a good credential.
    Known(Box<Identity>),
}

/// Who is calling, and from where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Who.
    pub who: Who,
    /// The address of the client, where one is known.
    pub ip: Option<IpAddr>,
}

impl Caller {
    /// Nobody that is known, at that address.
    pub const fn nobody(ip: Option<IpAddr>) -> Self {
        Self { who: Who::Nobody, ip }
    }

    /// Who is at the admin socket, or at the file of a stopped daemon.
    pub const fn local(uid: u32) -> Self {
        Self { who: Who::Local(uid), ip: None }
    }

    /// The identity that a credential gave.
    pub fn identity(&self) -> Option<&Identity> {
        match &self.who {
            Who::Known(identity) => Some(identity),
            Who::Nobody | Who::Local(_) => None,
        }
    }

    /// The user it speaks for.
    pub fn user(&self) -> Option<UserId> {
        self.identity().and_then(Identity::user)
    }

    /// How the audit log names it.
    pub fn by(&self) -> By {
        let (actor, label) = match &self.who {
            Who::Nobody => return By::unknown(self.ip),
            Who::Local(uid) => (Actor::Local(*uid), String::new()),
            Who::Known(identity) => {
                let actor = match &identity.subject {
                    Subject::User(user) => Actor::User(user.id),
                    Subject::Host(host) => Actor::Host(host.id),
                    Subject::Client(client) => Actor::Client(client.id),
                };
                (actor, identity.subject.label().to_owned())
            }
        };
        By { actor, label, ip: self.ip }
    }

    /// How far its rights over others reach.
    pub fn power(&self) -> Power {
        match &self.who {
            Who::Nobody => Power::None,
            Who::Local(_) => Power::Administrate,
            Who::Known(identity) => identity.power(),
        }
    }

    /// Whether it stands in front of end clients, so that it can say where they are: a service, or whoever is at the
    /// admin socket.
    pub fn may_name_clients(&self) -> bool {
        match &self.who {
            Who::Nobody => false,
            Who::Local(_) => true,
            Who::Known(identity) => match identity.kind {
                CredentialKind::Service => true,
                CredentialKind::Session
                | CredentialKind::Pat
                | CredentialKind::Agent
                | CredentialKind::Portal => false,
            },
        }
    }

    /// Whether it may see and end what belongs to `owner`.
    pub fn may_see_tokens_of(&self, owner: UserId) -> bool {
        self.user() == Some(owner) || self.power() >= Power::Administrate
    }
}

/// What a request asks to be allowed. Each route of the daemon needs exactly one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Right {
    /// Open to anybody: the request carries its own proof, or there is nothing to prove.
    Open,
    /// Learn who one is.
    SeeSelf,
    /// List and revoke one's own tokens and sessions.
    OwnTokens,
    /// Mint, change and rotate one's own PATs, change one's own password.
    ChangeOwn,
    /// Mint sessions and PATs for another user.
    MintForOthers,
    /// Users, all tokens, audit, reload, backup.
    Administrate,
    /// Enrolments, hosts, clients, links, projects.
    Operate,
    /// See one host's record: an operator any, an agent its own.
    SeeHost,
    /// Read one's own sealed credentials.
    OwnHost,
    /// Ask what tokens are.
    Introspect,
    /// What only the admin socket is for.
    Local,
}

/// What a kind of credential needs for a right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    Never,
    Nothing,
    Power(Power),
}

/// One row of the table: what each kind of caller needs.
struct Row {
    session: Need,
    pat: Need,
    service: Need,
    agent: Need,
    local: Need,
}

impl Right {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Open,
        Self::SeeSelf,
        Self::OwnTokens,
        Self::ChangeOwn,
        Self::MintForOthers,
        Self::Administrate,
        Self::Operate,
        Self::SeeHost,
        Self::OwnHost,
        Self::Introspect,
        Self::Local,
    ];

    /// The permission table. A portal cookie has no column: it opens the portal and nothing here.
    const fn row(self) -> Row {
        use Need::{Never, Nothing};
        const ADMIN: Need = Need::Power(Power::Administrate);
        const OPERATE: Need = Need::Power(Power::Operate);
        const ASK: Need = Need::Power(Power::Introspect);
        match self {
            Self::Open | Self::SeeSelf => {
                Row { session: Nothing, pat: Nothing, service: Nothing, agent: Nothing, local: Nothing }
            }
            Self::OwnTokens => {
                Row { session: Nothing, pat: Nothing, service: Nothing, agent: Never, local: Nothing }
            }
            Self::ChangeOwn => {
                Row { session: Nothing, pat: Never, service: Never, agent: Never, local: Nothing }
            }
            Self::MintForOthers => {
                Row { session: ADMIN, pat: Never, service: ADMIN, agent: Never, local: Nothing }
            }
            Self::Administrate => {
                Row { session: ADMIN, pat: ADMIN, service: ADMIN, agent: Never, local: Nothing }
            }
            Self::Operate => {
                Row { session: OPERATE, pat: OPERATE, service: OPERATE, agent: Never, local: Nothing }
            }
            Self::SeeHost => {
                Row { session: OPERATE, pat: OPERATE, service: OPERATE, agent: Nothing, local: Nothing }
            }
            Self::OwnHost => Row { session: Never, pat: Never, service: Never, agent: Nothing, local: Never },
            Self::Introspect => Row { session: ASK, pat: ASK, service: ASK, agent: Never, local: Nothing },
            Self::Local => Row { session: Never, pat: Never, service: Never, agent: Never, local: Nothing },
        }
    }
}

/// A caller who was found to have a right. Only [`decide`] makes one, so that no operation can be reached
/// without it; the writer asks [`decide`] again at the operation's turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authorized {
    caller: Caller,
    right: Right,
}

impl Authorized {
    /// Who.
    pub const fn caller(&self) -> &Caller {
        &self.caller
    }

    /// What they were found to have.
    pub const fn right(&self) -> Right {
        self.right
    }

    /// How the audit log names them.
    pub fn by(&self) -> By {
        self.caller.by()
    }
}

/// Whether `caller` has `right`. The one place where this is decided.
pub fn decide(right: Right, caller: Caller) -> Result<Authorized, Refusal> {
    if right == Right::Open {
        return Ok(Authorized { caller, right });
    }
    let row = right.row();
    let (need, forbidden) = match &caller.who {
        Who::Nobody => return Err(super::Denied::of(super::Reason::Absent).into()),
        Who::Local(_) => (row.local, Forbidden::Kind),
        Who::Known(identity) => match identity.kind {
            CredentialKind::Session => (row.session, Forbidden::Group),
            CredentialKind::Pat => {
                // Which of the two is short: the owner's groups, or the token's scope?
                let own = Power::of_groups(identity.groups());
                let short_of_group = matches!(row.pat, Need::Power(needed) if own < needed);
                (row.pat, if short_of_group { Forbidden::Group } else { Forbidden::Scope })
            }
            CredentialKind::Service => (row.service, Forbidden::Group),
            CredentialKind::Agent => (row.agent, Forbidden::Kind),
            CredentialKind::Portal => (Need::Never, Forbidden::Kind),
        },
    };
    let allowed = match need {
        Need::Never => return Err(Refusal::Forbidden(Forbidden::Kind)),
        Need::Nothing => true,
        Need::Power(needed) => caller.power() >= needed,
    };
    if allowed { Ok(Authorized { caller, right }) } else { Err(Refusal::Forbidden(forbidden)) }
}

#[cfg(test)]
mod tests;
