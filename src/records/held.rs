//! Rows that a view holds ready: believed once, and shared by whoever reads them.
//!
//! Only the kinds of rows that verification goes by can be held. Which view holds any, how many and for how
//! long is not known here; a view that holds none reads each row anew, and a rule sees no difference.

use std::sync::Arc;

use super::{
    client::Client,
    host::Host,
    tables::Record,
    token::Token,
    user::User,
    view::{Fault, TableId, View},
};

/// Rows whose stored bytes are more are not held, so that what a view holds is bounded in bytes by their
/// number.
pub const HELD_BYTES_MAX: usize = 320;

/// A row that was believed.
#[derive(Clone, Debug)]
pub enum Held {
    /// Of [`TableId::Tokens`].
    Token(Arc<Token>),
    /// Of [`TableId::Users`].
    User(Arc<User>),
    /// Of [`TableId::Hosts`].
    Host(Arc<Host>),
    /// Of [`TableId::Clients`].
    Client(Arc<Client>),
}

impl Held {
    /// Where it lies.
    pub fn place(&self) -> (TableId, &[u8; 16]) {
        match self {
            Self::Token(row) => (TableId::Tokens, row.id.as_bytes()),
            Self::User(row) => (TableId::Users, row.id.as_bytes()),
            Self::Host(row) => (TableId::Hosts, row.id.as_bytes()),
            Self::Client(row) => (TableId::Clients, row.id.as_bytes()),
        }
    }
}

/// A record that a view can hold.
pub trait Holdable: Record {
    /// As one of the rows that can be held.
    fn held(row: &Arc<Self>) -> Held;
    /// The other way; none where it is a row of another table.
    fn of_held(held: Held) -> Option<Arc<Self>>;

    /// The record at `key`: the one that the view holds, or else read and believed as [`Record::at`] does.
    fn shared_at(view: &dyn View, key: &[u8]) -> Result<Option<Arc<Self>>, Fault> {
        if let Some(row) = view.held(Self::TABLE, key).and_then(Self::of_held) {
            return Ok(Some(row));
        }
        let Some(stored) = view.bytes(Self::TABLE, key)? else { return Ok(None) };
        let row = Arc::new(Self::believe(view, key, &stored)?);
        if stored.len() <= HELD_BYTES_MAX {
            view.hold(Self::held(&row));
        }
        Ok(Some(row))
    }
}

macro_rules! holdable {
    ($($record:ident)*) => {$(
        impl Holdable for $record {
            fn held(row: &Arc<Self>) -> Held {
                Held::$record(Arc::clone(row))
            }

            fn of_held(held: Held) -> Option<Arc<Self>> {
                if let Held::$record(row) = held { Some(row) } else { None }
            }
        }
    )*};
}

holdable! { Token User Host Client }
