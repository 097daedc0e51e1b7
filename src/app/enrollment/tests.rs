//! Enrolment as the application does it: many hosts at once, and a store that fails.

mod faults;
mod race;

use serde_json::json;

use super::*;
use crate::{
    app::Snapshot,
    config::services::Services,
    records::{Record, Time, View, token::Token},
    rules::{
        access::{Caller, Right},
        hosts,
        verify::{self, Asking, Presented},
    },
    settings::{CredentialKind, Settings},
    store::{Store, tests::keyring},
    token::{HostId, Key, ServiceSecrets, text},
};

const CANARY: &str = "xq7Kz93-wVt81-Lm40p";

fn app(store: Store) -> Arc<App> {
    let secrets = ServiceSecrets::new(&[], Key::new([1; 32])).unwrap();
    let services = Services { secrets, status: std::collections::BTreeMap::new(), kept: Vec::new() };
    let (settings, keyring) = (Settings::default(), keyring("k1"));
    let origin = crate::app::reload::Origin::of_defaults();
    Arc::new(App::new(store, Snapshot::new(1, settings, keyring, services), origin))
}

async fn minted(app: &App) -> Result<Minted, Failure> {
    let operator = app.authorize(Right::Operate, Caller::local(0))?;
    let credentials = json!({ "password": CANARY }).as_object().cloned();
    app.mint_enrollment(&operator, &Wish { credentials, ..Wish::default() }).await
}

/// What host number `number` sends: a name and an attempt of its own.
fn request(token: &Secret, number: usize) -> EnrollRequest {
    EnrollRequest {
        token: token.duplicate(),
        attempt: Some(Secret::new(format!("attempt-of-host-number-{number:08}"))),
        statement: Statement {
            hostname: format!("host-{number}"),
            os: "linux".to_owned(),
            arch: "x86_64".to_owned(),
            ..Statement::default()
        },
    }
}

fn hosts_of(view: &dyn View) -> Vec<HostId> {
    let mut found = Vec::new();
    let mut page = Page { after: None, limit: 500 };
    loop {
        let listed = hosts::list(view, &page, &|_| None).unwrap();
        found.extend(listed.items.iter().map(|seen| seen.host.id));
        match listed.next {
            Some(next) => page.after = Some(next),
            None => return found,
        }
    }
}

/// The host that an agent token is good for.
#[track_caller]
fn host_behind(view: &dyn View, now: Time, agent: &Secret) -> Caller {
    let presented = Presented::Token(text::parse(agent.expose()).unwrap());
    let asking = Asking { now, from: None, kinds: &[CredentialKind::Agent], noted: None };
    let good = verify::verify(view, &presented, &asking).unwrap();
    Caller { who: crate::rules::access::Who::Known(Box::new(good.identity)), ip: None }
}
