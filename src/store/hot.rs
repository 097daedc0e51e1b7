//! Hot rows: what verification reads again and again, held in memory, decoded and believed.
//!
//! A view over them answers as the store of one moment does. The writer owns their truth: within each
//! commit, before the new view is seen and before anybody is answered, it drops what it wrote. A row that was
//! read under a generation comes in only as long as nothing of its set was written since
//! ([`Sets`]). And a question during which a commit was published is asked again of one
//! view, so that no answer is put together from two moments. The writer's own operations go by the rows as well, since
//! between two commits nobody changes what is stored.

use std::{
    cell::{OnceCell, RefCell},
    hash::{BuildHasher, RandomState},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering, fence},
    },
};

use super::{Shared, Written, sets::Sets, view::ReadView};
use crate::records::{
    Held, StoreKeys,
    client::Client,
    host::Host,
    token::Token,
    user::User,
    view::{Direction, Fault, KeyRange, TableId, View, Visit},
};

/// Rows of each kind that are held, each of at most `HELD_BYTES_MAX` stored bytes.
const TOKENS_MAX: usize = 32_768;
const USERS_MAX: usize = 16_384;
const HOSTS_MAX: usize = 16_384;
const CLIENTS_MAX: usize = 4_096;
/// Hints that are held: hashes of imported tokens, names of services.
const HINTS_MAX: usize = 16_384;

/// The rows.
#[derive(Debug)]
pub(crate) struct HotRows {
    tokens: Sets<Token>,
    users: Sets<User>,
    hosts: Sets<Host>,
    clients: Sets<Client>,
    hints: Sets<Hint>,
    hint_keys: RandomState,
    /// Odd while a commit is being published; even at rest, another one after each.
    moment: AtomicU64,
}

/// A row of an index: where it leads.
#[derive(Debug)]
struct Hint {
    table: TableId,
    key: Box<[u8]>,
    leads_to: Box<[u8]>,
}

impl Hint {
    fn is_at(&self, table: TableId, key: &[u8]) -> bool {
        self.table == table && *self.key == *key
    }

    /// Whether hints of `table` are held: those that verification goes by.
    const fn can_be_of(table: TableId) -> bool {
        matches!(table, TableId::TokensByHash | TableId::ServiceUsers)
    }
}

/// Where a row lies whose key is an id: by the id's end, which is random.
fn spread(key: &[u8]) -> u64 {
    key.last_chunk().map_or(0, |end| u64::from_be_bytes(*end))
}

impl Default for HotRows {
    fn default() -> Self {
        Self {
            tokens: Sets::new(TOKENS_MAX),
            users: Sets::new(USERS_MAX),
            hosts: Sets::new(HOSTS_MAX),
            clients: Sets::new(CLIENTS_MAX),
            hints: Sets::new(HINTS_MAX),
            hint_keys: RandomState::new(),
            moment: AtomicU64::new(0),
        }
    }
}

impl HotRows {
    /// The moment that it is; none while a commit is being published.
    fn moment(&self) -> Option<u64> {
        let moment = self.moment.load(Ordering::Acquire);
        moment.is_multiple_of(2).then_some(moment)
    }

    /// Whether it still is that moment, after everything that was read before.
    fn is_still(&self, moment: u64) -> bool {
        fence(Ordering::Acquire);
        self.moment.load(Ordering::Relaxed) == moment
    }

    /// For the writer alone: publishes a commit. What was written is forgotten first, then `publish` lets
    /// readers see the view of `generation`.
    pub(crate) fn turn(&self, generation: u64, written: Written<'_>, publish: impl FnOnce()) {
        self.moment.fetch_add(1, Ordering::AcqRel);
        fence(Ordering::SeqCst);
        if !written.each(|table, key| self.forget(generation, table, key)) {
            self.tokens.forget_all(generation);
            self.users.forget_all(generation);
            self.hosts.forget_all(generation);
            self.clients.forget_all(generation);
            self.hints.forget_all(generation);
        }
        publish();
        self.moment.fetch_add(1, Ordering::AcqRel);
    }

    fn forget(&self, generation: u64, table: TableId, key: &[u8]) {
        let at = spread(key);
        if table == TableId::Tokens {
            self.tokens.forget(at, generation, |row| row.id.as_bytes() == key);
        } else if table == TableId::Users {
            self.users.forget(at, generation, |row| row.id.as_bytes() == key);
        } else if table == TableId::Hosts {
            self.hosts.forget(at, generation, |row| row.id.as_bytes() == key);
        } else if table == TableId::Clients {
            self.clients.forget(at, generation, |row| row.id.as_bytes() == key);
        } else if Hint::can_be_of(table) {
            self.hints.forget(self.spread_hint(table, key), generation, |hint| hint.is_at(table, key));
        }
    }

    /// The row at `key`, as the last commit left it.
    pub(crate) fn find(&self, table: TableId, key: &[u8]) -> Option<Held> {
        let at = spread(key);
        if table == TableId::Tokens {
            self.tokens.find(at, |row| row.id.as_bytes() == key).map(Held::Token)
        } else if table == TableId::Users {
            self.users.find(at, |row| row.id.as_bytes() == key).map(Held::User)
        } else if table == TableId::Hosts {
            self.hosts.find(at, |row| row.id.as_bytes() == key).map(Held::Host)
        } else if table == TableId::Clients {
            self.clients.find(at, |row| row.id.as_bytes() == key).map(Held::Client)
        } else {
            None
        }
    }

    fn insert(&self, generation: u64, row: Held) {
        let (_, key) = row.place();
        let at = spread(key);
        match row {
            Held::Token(row) => {
                let id = row.id;
                self.tokens.insert(at, generation, row, |own| own.id == id);
            }
            Held::User(row) => {
                let id = row.id;
                self.users.insert(at, generation, row, |own| own.id == id);
            }
            Held::Host(row) => {
                let id = row.id;
                self.hosts.insert(at, generation, row, |own| own.id == id);
            }
            Held::Client(row) => {
                let id = row.id;
                self.clients.insert(at, generation, row, |own| own.id == id);
            }
        }
    }

    fn spread_hint(&self, table: TableId, key: &[u8]) -> u64 {
        self.hint_keys.hash_one((table, key))
    }

    fn find_hint(&self, table: TableId, key: &[u8]) -> Option<Arc<Hint>> {
        self.hints.find(self.spread_hint(table, key), |hint| hint.is_at(table, key))
    }

    fn insert_hint(&self, generation: u64, hint: Hint) {
        let (at, hint) = (self.spread_hint(hint.table, &hint.key), Arc::new(hint));
        let same = Arc::clone(&hint);
        self.hints.insert(at, generation, hint, |own| own.is_at(same.table, &same.key));
    }
}

/// The store as verification sees it: the rows that are held, and for others the newest view, which is
/// taken when the first of them is asked for.
struct HotView<'a> {
    shared: &'a Shared,
    view: OnceCell<Arc<ReadView>>,
    /// What was read of the view, and comes in if the question ends well.
    rows: RefCell<Vec<Held>>,
    hints: RefCell<Vec<Hint>>,
}

impl<'a> HotView<'a> {
    fn over(shared: &'a Shared) -> Self {
        Self { shared, view: OnceCell::new(), rows: RefCell::default(), hints: RefCell::default() }
    }

    fn view(&self) -> &ReadView {
        self.view.get_or_init(|| self.shared.published.newest())
    }

    /// Takes in what was read. Only for questions that ended well, so that nobody fills the memory who has
    /// no good credential.
    fn keep(self) {
        let Some(view) = self.view.get() else { return };
        let (hot, generation) = (&self.shared.hot, view.generation());
        for row in self.rows.into_inner() {
            hot.insert(generation, row);
        }
        for hint in self.hints.into_inner() {
            hot.insert_hint(generation, hint);
        }
    }
}

impl View for HotView<'_> {
    fn keys(&self) -> &StoreKeys {
        &self.shared.keys
    }

    fn bytes(&self, table: TableId, key: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        if !Hint::can_be_of(table) {
            return self.view().bytes(table, key);
        }
        if let Some(hint) = self.shared.hot.find_hint(table, key) {
            return Ok(Some(hint.leads_to.to_vec()));
        }
        let found = self.view().bytes(table, key)?;
        if let Some(id) = &found {
            let hint = Hint { table, key: key.into(), leads_to: id.as_slice().into() };
            self.hints.borrow_mut().push(hint);
        }
        Ok(found)
    }

    fn scan(
        &self,
        table: TableId,
        range: KeyRange<'_>,
        direction: Direction,
        visit: &mut Visit<'_>,
    ) -> Result<(), Fault> {
        self.view().scan(table, range, direction, visit)
    }

    fn held(&self, table: TableId, key: &[u8]) -> Option<Held> {
        self.shared.hot.find(table, key)
    }

    fn hold(&self, row: Held) {
        self.rows.borrow_mut().push(row);
    }
}

/// Asks a question of the store as it is at one moment. Where the hot rows hold what is needed, nothing
/// else is touched.
pub(super) fn ask<T, E>(shared: &Shared, question: impl Fn(&dyn View) -> Result<T, E>) -> Result<T, E> {
    if let Some(moment) = shared.hot.moment() {
        let view = HotView::over(shared);
        let answer = question(&view);
        if shared.hot.is_still(moment) {
            if answer.is_ok() {
                view.keep();
            }
            return answer;
        }
    }
    shared.look(question)
}

#[cfg(test)]
mod tests;
