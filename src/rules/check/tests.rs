use super::*;
use crate::{
    records::{Action, By, Params, host::SealedFor, shelf::Shelf},
    rules::{pats::Wish, town::Town},
    token::{KeyId, TokenId},
};

fn walk(shelf: &Shelf, keyring: &Keyring, still: bool) -> Report {
    let mut walk = Walk::new(still);
    loop {
        if let Some(report) = walk.step(shelf, keyring).unwrap() {
            return report;
        }
    }
}

struct Ground {
    town: Town,
    user: User,
    pat: TokenId,
}

fn ground() -> Ground {
    let mut town = Town::new();
    let user = town.user("a@example.org", &["admin"]);
    let pat = town.pat(user.id, Wish { max_uses: Some(3), ..Wish::default() }).unwrap().token.id;
    town.session(user.id).unwrap();
    Ground { town, user, pat }
}

/// A finding: its table, and whether it is the one.
type Expected = (TableId, fn(&Wrong) -> bool);

/// What a walk finds after `plant` did its work.
#[track_caller]
fn finds(plant: impl FnOnce(&mut Ground), expected: &[Expected]) {
    let mut ground = ground();
    plant(&mut ground);
    let report = walk(&ground.town.shelf, &ground.town.keyring, true);
    for (table, is_it) in expected {
        let found = report.findings.iter().any(|finding| finding.table == *table && is_it(&finding.wrong));
        assert!(found, "{table:?}: {:?}", report.findings);
    }
    assert_eq!(report.findings.len(), expected.len(), "{:?}", report.findings);
    assert!(report.findings.iter().all(|finding| !finding.advice().is_empty()));
}

fn bytes(ground: &Ground, table: TableId, key: &[u8]) -> Vec<u8> {
    ground.town.shelf.rows()[&(table, key.to_vec())].clone()
}

#[test]
fn nothing_is_found_where_nothing_is_wrong() {
    finds(|_| {}, &[]);
    let ground = ground();
    let report = walk(&ground.town.shelf, &ground.town.keyring, false);
    assert_eq!((report.found, report.entries), (0, 3));
    assert_eq!(report.rows, ground.town.shelf.rows().len() as u64);
}

#[test]
fn a_flipped_bit_is_found_where_it_lies() {
    finds(
        |ground| {
            let key = ground.pat.as_bytes().to_vec();
            let mut stored = bytes(ground, TableId::Tokens, &key);
            stored[20] ^= 1;
            ground.town.shelf.tamper(TableId::Tokens, &key, Some(stored));
        },
        &[
            (TableId::Tokens, |wrong| *wrong == Wrong::Damaged),
            (TableId::TokensByOwner, |wrong| *wrong == Wrong::Stray),
            (TableId::TokensByKind, |wrong| *wrong == Wrong::Stray),
            (TableId::Counts, |wrong| *wrong == Wrong::Count { stored: 1, found: 0 }),
        ],
    );
}

#[test]
fn an_older_genuine_record_put_back_is_found() {
    finds(
        |ground| {
            let key = ground.pat.as_bytes().to_vec();
            let before = bytes(ground, TableId::Tokens, &key);
            ground.town.revoke(ground.pat).unwrap();
            ground.town.shelf.tamper(TableId::Tokens, &key, Some(before));
        },
        &[(TableId::Tokens, |wrong| *wrong == Wrong::PutBack { touched: 4, stamped: 2 })],
    );
}

#[test]
fn a_log_that_was_put_back_is_found() {
    finds(
        |ground| {
            let head = bytes(ground, TableId::Meta, b"audit_head");
            ground.town.revoke(ground.pat).unwrap();
            ground.town.shelf.tamper(TableId::Meta, b"audit_head", Some(head));
            ground.town.shelf.tamper(TableId::Audit, &4u64.to_be_bytes(), None);
        },
        &[(TableId::Tokens, |wrong| *wrong == Wrong::AheadOfLog(4))],
    );
}

#[test]
fn an_index_is_held_against_its_rows_and_back() {
    finds(
        |ground| ground.town.shelf.tamper(TableId::UsersByEmail, b"a@example.org", None),
        &[(TableId::Users, |wrong| *wrong == Wrong::NotIndexed(TableId::UsersByEmail))],
    );
    finds(
        |ground| {
            let id = ground.user.id.as_bytes().to_vec();
            ground.town.shelf.tamper(TableId::UsersByEmail, b"b@example.org", Some(id));
        },
        &[(TableId::UsersByEmail, |wrong| *wrong == Wrong::Stray)],
    );
    finds(
        |ground| {
            let id = ground.user.id.as_bytes().to_vec();
            ground.town.shelf.tamper(TableId::ServiceUsers, b"cron", Some(id));
        },
        &[(TableId::ServiceUsers, |wrong| *wrong == Wrong::Stray)],
    );
}

#[test]
fn a_broken_chain_is_found() {
    finds(
        |ground| ground.town.shelf.tamper(TableId::Audit, &2u64.to_be_bytes(), None),
        &[(TableId::Audit, |wrong| *wrong == Wrong::Chain)],
    );
    finds(
        |ground| ground.town.shelf.tamper(TableId::Audit, &3u64.to_be_bytes(), None),
        &[(TableId::Audit, |wrong| *wrong == Wrong::ChainEnd { found: 2, expected: 3 })],
    );
}

#[test]
fn what_every_store_has_is_missed() {
    finds(
        |ground| ground.town.shelf.tamper(TableId::Meta, b"setup", None),
        &[(TableId::Meta, |wrong| *wrong == Wrong::Missing)],
    );
    finds(
        |ground| ground.town.shelf.tamper(TableId::Uses, ground.pat.as_bytes(), None),
        &[(TableId::Uses, |wrong| *wrong == Wrong::Missing)],
    );
    finds(
        |ground| ground.town.shelf.tamper(TableId::Meta, b"else", Some(vec![1])),
        &[(TableId::Meta, |wrong| *wrong == Wrong::Unknown)],
    );
}

#[test]
fn a_wrong_count_is_found_where_nobody_writes() {
    let mut ground = ground();
    ground.town.shelf.place(&Count { kind: Kind::Pat, stored: 7 });
    let report = |still| walk(&ground.town.shelf, &ground.town.keyring, still).findings;
    assert_eq!(report(true)[0].wrong, Wrong::Count { stored: 7, found: 1 });
    assert_eq!(report(false), [], "over a store that runs counts are of another moment than rows");
}

#[test]
fn a_walk_of_many_portions_reads_every_row_once() {
    let mut town = Town::new();
    let user = town.user("a@example.org", &[]);
    for _ in 0..STEP_ROWS_MAX {
        town.pat(user.id, Wish::default()).unwrap();
    }
    let report = walk(&town.shelf, &town.keyring, true);
    assert_eq!(report.findings, []);
    assert_eq!(report.rows, town.shelf.rows().len() as u64);
    assert_eq!(report.entries, STEP_ROWS_MAX as u64 + 1);
}

#[test]
fn a_finding_names_its_row_and_says_what_to_do() {
    let mut ground = ground();
    let key = ground.pat.as_bytes().to_vec();
    ground.town.shelf.tamper(TableId::Tokens, &key, Some(vec![1]));
    let report = walk(&ground.town.shelf, &ground.town.keyring, false);
    let finding = report.findings.iter().find(|finding| finding.wrong == Wrong::Damaged).unwrap();
    let spelled = key.iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
    assert_eq!((finding.table, &finding.key), (TableId::Tokens, &spelled));
    assert!(finding.advice().contains("bearerd restore"));
    let wrong = Wrong::NoKey("k".to_owned());
    assert!(Finding { table: TableId::Sealed, key: spelled, wrong }.advice().contains("keys reseal"));
}

/// What is advised about each finding there is after `plant` did its work, by table.
fn advised(plant: impl FnOnce(&mut Ground)) -> Vec<(TableId, &'static str)> {
    let mut ground = ground();
    plant(&mut ground);
    let report = walk(&ground.town.shelf, &ground.town.keyring, true);
    report.findings.iter().map(|finding| (finding.table, finding.advice())).collect()
}

#[test]
fn only_a_token_that_nobody_owns_is_to_be_revoked() {
    let of_user = advised(|ground| {
        let id = ground.user.id;
        for (index, hint, _) in ground.user.hints() {
            ground.town.shelf.tamper(index, &hint, None);
        }
        ground.town.shelf.tamper(TableId::Users, id.as_bytes(), None);
    });
    assert_eq!(of_user.len(), 2, "a PAT and a session");
    assert!(of_user.iter().all(|(_, advice)| advice.contains("bearerd token revoke")), "{of_user:?}");
    let client = crate::token::ClientId::from_parts(1, [4; 10]);
    let token = TokenId::from_parts(1, [4; 10]);
    let others = advised(|ground| {
        let name = "acme".to_owned();
        let project = Project { name, client, preview_client: None, preview_link: None, entry: 0 };
        ground.town.shelf.place(&project);
        ground.town.shelf.place(&Uses { token, count: 0 });
    });
    let tables: Vec<TableId> = others.iter().map(|(table, _)| *table).collect();
    assert_eq!(tables, [TableId::Uses, TableId::Projects]);
    assert!(others.iter().all(|(_, advice)| !advice.contains("token revoke")), "{others:?}");
    assert!(others[1].1.contains("PUT /v1/projects/{project}/client"));
}

#[test]
fn a_token_that_its_index_does_not_lead_to_may_outlive_what_goes_by_the_index() {
    let found = advised(|ground| {
        let token = Token::by_id(&ground.town.shelf, ground.pat).unwrap().unwrap();
        for (index, hint, _) in token.hints() {
            ground.town.shelf.tamper(index, &hint, None);
        }
    });
    assert_eq!(found.len(), 2, "by its owner and by its kind");
    assert!(found.iter().all(|(_, advice)| advice.contains("revoke-all")), "{found:?}");
    assert!(found.iter().all(|(_, advice)| !advice.contains("no access depends on it")), "{found:?}");
}

#[test]
fn of_very_many_findings_the_first_are_kept_and_all_are_counted() {
    let mut walk = Walk::new(true);
    for _ in 0..=FINDINGS_MAX {
        walk.find(TableId::Meta, &[], Wrong::Missing);
    }
    assert_eq!((walk.report.findings.len(), walk.report.found), (FINDINGS_MAX, FINDINGS_MAX as u64 + 1));
}

#[test]
fn what_belongs_to_the_store_itself_is_known() {
    finds(
        |ground| {
            for key in [raw::SCHEMA, raw::STORE_ID, raw::STORE_KEY] {
                ground.town.shelf.tamper(TableId::Meta, key, Some(vec![1]));
            }
            ground.town.change(|txn, _| crate::rules::purge::may_run(txn)).unwrap();
        },
        &[],
    );
    finds(
        |ground| ground.town.shelf.tamper(TableId::Meta, b"purge_hold", Some(vec![1])),
        &[(TableId::Meta, |wrong| *wrong == Wrong::Damaged)],
    );
}

#[test]
fn credentials_whose_key_is_gone_and_what_is_no_envelope_are_found() {
    use crate::rules::credentials::{self, Place};

    let mut ground = ground();
    let holder = crate::token::HostId::from_parts(1, [4; 10]);
    ground
        .town
        .change(|txn, terms| {
            txn.entry(&By::system(), Action::HostCredentialsPut, holder, Params::none())?;
            credentials::put(txn, terms, &Place::of_host(holder), b"{}", [1; 24])
        })
        .unwrap();
    let found = |ground: &Ground, keyring: &Keyring| {
        let report = walk(&ground.town.shelf, keyring, true);
        report.findings.into_iter().map(|finding| finding.wrong).collect::<Vec<_>>()
    };
    assert_eq!(found(&ground, &ground.town.keyring), []);
    let other = Keyring::generate(KeyId::new("k2").unwrap(), b"0123456789abcdef0123456789abcdef").unwrap();
    assert_eq!(found(&ground, &other), [Wrong::NoKey("k1".to_owned())]);
    let mut row = Sealed::at(&ground.town.shelf, &SealedFor::Host(holder).key()).unwrap().unwrap();
    row.envelope = vec![1];
    ground.town.shelf.place(&row);
    assert_eq!(found(&ground, &ground.town.keyring), [Wrong::Damaged]);
}

#[test]
fn an_entry_that_was_changed_by_somebody_who_has_the_keys_of_the_records_breaks_the_chain() {
    finds(
        |ground| {
            let entry = Entry::at(&ground.town.shelf, &2u64.to_be_bytes()).unwrap().unwrap();
            ground.town.shelf.place(&Entry { actor_label: "somebody else".to_owned(), ..entry });
        },
        &[(TableId::Audit, |wrong| *wrong == Wrong::Chain)],
    );
}

/// Retention goes on beside a walk: what it cut, before the walk or behind its back, is not missed.
#[test]
fn a_log_that_retention_cuts_before_and_during_a_walk_is_whole() {
    let mut town = Town::new();
    let user = town.user("a@example.org", &[]);
    for _ in 0..3 * STEP_ROWS_MAX {
        town.pat(user.id, Wish::default()).unwrap();
    }
    town.change(|txn, _| crate::rules::purge::may_run(txn)).unwrap();
    town.pass(100);
    town.settings.audit.retention = crate::settings::Retention::Seconds(50);
    town.user("b@example.org", &[]);
    let cut = |town: &mut Town| town.change(crate::rules::audit::cut).unwrap();
    let mut walk = Walk::new(false);
    while TableId::ALL[walk.table] != TableId::Audit || walk.after.is_none() {
        assert!(walk.step(&town.shelf, &town.keyring).unwrap().is_none());
    }
    while cut(&mut town) > 0 {}
    let report = loop {
        if let Some(report) = walk.step(&town.shelf, &town.keyring).unwrap() {
            break report;
        }
    };
    assert_eq!(report.findings, [], "cut during the walk");
    assert_eq!(self::walk(&town.shelf, &town.keyring, true).findings, [], "cut before it");
}

/// A shelf of which one table cannot be read, or one row of it.
struct Torn<'a> {
    shelf: &'a Shelf,
    table: TableId,
    row: Option<&'static [u8]>,
}

impl View for Torn<'_> {
    fn keys(&self) -> &crate::records::StoreKeys {
        self.shelf.keys()
    }

    fn bytes(&self, table: TableId, key: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        let torn = table == self.table && self.row.is_none_or(|row| row == key);
        if torn { Err(Fault::Unreadable) } else { self.shelf.bytes(table, key) }
    }

    fn scan(
        &self,
        table: TableId,
        range: crate::records::view::KeyRange<'_>,
        direction: Direction,
        visit: &mut crate::records::view::Visit<'_>,
    ) -> Result<(), Fault> {
        if table == self.table && self.row.is_none() {
            Err(Fault::Unreadable)
        } else {
            self.shelf.scan(table, range, direction, visit)
        }
    }
}

#[test]
fn what_cannot_be_read_twice_is_a_finding_and_the_walk_goes_on_with_the_next_table() {
    let ground = ground();
    let torn = Torn { shelf: &ground.town.shelf, table: TableId::TokensByKind, row: None };
    let mut walk = Walk::new(false);
    let mut failed = 0;
    let report = loop {
        match walk.step(&torn, &ground.town.keyring) {
            Ok(None) => {}
            Ok(Some(report)) => break report,
            Err(fault) => {
                assert_eq!(fault, Fault::Unreadable);
                failed += 1;
                assert!(failed <= 2, "it tries the same place for ever");
            }
        }
    };
    let found: Vec<_> = report.findings.iter().map(|finding| (finding.table, &finding.wrong)).collect();
    // Tokens are held against that index, and the index against tokens.
    let expected = [(TableId::Tokens, &Wrong::Unreadable), (TableId::TokensByKind, &Wrong::Unreadable)];
    assert_eq!((found.as_slice(), report.found, failed), (expected.as_slice(), 2, 2));
    assert_eq!(report.entries, 3, "what lies behind was looked at");
    assert!(report.findings.iter().all(|finding| finding.advice().contains("bearerd restore")));
}

#[test]
fn what_can_be_read_the_second_time_is_no_finding() {
    let ground = ground();
    let mut walk = Walk::new(false);
    for table in [TableId::Users, TableId::Tokens, TableId::Audit] {
        while TableId::ALL[walk.table] != table {
            assert!(walk.step(&ground.town.shelf, &ground.town.keyring).unwrap().is_none());
        }
        let torn = Torn { shelf: &ground.town.shelf, table, row: None };
        walk.step(&torn, &ground.town.keyring).unwrap_err();
    }
    let report = loop {
        if let Some(report) = walk.step(&ground.town.shelf, &ground.town.keyring).unwrap() {
            break report;
        }
    };
    assert_eq!(report.findings, []);
}

#[test]
fn a_head_of_the_log_that_cannot_be_read_is_not_missing() {
    let ground = ground();
    let row = Some(b"audit_head".as_slice());
    let torn = Torn { shelf: &ground.town.shelf, table: TableId::Meta, row };
    let mut walk = Walk::new(false);
    assert_eq!(walk.step(&torn, &ground.town.keyring).unwrap_err(), Fault::Unreadable);
    assert!(walk.step(&torn, &ground.town.keyring).unwrap().is_none());
    assert_eq!(walk.report.findings[0].wrong, Wrong::Unreadable);
}

/// Over one view there is nothing to try again: the engine reads nothing any more, and all would be missing.
#[test]
fn a_walk_over_one_view_never_goes_on_behind_what_cannot_be_read() {
    let ground = ground();
    let torn = Torn { shelf: &ground.town.shelf, table: TableId::Users, row: None };
    let mut walk = Walk::new(true);
    while TableId::ALL[walk.table] != TableId::Users {
        walk.step(&torn, &ground.town.keyring).unwrap();
    }
    for _ in 0..3 {
        assert_eq!(walk.step(&torn, &ground.town.keyring).unwrap_err(), Fault::Unreadable);
    }
    assert_eq!(walk.report.found, 0);
}
