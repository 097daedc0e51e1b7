//! A backup that takes a store's place: what ended since stays ended.
//!
//! The transaction lies over the copy of the backup that is about to take the place; the store being replaced is
//! only read. A step looks at a bounded number of rows, and brings each to the stricter of what both stores say;
//! what the replaced store does not hold was purged or deleted since, and does not come back to life. Where that
//! store cannot be read, everything that is for one use is voided, and what else may have come back is named.
//! A damaged record of the replaced store counts as one that is not there.

use core::ops::{Bound, ControlFlow};

use super::{
    Refusal,
    check::hex,
    credentials::{self, Place},
    users, verify,
};
use crate::{
    records::{
        Action, By, Deciding, Fault, Params, Record, TableId, Time, Txn, View,
        client::Client,
        host::{Host, Replay},
        meta::{AuditHead, HighestTime, Setup},
        token::{Detail, Format, LastUsed, Owner, State, Token, Tombstone, Uses},
        user::User,
        view::{Direction, believed, believed_or_counted},
    },
    token::{Kind, TokenHash},
};

/// Rows that are looked at in one operation.
pub const STEP_ROWS_MAX: usize = 1_000;

/// Which rows a step looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Users,
    Clients,
    Hosts,
    Tokens,
    Replays,
    /// Of the store being replaced.
    Tombstones,
    /// Of the store being replaced.
    Imported,
    /// Of the store being replaced.
    Hashes,
    Setup,
}

/// Where the next step goes on.
#[derive(Clone, Debug)]
pub struct Progress {
    stage: Stage,
    after: Option<Vec<u8>>,
}

impl Progress {
    /// The beginning.
    pub const START: Self = Self { stage: Stage::Users, after: None };

    /// Behind the last row of this stage.
    fn next_stage(&self) -> Option<Self> {
        let stage = match self.stage {
            Stage::Users => Stage::Clients,
            Stage::Clients => Stage::Hosts,
            Stage::Hosts => Stage::Tokens,
            Stage::Tokens => Stage::Replays,
            Stage::Replays => Stage::Tombstones,
            Stage::Tombstones => Stage::Imported,
            Stage::Imported => Stage::Hashes,
            Stage::Hashes => Stage::Setup,
            Stage::Setup => return None,
        };
        Some(Self { stage, after: None })
    }
}

/// What one step, or all of them, came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Carried {
    /// Users that were deactivated, demoted, or given their newer password.
    pub users: u64,
    /// Clients that were deactivated.
    pub clients: u64,
    /// Hosts that were deleted.
    pub hosts: u64,
    /// Tokens that were ended, switched off, or brought to an earlier end or more uses.
    pub tokens: u64,
    /// Hashes of imported tokens that were taken over, so that a second import revives none of them.
    pub tombstones: u64,
    /// Records of the replaced store that could not be believed, and count as not there.
    pub damaged: u64,
    /// Setup counts as complete from now on, though the backup was from before.
    pub setup_closed: bool,
    /// What may have come back to life.
    pub revived: Vec<Revived>,
}

/// Something alive in the backup, of which nobody knows whether it was ended since.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revived {
    /// `user`, `client`, `host`, or the kind of the token.
    pub what: &'static str,
    /// Its id.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// Whose it is, for a token.
    pub owner: Option<String>,
}

impl Carried {
    /// Adds what another step came to.
    pub fn add(&mut self, other: Self) {
        for (sum, more) in [
            (&mut self.users, other.users),
            (&mut self.clients, other.clients),
            (&mut self.hosts, other.hosts),
            (&mut self.tokens, other.tokens),
            (&mut self.tombstones, other.tombstones),
            (&mut self.damaged, other.damaged),
        ] {
            *sum = sum.saturating_add(more);
        }
        self.setup_closed |= other.setup_closed;
        self.revived.extend(other.revived);
    }
}

/// Whether a store that is to be replaced says what every store must; one that does not counts as unreadable.
pub fn judge(replaced: &dyn View) -> Result<(), Fault> {
    Setup::of(replaced)?;
    HighestTime::of(replaced)?;
    AuditHead::of(replaced).map(drop)
}

/// Writes the entry that names both heads, and takes over the higher time. `replaced` is none where it cannot
/// be read.
pub fn begin(txn: &mut Txn<'_>, by: &By, replaced: Option<&dyn View>) -> Result<(), Refusal> {
    let named = |head: AuditHead| serde_json::json!({"seq": head.seq, "hash": hex(&head.hash)});
    let backup = AuditHead::of(txn)?;
    let head = replaced.map(AuditHead::of).transpose()?;
    let params = Params::none().with("backup_head", named(backup)).with("replaced_head", head.map(named));
    txn.entry(by, Action::StoreRestore, "store", params)?;
    if let Some(replaced) = replaced {
        let highest = HighestTime::of(txn)?.millis.max(HighestTime::of(replaced)?.millis);
        txn.note(&HighestTime { millis: highest })?;
    }
    Ok(())
}

/// Looks at the next rows. Where to go on, none at the end; and what it came to.
pub fn step(
    txn: &mut Txn<'_>,
    by: &By,
    replaced: Option<&dyn View>,
    at: &Progress,
) -> Result<(Option<Progress>, Carried), Refusal> {
    let now = txn.now();
    let mut step = Step { txn, by, replaced, now, entered: false, carried: Carried::default() };
    let after = step.rows(at)?;
    let next = match after {
        Some(after) => Some(Progress { stage: at.stage, after: Some(after) }),
        None => at.next_stage(),
    };
    Ok((next, step.carried))
}

struct Step<'a, 'v> {
    txn: &'a mut Txn<'v>,
    by: &'a By,
    replaced: Option<&'a dyn View>,
    now: Time,
    entered: bool,
    carried: Carried,
}

type Row = (Vec<u8>, Vec<u8>);

/// The next rows of a table, and behind which key there are more.
fn portion(
    view: &dyn View,
    table: TableId,
    after: Option<&[u8]>,
) -> Result<(Vec<Row>, Option<Vec<u8>>), Fault> {
    let low = after.map_or(Bound::Unbounded, Bound::Excluded);
    let mut rows: Vec<Row> = Vec::new();
    let mut more = false;
    view.scan(table, (low, Bound::Unbounded), Direction::Forwards, &mut |key, stored| {
        if rows.len() == STEP_ROWS_MAX {
            more = true;
            return Ok(ControlFlow::Break(()));
        }
        rows.push((key.to_vec(), stored.to_vec()));
        Ok(ControlFlow::Continue(()))
    })?;
    let next = rows.last().filter(|_| more).map(|(key, _)| key.clone());
    Ok((rows, next))
}

impl Step<'_, '_> {
    fn rows(&mut self, at: &Progress) -> Result<Option<Vec<u8>>, Refusal> {
        let (table, theirs) = match at.stage {
            Stage::Users => (TableId::Users, false),
            Stage::Clients => (TableId::Clients, false),
            Stage::Hosts => (TableId::Hosts, false),
            Stage::Tokens => (TableId::Tokens, false),
            Stage::Replays => (TableId::Replays, false),
            Stage::Tombstones => (TableId::Tombstones, true),
            Stage::Imported => (TableId::Tokens, true),
            Stage::Hashes => (TableId::TokensByHash, true),
            Stage::Setup => {
                self.setup()?;
                return Ok(None);
            }
        };
        let (rows, next) = match (theirs, self.replaced) {
            (false, _) => portion(self.txn, table, at.after.as_deref())?,
            (true, Some(replaced)) => portion(replaced, table, at.after.as_deref())?,
            (true, None) => return Ok(None),
        };
        for (key, stored) in rows {
            match at.stage {
                Stage::Users => self.user(User::believe(self.txn, &key, &stored)?)?,
                Stage::Clients => self.client(Client::believe(self.txn, &key, &stored)?)?,
                Stage::Hosts => self.host(&Host::believe(self.txn, &key, &stored)?)?,
                Stage::Tokens => self.token(&Token::believe(self.txn, &key, &stored)?)?,
                Stage::Replays => self.replay(&Replay::believe(self.txn, &key, &stored)?)?,
                Stage::Tombstones => self.tombstone(&key)?,
                Stage::Imported => self.imported(&key, &stored)?,
                Stage::Hashes => self.hash(&key, &stored)?,
                Stage::Setup => {}
            }
        }
        Ok(next)
    }

    /// Opens the entry of this step, with its first change.
    fn enter(&mut self) -> Result<(), Fault> {
        if !self.entered {
            self.txn.entry(self.by, Action::StoreCarryOver, "store", Params::none())?;
            self.entered = true;
        }
        Ok(())
    }

    fn put<R: Deciding>(&mut self, record: R) -> Result<(), Fault> {
        self.enter()?;
        self.txn.put(record)
    }

    /// What the replaced store holds at `key`, if that can be believed.
    fn theirs<R: Record>(&mut self, view: &dyn View, key: &[u8]) -> Result<Option<R>, Fault> {
        let found = R::at(view, key);
        self.believed(found)
    }

    /// What can be believed of what the replaced store holds.
    fn believed<T>(&mut self, found: Result<Option<T>, Fault>) -> Result<Option<T>, Fault> {
        believed_or_counted(found, &mut self.carried.damaged)
    }

    fn revived(&mut self, what: &'static str, id: String, name: String, owner: Option<String>) {
        self.carried.revived.push(Revived { what, id, name, owner });
    }

    fn user(&mut self, ours: User) -> Result<(), Refusal> {
        let Some(replaced) = self.replaced else {
            if ours.active {
                self.revived("user", ours.id.to_string(), ours.email, None);
            }
            return Ok(());
        };
        let after = match self.theirs::<User>(replaced, &ours.key())? {
            Some(theirs) => stricter_user(&ours, theirs),
            None if ours.active => {
                User { active: false, session_epoch: ours.next_epoch(self.now), ..ours.clone() }
            }
            None => ours.clone(),
        };
        if after != ours {
            self.enter()?;
            users::put(self.txn, Some(&ours), User { updated_at: self.now, ..after })?;
            self.carried.users = self.carried.users.saturating_add(1);
        }
        Ok(())
    }

    fn client(&mut self, ours: Client) -> Result<(), Refusal> {
        let Some(replaced) = self.replaced else {
            if ours.active {
                self.revived("client", ours.id.to_string(), ours.slug, None);
            }
            return Ok(());
        };
        let theirs = self.theirs::<Client>(replaced, &ours.key())?;
        if ours.active && !theirs.is_some_and(|theirs| theirs.active) {
            self.put(Client { active: false, ..ours })?;
            self.carried.clients = self.carried.clients.saturating_add(1);
        }
        Ok(())
    }

    fn host(&mut self, ours: &Host) -> Result<(), Refusal> {
        let Some(replaced) = self.replaced else {
            self.revived("host", ours.id.to_string(), ours.hostname.clone(), None);
            return Ok(());
        };
        if self.theirs::<Host>(replaced, &ours.key())?.is_none() {
            self.enter()?;
            credentials::remove(self.txn, &Place::of_host(ours.id))?;
            self.txn.unindex(&ours.hints());
            self.txn.remove(ours)?;
            self.carried.hosts = self.carried.hosts.saturating_add(1);
        }
        Ok(())
    }

    fn token(&mut self, ours: &Token) -> Result<(), Refusal> {
        let (after, counted) = match self.replaced {
            None => (self.voided(ours)?, false),
            Some(replaced) => self.stricter_token(replaced, ours)?,
        };
        let changed = after != *ours;
        if changed {
            self.put(after.clone())?;
        }
        if changed || counted {
            self.carried.tokens = self.carried.tokens.saturating_add(1);
        }
        if after.kind == Kind::Enrollment
            && after.state(self.now, 0) != State::Active
            && let Some(sealed) = Place::of_enrollment(&after).row(self.txn)?
        {
            self.enter()?;
            self.txn.remove(&sealed)?;
        }
        Ok(())
    }

    /// A token where nobody knows what became of it: dead if it was for one use or a session.
    fn voided(&mut self, ours: &Token) -> Result<Token, Fault> {
        let once = match (ours.kind, &ours.detail) {
            (Kind::Install | Kind::Session | Kind::Enrollment, _) => true,
            (Kind::Link, Detail::Link(link)) => link.single_use,
            (Kind::Link | Kind::Pat | Kind::Agent, _) => false,
        };
        if once || ours.max_uses == Some(1) {
            return Ok(ended(ours, self.now));
        }
        if verify::state_of(self.txn, ours, self.now, None)? == State::Active {
            let owner = match ours.owner {
                Owner::Nobody => None,
                Owner::User(id) => Some(id.to_string()),
                Owner::Host(id) => Some(id.to_string()),
                Owner::Client(id) => Some(id.to_string()),
            };
            self.revived(ours.kind.name(), ours.id.to_string(), ours.name.clone(), owner);
        }
        Ok(ours.clone())
    }

    /// A token as the stricter of both stores has it, and whether it has more uses now.
    fn stricter_token(&mut self, replaced: &dyn View, ours: &Token) -> Result<(Token, bool), Fault> {
        let theirs = self.theirs::<Token>(replaced, &ours.key())?;
        let Some(theirs) = theirs.filter(|theirs| theirs.has_hash(&TokenHash::from_bytes(ours.hash))) else {
            return Ok((ended(ours, self.now), false));
        };
        let used = self.theirs::<LastUsed>(replaced, &ours.key())?;
        let before = LastUsed::of(self.txn, ours.id)?.map(|last| last.at);
        if let Some(used) = used.filter(|used| before.is_none_or(|before| before < used.at)) {
            self.txn.note(&used)?;
        }
        let found = Uses::of(replaced, &theirs).map(Some);
        let Some(theirs_count) = self.believed(found)? else {
            return Ok((ended(ours, self.now), false));
        };
        let after = stricter(ours, theirs);
        let counted = after.max_uses.is_some() && theirs_count > Uses::of(self.txn, ours)?;
        if counted {
            self.txn.note(&Uses { token: ours.id, count: theirs_count })?;
        }
        Ok((after, counted))
    }

    /// A reply that could not be asked for again in both stores is not given again.
    fn replay(&mut self, ours: &Replay) -> Result<(), Refusal> {
        let theirs = match self.replaced {
            Some(replaced) => self.theirs::<Replay>(replaced, &ours.key())?,
            None => None,
        };
        if theirs.is_none() {
            self.enter()?;
            self.txn.remove(ours)?;
        }
        Ok(())
    }

    /// A hash that must not be imported again, in the replaced store.
    fn tombstone(&mut self, key: &[u8]) -> Result<(), Refusal> {
        // A damaged one still says which hash it was about: that is its key.
        let Ok(hash) = <[u8; 32]>::try_from(key) else { return Ok(()) };
        self.bury(hash)
    }

    /// An imported token of the replaced store that the backup does not have: if it was over, importing it
    /// again must not revive it.
    fn imported(&mut self, key: &[u8], stored: &[u8]) -> Result<(), Refusal> {
        let Some(replaced) = self.replaced else { return Ok(()) };
        let found = Token::believe(replaced, key, stored).map(Some);
        // What the backup has was held against it before, and its damage counted then.
        let found =
            if self.txn.holds(TableId::Tokens, key)? { believed(found)? } else { self.believed(found)? };
        let Some(token) = found.filter(|token| token.format == Format::Imported) else { return Ok(()) };
        let state = believed(verify::state_of(replaced, &token, self.now, None).map(Some))?;
        if state != Some(State::Active) {
            self.bury_unknown(token.hash)?;
        }
        Ok(())
    }

    /// The hash of an imported token, in the replaced store. Where it leads to no row that can be believed and is of
    /// that hash, nobody knows whether the token was over, and importing it again must not revive it.
    fn hash(&mut self, key: &[u8], leads_to: &[u8]) -> Result<(), Refusal> {
        let Some(replaced) = self.replaced else { return Ok(()) };
        let Ok(hash) = <[u8; 32]>::try_from(key) else { return Ok(()) };
        let token = believed(Token::at(replaced, leads_to))?;
        if token.is_some_and(|token| token.has_hash(&TokenHash::from_bytes(hash))) {
            return Ok(());
        }
        self.bury_unknown(hash)
    }

    /// Buries the hash of a token that the store in the making does not have.
    fn bury_unknown(&mut self, hash: [u8; 32]) -> Result<(), Refusal> {
        if Token::by_hash(self.txn, &TokenHash::from_bytes(hash))?.is_none() {
            self.bury(hash)?;
        }
        Ok(())
    }

    fn bury(&mut self, hash: [u8; 32]) -> Result<(), Refusal> {
        if Tombstone::at(self.txn, &hash)?.is_none() {
            self.put(Tombstone { hash, entry: 0 })?;
            self.carried.tombstones = self.carried.tombstones.saturating_add(1);
        }
        Ok(())
    }

    /// Setup stays complete if it ever was; where nobody knows, it counts as complete, and only an operator who
    /// forces it opens it again.
    fn setup(&mut self) -> Result<(), Refusal> {
        let ours = Setup::of(self.txn)?;
        let (completed_at, reopened) = match self.replaced.map(Setup::of).transpose()? {
            None => (ours.completed_at.or(Some(self.now)), false),
            Some(theirs) => (
                [ours.completed_at, theirs.completed_at].into_iter().flatten().min(),
                ours.reopened && theirs.reopened && ours.install_token == theirs.install_token,
            ),
        };
        let on_file = ours.install_token.map(|id| Token::by_id(self.txn, id)).transpose()?.flatten();
        let alive = on_file.filter(|token| token.state(self.now, 0) == State::Active);
        let pending = completed_at.is_none() || reopened;
        let after = Setup {
            completed_at,
            reopened,
            install_token: alive.filter(|_| pending).map(|token| token.id),
            entry: ours.entry,
        };
        if after != ours {
            self.carried.setup_closed = ours.pending() && !after.pending();
            self.put(after)?;
        }
        Ok(())
    }
}

/// The stricter of what two stores say of a user.
fn stricter_user(ours: &User, theirs: User) -> User {
    // Setting a password begins another epoch, higher than all before it whatever the clock says. Any change moves
    // `updated_at`, and a clock that ran ahead moves it into the future: it decides only where the epochs are the same.
    // A deactivation begins an epoch as well: of two stores that went on from one backup, one that had somebody off
    // meanwhile is taken for the newer, since no row tells when its password was set.
    let age = |user: &User| (user.session_epoch, user.updated_at);
    let password = if age(&theirs) >= age(ours) { theirs.password } else { ours.password.clone() };
    let mut groups = ours.groups.clone();
    groups.retain(|group| theirs.groups.contains(group));
    User {
        groups,
        password,
        active: ours.active && theirs.active,
        session_epoch: ours.session_epoch.max(theirs.session_epoch),
        ..ours.clone()
    }
}

/// The stricter of what two stores say of a token.
fn stricter(ours: &Token, theirs: Token) -> Token {
    let earlier = |one: Option<Time>, other: Option<Time>| [one, other].into_iter().flatten().min();
    let consumed_since = ours.consumed_at.is_none() && theirs.consumed_at.is_some();
    Token {
        expires_at: earlier(ours.expires_at, theirs.expires_at),
        revoked_at: earlier(ours.revoked_at, theirs.revoked_at),
        consumed_at: earlier(ours.consumed_at, theirs.consumed_at),
        enabled: ours.enabled && theirs.enabled,
        max_uses: [ours.max_uses, theirs.max_uses].into_iter().flatten().min(),
        detail: if consumed_since { theirs.detail } else { ours.detail.clone() },
        ..ours.clone()
    }
}

/// A token that is over now, if it was not before.
fn ended(ours: &Token, now: Time) -> Token {
    Token { revoked_at: Some(ours.revoked_at.map_or(now, |at| at.min(now))), ..ours.clone() }
}

#[cfg(test)]
mod tests;
