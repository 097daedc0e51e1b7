//! What comes back from disk, and arithmetic with times.

use core::fmt::Debug;
use core::ops::{ControlFlow, RangeBounds};
use std::collections::BTreeMap;

use bearerd::records::client::{Client, Project};
use bearerd::records::host::{Host, Replay, Sealed};
use bearerd::records::meta::{AuditHead, Count, HighestTime, PurgeHold, Setup, raw};
use bearerd::records::token::{LastUsed, Owner, State, Token, Tombstone, Uses};
use bearerd::records::user::User;
use bearerd::records::view::{Direction, KeyRange, Visit};
use bearerd::records::{Fault, Record, StoreKeys, TableId, Time, Txn, View, audit, codec};
use bearerd::rules::tokens::{Fresh, blank};
use bearerd::token::{Key, Kind, Prefix, UserId};

/// The id of a store in memory.
pub const STORE_ID: [u8; 16] = [0x1d; 16];

/// Ordered tables in memory.
pub struct Rows {
    keys: StoreKeys,
    rows: BTreeMap<(TableId, Vec<u8>), Vec<u8>>,
}

impl Rows {
    /// A store as it is when it was just created.
    pub fn new() -> Self {
        let mut rows = Self { keys: StoreKeys::derive(&Key::new([0x5e; 32])), rows: BTreeMap::new() };
        rows.rows.insert((TableId::Meta, raw::STORE_ID.to_vec()), STORE_ID.to_vec());
        rows.place(&Setup::default());
        rows.place(&AuditHead::EMPTY);
        rows.place(&HighestTime { millis: 0 });
        rows
    }

    fn place<R: Record>(&mut self, record: &R) {
        let stored = codec::encode(&self.keys.records, R::TABLE, &record.key(), R::VERSION, record).unwrap();
        self.rows.insert((R::TABLE, record.key()), stored);
    }

    /// Runs `rule`; if it refuses, nothing has happened.
    pub fn change<T, E>(
        &mut self,
        now_ms: u64,
        rule: impl FnOnce(&mut Txn<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut txn = Txn::new(self, now_ms);
        let answer = rule(&mut txn)?;
        let written = txn.finish().unwrap();
        for (table, rows) in written.rows {
            for (key, value) in rows {
                match value {
                    Some(value) => self.rows.insert((table, key), value),
                    None => self.rows.remove(&(table, key)),
                };
            }
        }
        Ok(answer)
    }
}

impl View for Rows {
    fn keys(&self) -> &StoreKeys {
        &self.keys
    }

    fn bytes(&self, table: TableId, key: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        Ok(self.rows.get(&(table, key.to_vec())).cloned())
    }

    fn scan(
        &self,
        table: TableId,
        range: KeyRange<'_>,
        direction: Direction,
        visit: &mut Visit<'_>,
    ) -> Result<(), Fault> {
        let within = |key: &[u8]| RangeBounds::<[u8]>::contains(&range, key);
        let mut rows: Vec<_> =
            self.rows.iter().filter(|((of, key), _)| *of == table && within(key)).collect();
        if direction == Direction::Backwards {
            rows.reverse();
        }
        for ((_, key), value) in rows {
            if visit(key, value)? == ControlFlow::Break(()) {
                break;
            }
        }
        Ok(())
    }
}

/// A record of any type that is decoded is encoded to what decodes to the same; it is believed where it lies and
/// with its MAC, and nowhere else, in no other version and with no bit changed.
pub fn stored_records(input: &[u8]) {
    let Some((which, body)) = input.split_first() else { return };
    let judges: [fn(&[u8]); 16] = [
        judge::<Token>,
        judge::<User>,
        judge::<Host>,
        judge::<Sealed>,
        judge::<Replay>,
        judge::<Client>,
        judge::<Project>,
        judge::<audit::Entry>,
        judge::<LastUsed>,
        judge::<Uses>,
        judge::<Tombstone>,
        judge::<Setup>,
        judge::<HighestTime>,
        judge::<AuditHead>,
        judge::<PurgeHold>,
        judge::<Count>,
    ];
    judges[usize::from(*which) % judges.len()](body);
}

fn judge<R: Record + PartialEq + Debug>(body: &[u8]) {
    let key = Key::new([0x5e; 32]).for_macs();
    assert!(codec::decode::<R>(&key, R::TABLE, b"key", R::VERSION, body).is_err(), "bytes without a MAC");
    let Ok(value) = codec::decode_body::<R>(body) else { return };
    let written = codec::encode_body(&value).expect("what was decoded");
    assert_eq!(codec::decode_body::<R>(&written).as_ref(), Ok(&value));
    let at = value.key();
    // A key is at most 255 bytes long; a name in a made-up record may be longer.
    let Ok(mut stored) = codec::encode(&key, R::TABLE, &at, R::VERSION, &value) else {
        assert!(at.len() > 255);
        return;
    };
    let read =
        |stored: &[u8], table, at: &[u8], version| codec::decode::<R>(&key, table, at, version, stored);
    assert_eq!(read(&stored, R::TABLE, &at, R::VERSION).as_ref(), Ok(&value));
    let elsewhere = TableId::ALL.iter().copied().filter(|table| *table != R::TABLE);
    for table in elsewhere.take(3) {
        assert!(read(&stored, table, &at, R::VERSION).is_err(), "moved to another table");
    }
    assert!(read(&stored, R::TABLE, &[&at[..], b"x"].concat(), R::VERSION).is_err(), "moved to another key");
    assert!(read(&stored, R::TABLE, &at, R::VERSION + 1).is_err(), "another version");
    let last = stored.len() - 1;
    for at_byte in [0, 1, last / 2, last - 16, last] {
        stored[at_byte] ^= 1;
        assert!(read(&stored, R::TABLE, &at, R::VERSION).is_err(), "a changed bit at {at_byte}");
        stored[at_byte] ^= 1;
    }
    assert!(read(&stored[..last], R::TABLE, &at, R::VERSION).is_err());
}

/// Times and spans are as large numbers have them, cut off at the ends and never wrapped round; a token lives
/// through the last second of its span and not into the next.
pub fn expiry(input: &[u8]) {
    let mut words = input.chunks(8).map(|chunk| {
        let mut bytes = [0; 8];
        bytes[..chunk.len()].copy_from_slice(chunk);
        u64::from_be_bytes(bytes)
    });
    let mut next = || words.next().unwrap_or(0);
    let (now, span, other) = (next(), next(), next());
    let wide = |number: u64| i128::from(number);
    let cut = |number: i128| u64::try_from(number.clamp(0, wide(u64::MAX))).unwrap();
    let time = Time::from_unix(now);
    assert_eq!(time.plus(span).unix(), cut(wide(now) + wide(span)));
    assert_eq!(time.minus(span).unix(), cut(wide(now) - wide(span)));
    assert_eq!(time.since(Time::from_unix(span)), cut(wide(now) - wide(span)));
    assert_eq!(wide(Time::from_unix_millis(now).unix()), wide(now) / 1000);

    let rows = Rows::new();
    let txn = Txn::new(&rows, now);
    let owner = Owner::User(UserId::from_bytes([1; 16]));
    let fresh = Fresh { id: [2; 10], secret: [3; 32].into() };
    let token = blank(&txn, &Prefix::new("bdr").unwrap(), Kind::Pat, owner, Some(span), &fresh).token;
    let end = cut(wide(now) / 1000 + wide(span));
    assert_eq!(token.expires_at.map(Time::unix), Some(end));
    let state = |at: u64| token.state(Time::from_unix(at), 0);
    assert_eq!(state(end), State::Expired);
    assert_eq!(state(other), if other < end { State::Active } else { State::Expired });
    if let Some(last) = end.checked_sub(1) {
        assert_eq!(state(last), State::Active);
    }
}
