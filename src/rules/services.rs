//! The users that services act as: made and brought up to date from the configuration, by nobody else.
//!
//! A service's user is `NAME@system.local`, without a password, in the groups that the configuration says.
//! It is a user like any other to those who read it; what leaves the configuration is deactivated and kept,
//! so that the audit log goes on naming somebody. Verification never writes any of this.

use core::ops::ControlFlow;

use super::{
    Refusal,
    users::{self, NewUser},
    verify::service_email,
};
use crate::{
    records::{Action, By, Fault, Params, Record, TableId, Txn, View, tables, user::User},
    token::{ServiceName, UserId},
};

/// What the configuration says of a service's user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configured {
    /// The service.
    pub name: ServiceName,
    /// The groups of its user, in any order.
    pub groups: Vec<String>,
    /// Random bytes for the user's id, should it have to be made.
    pub fresh: [u8; 10],
}

/// What was different from what the configuration says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Users that were made, changed or activated again.
    pub updated: Vec<ServiceName>,
    /// Users that were deactivated, by the name of their service.
    pub deactivated: Vec<String>,
    /// Services whose address somebody else has: they stay off until that is mended.
    pub taken: Vec<ServiceName>,
}

/// Makes the users of services what `configured` says, with an entry for each that was different.
pub fn bring_up_to_date(txn: &mut Txn<'_>, by: &By, configured: &[Configured]) -> Result<Outcome, Refusal> {
    let mut outcome = Outcome::default();
    for service in configured {
        let email = service_email(&service.name);
        match User::by_email(txn, &email)? {
            None => {
                make(txn, by, service, email)?;
                outcome.updated.push(service.name.clone());
            }
            Some(user) if user.service.as_deref() != Some(service.name.as_str()) => {
                outcome.taken.push(service.name.clone());
            }
            Some(user) => {
                if update(txn, by, service, &user)? {
                    outcome.updated.push(service.name.clone());
                }
            }
        }
    }
    for user in active(txn)? {
        let Some(name) = user.service.clone() else { continue };
        if !configured.iter().any(|service| service.name.as_str() == name) {
            txn.entry(by, Action::ServiceDeactivate, user.id, Params::none().with("service", name.clone()))?;
            let after = User { active: false, updated_at: txn.now(), ..user.clone() };
            users::put(txn, Some(&user), after)?;
            outcome.deactivated.push(name);
        }
    }
    Ok(outcome)
}

fn make(txn: &mut Txn<'_>, by: &By, service: &Configured, email: String) -> Result<(), Refusal> {
    let id = UserId::from_parts(txn.now_ms(), txn.in_turn(service.fresh));
    let groups = sorted(&service.groups);
    let params = said(service, &groups).with("made", true);
    txn.entry(by, Action::ServiceUpdate, id, params)?;
    let name = service.name.as_str().to_owned();
    users::insert(txn, id, NewUser { email, name: None, groups, password: None, service: Some(name) })?;
    Ok(())
}

/// Whether anything was different.
fn update(txn: &mut Txn<'_>, by: &By, service: &Configured, user: &User) -> Result<bool, Refusal> {
    let groups = sorted(&service.groups);
    if user.active && user.groups == groups {
        return Ok(false);
    }
    txn.entry(by, Action::ServiceUpdate, user.id, said(service, &groups))?;
    let after = User { groups, active: true, updated_at: txn.now(), ..user.clone() };
    users::put(txn, Some(user), after)?;
    Ok(true)
}

fn said(service: &Configured, groups: &[String]) -> Params {
    Params::none().with("service", service.name.as_str()).with("groups", groups.to_vec())
}

fn sorted(groups: &[String]) -> Vec<String> {
    let mut groups = groups.to_vec();
    groups.sort_unstable();
    groups.dedup();
    groups
}

/// The users of services that are active. The index only says where to look.
fn active(view: &dyn View) -> Result<Vec<User>, Fault> {
    let mut found = Vec::new();
    tables::each(view, TableId::ServiceUsers, &[], &mut |name, id| {
        let user = User::at(view, id)?;
        found.extend(user.filter(|user| {
            user.active && user.service.as_ref().is_some_and(|service| service.as_bytes() == name)
        }));
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::{Time, audit::Entry, shelf::Shelf};

    fn service(name: &str, groups: &[&str], fresh: u8) -> Configured {
        let groups = groups.iter().map(|group| (*group).to_owned()).collect();
        Configured { name: ServiceName::new(name).unwrap(), groups, fresh: [fresh; 10] }
    }

    fn apply(shelf: &mut Shelf, configured: &[Configured]) -> Outcome {
        shelf.change(1_000_000, |txn| bring_up_to_date(txn, &By::system(), configured)).unwrap()
    }

    fn user(shelf: &Shelf, name: &str) -> User {
        User::by_email(shelf, &format!("{name}@system.local")).unwrap().unwrap()
    }

    fn actions(shelf: &Shelf) -> Vec<String> {
        shelf.audit().into_iter().map(|entry: Entry| entry.action).collect()
    }

    #[test]
    fn a_configured_service_has_a_user_in_its_groups_and_without_a_password() {
        let mut shelf = Shelf::new();
        let outcome = apply(&mut shelf, &[service("scheduler", &["b", "admin", "b"], 1)]);
        assert_eq!(outcome.updated.len(), 1);
        let user = user(&shelf, "scheduler");
        assert_eq!((user.groups, user.active, user.password), (vec!["admin".into(), "b".into()], true, None));
        assert_eq!(user.service.as_deref(), Some("scheduler"));
        assert_eq!(actions(&shelf), ["service.update"]);
    }

    #[test]
    fn what_changes_nothing_has_no_entry() {
        let mut shelf = Shelf::new();
        apply(&mut shelf, &[service("one", &["x", "y"], 1)]);
        let again = apply(&mut shelf, &[service("one", &["y", "x"], 2)]);
        assert_eq!(again, Outcome::default());
        assert_eq!(actions(&shelf).len(), 1);
    }

    #[test]
    fn leaving_the_configuration_deactivates_and_coming_back_activates_the_same_user() {
        let mut shelf = Shelf::new();
        apply(&mut shelf, &[service("one", &["admin"], 1), service("two", &[], 2)]);
        let id = user(&shelf, "one").id;
        let outcome = apply(&mut shelf, &[service("two", &[], 3)]);
        assert_eq!(outcome.deactivated, ["one"]);
        assert!(!user(&shelf, "one").active && user(&shelf, "two").active);
        assert_eq!(apply(&mut shelf, &[service("two", &[], 4)]), Outcome::default());
        apply(&mut shelf, &[service("one", &["operator"], 5), service("two", &[], 6)]);
        let back = user(&shelf, "one");
        assert_eq!((back.id, back.active, back.groups), (id, true, vec!["operator".to_owned()]));
        assert_eq!(actions(&shelf)[2..], ["service.deactivate", "service.update"]);
    }

    #[test]
    fn an_address_that_somebody_else_has_is_left_alone() {
        let mut shelf = Shelf::new();
        apply(&mut shelf, &[service("one", &[], 1)]);
        let theirs = User { service: None, ..user(&shelf, "one") };
        shelf.place(&theirs);
        let outcome = apply(&mut shelf, &[service("one", &["admin"], 2)]);
        assert_eq!(outcome.taken.len(), 1);
        assert_eq!(user(&shelf, "one").groups, [""; 0]);
    }

    #[test]
    fn an_entry_says_which_service_and_which_groups_and_the_row_when() {
        let mut shelf = Shelf::new();
        apply(&mut shelf, &[service("one", &["x"], 1)]);
        let at = |shelf: &mut Shelf, seconds: u64, configured: &[Configured]| {
            let by = By::system();
            shelf.change(seconds * 1000, |txn| bring_up_to_date(txn, &by, configured)).unwrap();
            user(shelf, "one").updated_at
        };
        assert_eq!(at(&mut shelf, 2_000, &[service("one", &["y"], 2)]), Time::from_unix(2_000));
        assert_eq!(at(&mut shelf, 3_000, &[]), Time::from_unix(3_000));
        assert_eq!(
            at(&mut shelf, 4_000, &[service("one", &["y"], 3)]),
            Time::from_unix(4_000),
            "back, in the same groups"
        );
        let told: Vec<serde_json::Value> =
            shelf.audit().iter().map(|entry| serde_json::from_str(&entry.params).unwrap()).collect();
        assert_eq!(told[0], serde_json::json!({"service": "one", "groups": ["x"], "made": true}));
        assert_eq!(told[1], serde_json::json!({"service": "one", "groups": ["y"]}));
    }
}
