//! Every kind of change that there is, over a store that fails or loses its power at each deed: afterwards all
//! of it has happened or nothing, whoever was told that it has finds it so, and the whole store is in order.

mod changes;
mod faults;
mod ground;
mod power;

use std::collections::BTreeSet;

use self::{
    changes::CHANGES,
    ground::{Ground, World},
};
use crate::records::Action;

/// How many points a test looks at: what the variable says, or `usual`.
fn wanted(variable: &str, usual: usize) -> usize {
    std::env::var(variable).map_or(usual, |number| number.parse().unwrap())
}

/// A kind of change is either in the table or here, with the reason.
const ELSEWHERE: &[(Action, &str)] = &[
    (Action::StoreCreate, "a new store has its name only when it is whole: `store::tests::power`"),
    (
        Action::StoreRestore,
        "written into a copy that has no name yet: `store::tests::copies`, `tests/restore.rs`",
    ),
    (Action::StoreCarryOver, "the same"),
];

#[test]
fn every_action_of_the_audit_log_is_a_change_of_the_table_or_named_with_its_reason() {
    let ground = Ground::new();
    let mut left: BTreeSet<&str> = Action::ALL.iter().map(|action| action.name()).collect();
    for (action, _) in ELSEWHERE {
        assert!(left.remove(action.name()));
    }
    let mut covered = BTreeSet::new();
    for change in CHANGES {
        let world = World::over(&ground, change.image);
        let before = world.signature();
        assert!(world.run(change).is_ok(), "{}", change.name);
        let after = world.signature();
        assert_ne!(before, after, "{}: nothing has changed", change.name);
        covered.extend(after.actions_since(&before));
        world.is_in_order(change.name);
    }
    for action in &covered {
        left.remove(action.as_str());
    }
    assert!(left.is_empty(), "in no change of the table: {left:?}");
}
