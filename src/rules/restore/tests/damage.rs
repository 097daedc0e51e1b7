//! Hashes of imported tokens, and what becomes of records that cannot be believed.

use super::*;

/// A token that another system issued.
fn imported(town: &mut Town, owner: Owner, hash: u8) -> Token {
    token(town, Kind::Pat, owner, |token| {
        *token = Token { hash: [hash; 32], format: Format::Imported, ..token.clone() };
    })
}

fn flip(shelf: &mut Shelf, table: TableId, key: &[u8]) {
    let mut bytes = shelf.rows()[&(table, key.to_vec())].clone();
    *bytes.last_mut().unwrap() ^= 1;
    shelf.tamper(table, key, Some(bytes));
}

#[test]
fn hashes_of_imported_tokens_that_are_over_carry_over() {
    let mut town = Town::new();
    let user = town.user("a@example.org", &[]);
    let backup = copy(&town.shelf);
    let imported = |town: &mut Town, hash: u8, dead: bool| {
        let revoked_at = dead.then_some(town.time());
        token(town, Kind::Pat, Owner::User(user.id), |token| {
            *token = Token { hash: [hash; 32], format: Format::Imported, revoked_at, ..token.clone() };
        })
    };
    imported(&mut town, 1, true);
    imported(&mut town, 2, false);
    put(&mut town, Tombstone { hash: [3; 32], entry: 0 });
    let (restored, carried) = restore(&backup, Some(&town.shelf), town.now);
    let buried = [1, 2, 3].map(|hash| Tombstone::at(&restored, &[hash; 32]).unwrap().is_some());
    assert_eq!((buried, carried.tombstones), ([true, false, true], 2));
}

#[test]
fn the_hash_of_an_imported_token_that_cannot_be_believed_is_buried() {
    let mut town = Town::new();
    let owner = Owner::User(town.user("a@example.org", &[]).id);
    let [both, both_damaged] = [1, 2].map(|hash| imported(&mut town, owner, hash));
    let backup = copy(&town.shelf);
    let [alive, damaged, gone] = [3, 4, 5].map(|hash| imported(&mut town, owner, hash));
    for token in [&both_damaged, &damaged] {
        flip(&mut town.shelf, TableId::Tokens, token.id.as_bytes());
    }
    town.shelf.tamper(TableId::Tokens, gone.id.as_bytes(), None);
    // A hint that leads to another token's row.
    town.shelf.tamper(TableId::TokensByHash, &[6; 32], Some(alive.id.as_bytes().to_vec()));
    let (restored, carried) = restore(&backup, Some(&town.shelf), town.now);
    let buried = [1, 2, 3, 4, 5, 6].map(|hash| Tombstone::at(&restored, &[hash; 32]).unwrap().is_some());
    assert_eq!((buried, carried.tombstones), ([false, false, false, true, true, true], 3));
    assert_eq!(state(&restored, both.id, town.now), State::Active);
    assert_eq!(
        state(&restored, both_damaged.id, town.now),
        State::Revoked,
        "it needs no stone: its row is there"
    );
}

#[test]
fn a_damaged_record_of_the_replaced_store_is_counted_once() {
    let mut town = Town::new();
    let user = town.user("a@example.org", &[]).id;
    let owner = Owner::User(user);
    let damaged = [(); 3].map(|()| token(&mut town, Kind::Pat, owner, |_| {}).id);
    let counted = token(&mut town, Kind::Pat, owner, |token| {
        *token = Token { hash: [7; 32], format: Format::Imported, max_uses: Some(5), ..token.clone() };
    });
    let backup = copy(&town.shelf);
    let since = imported(&mut town, owner, 8);
    imported(&mut town, owner, 9);
    for id in damaged {
        flip(&mut town.shelf, TableId::Tokens, id.as_bytes());
    }
    assert_eq!(restore(&backup, Some(&town.shelf), town.now).1.damaged, 3);
    flip(&mut town.shelf, TableId::Uses, counted.id.as_bytes());
    assert_eq!(
        restore(&backup, Some(&town.shelf), town.now).1.damaged,
        4,
        "what goes with a token that both have"
    );
    flip(&mut town.shelf, TableId::Tokens, since.id.as_bytes());
    assert_eq!(
        restore(&backup, Some(&town.shelf), town.now).1.damaged,
        5,
        "one that the backup does not have"
    );
    flip(&mut town.shelf, TableId::Users, user.as_bytes());
    assert_eq!(
        restore(&backup, Some(&town.shelf), town.now).1.damaged,
        6,
        "a user, and not each token again"
    );
}
