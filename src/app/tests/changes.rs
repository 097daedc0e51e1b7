//! The table of changes: one row for each kind of operation that writes.

#![allow(
    clippy::semicolon_if_nothing_returned,
    reason = "what an operation gives is dropped by the macro, whatever it is"
)]

use core::{future::Future, pin::Pin};

use serde_json::{Value, json};

use super::ground::{Image, World, first_admin, joining, password};
use crate::{
    app::{
        Failure,
        portal::Visit,
        reload::NotReloaded,
        users::{UserChange, UserRequest},
    },
    records::{Action, By, Time},
    rules::{
        access::Right,
        audit, clients,
        clients::NewClient,
        enrollment::Wish as EnrollmentWish,
        hosts,
        import::Line,
        inventory::Condition,
        links::NewLink,
        pats::{self, Spelled, Wish},
        projects::{ProjectName, Wanted},
        purge,
        refusals::Refused,
    },
    token::Kind,
};

type Outcome = Pin<Box<dyn Future<Output = Result<(), Failure>>>>;

/// A kind of change.
pub(super) struct Change {
    pub(super) name: &'static str,
    /// What it begins with.
    pub(super) image: Image,
    pub(super) act: fn(World) -> Outcome,
}

macro_rules! change {
    ($name:literal, $image:ident, |$world:ident| $act:expr) => {
        Change {
            name: $name,
            image: Image::$image,
            act: |$world| {
                Box::pin(async move {
                    $act;
                    Ok(())
                })
            },
        }
    };
}

fn wish() -> Wish {
    Wish { name: "n".to_owned(), ..Wish::default() }
}

fn to_user(change: impl FnOnce(&mut UserChange)) -> UserChange {
    let mut wanted = UserChange { name: None, groups: None, active: None, password: None };
    change(&mut wanted);
    wanted
}

fn object(value: &Value) -> serde_json::Map<String, Value> {
    value.as_object().unwrap().clone()
}

fn line() -> Line {
    let line = json!({"sha256": "ab".repeat(32), "kind": "agent", "owner": "old-host", "name": "old"});
    Line::read(object(&line), |_| Some(Time::from_unix(1))).unwrap()
}

fn project() -> ProjectName {
    ProjectName::parse("project-1").unwrap()
}

async fn reloaded(world: &World) -> Result<(), Failure> {
    match world.app.reload(By::system(), "test").await {
        Ok(_) => Ok(()),
        Err(NotReloaded::Failure(failure)) => Err(failure),
        Err(NotReloaded::Faults(faults)) => panic!("{faults:?}"),
    }
}

pub(super) const CHANGES: &[Change] = &[
    change!("mint an install token", Reopened, |w| w.app.mint_install_token(By::local(0), false).await?),
    change!("open setup once more", Complete, |w| w.app.mint_install_token(By::local(0), true).await?),
    change!("make the first admin", Reopened, |w| {
        w.app.set_up(None, first_admin(w.ground.install.duplicate())).await?
    }),
    change!("make a user", Complete, |w| {
        let request = UserRequest {
            email: "x@example.org".into(),
            name: None,
            password: None,
            groups: vec!["admin".into()],
        };
        w.app.create_user(&w.root(Right::Administrate)?, request).await?
    }),
    change!("change a user", Complete, |w| {
        let change = to_user(|user| user.groups = Some(vec!["admin".into()]));
        w.app.update_user(&w.root(Right::Administrate)?, w.ground.anna, change).await?
    }),
    change!("deactivate a user", Complete, |w| {
        let change = to_user(|user| user.active = Some(false));
        w.app.update_user(&w.root(Right::Administrate)?, w.ground.anna, change).await?
    }),
    change!("activate a user again", Complete, |w| {
        let change = to_user(|user| user.active = Some(true));
        w.app.update_user(&w.root(Right::Administrate)?, w.ground.bert, change).await?
    }),
    change!("set a password", Complete, |w| {
        let change = to_user(|user| user.password = Some(password()));
        w.app.update_user(&w.root(Right::Administrate)?, w.ground.bert, change).await?
    }),
    change!("log in", Complete, |w| w.app.log_in(None, "anna@example.org", password()).await?),
    change!("open a session", Complete, |w| {
        w.app.open_session(&w.root(Right::MintForOthers)?, w.ground.anna, None).await?
    }),
    change!("end a session", Complete, |w| {
        w.app.end_current_session(&w.by(&w.ground.session.secret, Right::OwnTokens).await?).await?
    }),
    change!("mint a token", Complete, |w| {
        w.app.mint_pat(&w.by(&w.ground.session.secret, Right::ChangeOwn).await?, wish()).await?
    }),
    change!("mint a JWT", Complete, |w| {
        let wish = Wish { spelled: Spelled::Jwt, ..wish() };
        w.app.mint_pat_for(&w.root(Right::MintForOthers)?, w.ground.anna, wish).await?
    }),
    change!("switch a token off", Complete, |w| {
        let change = pats::Change { enabled: Some(false), ..pats::Change::default() };
        w.app.update_pat(&w.root(Right::ChangeOwn)?, w.ground.pat.token.id, change).await?
    }),
    change!("rotate a token", Complete, |w| {
        w.app.rotate_pat(&w.root(Right::ChangeOwn)?, w.ground.pat.token.id, Some(60)).await?
    }),
    change!("revoke one's own token", Complete, |w| {
        let who = w.by(&w.ground.session.secret, Right::OwnTokens).await?;
        w.app.revoke_pat(&who, w.ground.pat.token.id).await?
    }),
    change!("revoke anybody's token", Complete, |w| {
        w.app.revoke_any(&w.root(Right::Administrate)?, w.ground.pat.token.id).await?
    }),
    change!("revoke many tokens", Complete, |w| {
        let condition = Condition { kind: Some(Kind::Pat), ..Condition::default() };
        w.app.revoke_many(&w.root(Right::Administrate)?, condition, false).await?
    }),
    change!("revoke a token by presenting it", Complete, |w| {
        w.app.revoke_presented(&w.root(Right::Open)?, &w.ground.pat.secret).await?
    }),
    change!("use a counted token", Complete, |w| {
        w.app.identify(&w.app.snapshot(), w.ground.counted.secret.expose(), Right::Open, None).await?
    }),
    change!("bring last uses to the disk", Complete, |w| {
        w.app.identify(&w.app.snapshot(), w.ground.pat.secret.expose(), Right::Open, None).await?;
        w.app.flush_last_use().await?
    }),
    change!("bring refusals to the disk", Complete, |w| {
        for action in [
            Action::SetupRefused,
            Action::LoginRefused,
            Action::EnrollmentRefused,
            Action::EnrollmentReplayed,
        ] {
            w.app.note_refusal(Refused::new(action, None, "unknown"));
        }
        w.app.flush_refusals().await?
    }),
    change!("mint an enrolment", Complete, |w| {
        let credentials = Some(object(&json!({"a": "b"})));
        let wish = EnrollmentWish { credentials, ..EnrollmentWish::default() };
        w.app.mint_enrollment(&w.root(Right::Operate)?, &wish).await?
    }),
    change!("revoke an enrolment", Complete, |w| {
        w.app.revoke_enrollment(&w.root(Right::Operate)?, w.ground.enrollment.token.id).await?
    }),
    change!("enrol a host", Complete, |w| {
        w.app.enroll(None, joining(w.ground.enrollment.secret.duplicate(), "web-2")).await?
    }),
    change!("change a host", Complete, |w| {
        let change = hosts::Change { tags: Some(vec!["a".into()]), facts: None };
        w.app.update_host(&w.root(Right::Operate)?, w.ground.host, change).await?
    }),
    change!("rotate a host's token", Complete, |w| {
        w.app.rotate_agent(&w.root(Right::Operate)?, w.ground.host, None).await?
    }),
    change!("delete a host", Complete, |w| w
        .app
        .delete_host(&w.root(Right::Operate)?, w.ground.host)
        .await?),
    change!("put a host's credentials", Complete, |w| {
        w.app.put_credentials(&w.root(Right::Operate)?, w.ground.host, &object(&json!({"c": "d"}))).await?
    }),
    change!("read a host's credentials", Complete, |w| {
        w.app.read_credentials(&w.by(&w.ground.agent, Right::OwnHost).await?, w.ground.host).await?
    }),
    change!("make a client", Complete, |w| {
        w.app.create_client(&w.root(Right::Operate)?, NewClient::judge("c", "C").unwrap()).await?
    }),
    change!("change a client", Complete, |w| {
        let change = clients::Change::judge(Some("Acme"), None).unwrap();
        w.app.update_client(&w.root(Right::Operate)?, w.ground.client, change).await?
    }),
    change!("deactivate a client", Complete, |w| {
        let change = clients::Change::judge(None, Some(false)).unwrap();
        w.app.update_client(&w.root(Right::Operate)?, w.ground.client, change).await?
    }),
    change!("activate a client again", Complete, |w| {
        let change = clients::Change::judge(None, Some(true)).unwrap();
        w.app.update_client(&w.root(Right::Operate)?, w.ground.inactive_client, change).await?
    }),
    change!("mint a link", Complete, |w| {
        let new = NewLink::judge(None, Some(1), None, false).unwrap();
        w.app.mint_link(&w.root(Right::Operate)?, w.ground.client, new).await?
    }),
    change!("revoke a link", Complete, |w| {
        w.app.revoke_link(&w.root(Right::Operate)?, w.ground.link.token.id).await?
    }),
    change!("redeem a link", Complete, |w| {
        w.app.follow_link(&w.ground.single_use.secret, Visit::Press, None).await?
    }),
    change!("give a project a client", Complete, |w| {
        w.app.assign_project(&w.root(Right::Operate)?, project(), w.ground.client).await?
    }),
    change!("preview a project", Complete, |w| {
        w.app.preview(&w.root(Right::Operate)?, project(), Wanted::judge(None, None).unwrap()).await?
    }),
    change!("import a token", Complete, |w| {
        w.app.import(&w.root(Right::Administrate)?, vec![line()], false).await?
    }),
    change!("remove what is long dead", Complete, |w| {
        let ids = w
            .app
            .look(|view, now| Ok(purge::candidates(view, &w.app.snapshot().settings, now, None)?.items))?;
        w.app.change_own(move |txn, terms| purge::remove(txn, terms, &ids)).await?
    }),
    change!("cut the audit log", Complete, |w| w.app.change_own(audit::cut).await?),
    change!("seal again", Complete, |w| w.app.reseal(&w.root(Right::Administrate)?, None).await?),
    change!("reload", Complete, |w| reloaded(&w).await?),
    change!("reset the clock", Complete, |w| {
        w.set_back();
        w.app.reset_clock(&w.root(Right::Administrate)?).await?
    }),
    change!("take a backup", Complete, |w| w.app.backup(&w.root(Right::Administrate)?).await?),
];
