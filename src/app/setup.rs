//! Setup: the install token, and the first admin that it makes.

use core::net::IpAddr;

use super::{App, Failure, fresh, random};
use crate::{
    metrics::{Means, PresentedKind},
    records::{Action, By, meta::Setup, user::User},
    rules::{
        Conflict, Denied, Reason, Refusal,
        install::{self, FirstAdmin},
        limits,
        refusals::Refused,
        tokens::Minted,
        users,
    },
    token::{Secret, text},
};

/// What `POST /v1/setup` carries.
#[derive(Debug)]
pub struct SetupRequest {
    /// The install token.
    pub install_token: Secret,
    /// The admin's e-mail.
    pub email: String,
    /// The admin's password.
    pub password: Secret,
    /// The admin's name for people.
    pub name: Option<String>,
}

impl App {
    /// Whether setup is pending.
    pub fn setup_pending(&self) -> Result<bool, Failure> {
        self.look(|view, _| Ok(Setup::of(view)?.pending()))
    }

    /// Refuses where setup is complete; that counts as a refused setup, as it does in [`App::set_up`].
    pub fn refuse_complete_setup(&self, ip: Option<IpAddr>) -> Result<(), Failure> {
        self.look(|view, _| install::refuse_complete(view))
            .map_err(|failure| self.setup_refused(PresentedKind::Install, failure, ip))
    }

    /// Makes the first admin. The install token is seen to be good before the password is hashed, and
    /// looked at again in the transaction that spends it.
    pub async fn set_up(&self, ip: Option<IpAddr>, request: SetupRequest) -> Result<(User, Minted), Failure> {
        let presented = text::parse(request.install_token.expose()).ok();
        let kind = presented.map_or(PresentedKind::Other, |token| PresentedKind::of(token.kind));
        self.look(|view, _| install::accepts(view, presented.as_ref()))
            .map_err(|failure| self.setup_refused(kind, failure, ip))?;
        let presented = presented.ok_or(Denied::of(Reason::Malformed))?;
        let email = limits::email("email", &request.email)?;
        let name = request.name.map(|name| limits::name("name", &name)).transpose()?;
        limits::password("password", request.password.expose())?;
        users::refuse_reserved("email", &email)?;
        let admin = FirstAdmin {
            presented,
            email,
            name,
            password: self.passwords.hash(request.password).await?,
            fresh_user: random()?,
            fresh_session: fresh()?,
        };
        let made = self.change_own(move |txn, terms| install::complete(txn, terms, ip, admin)).await;
        made.map_err(|failure| self.setup_refused(kind, failure, ip)).inspect(|_| self.judged(kind, None))
    }

    /// Counts a refusal for the audit log and the metrics, and tells the log why.
    fn setup_refused(&self, kind: PresentedKind, failure: Failure, ip: Option<IpAddr>) -> Failure {
        match failure {
            Failure::Refused(Refusal::Denied(denied)) => {
                self.judged(kind, Some(denied.reason));
                self.note_refusal(Refused::new(Action::SetupRefused, ip, denied.reason.name()));
                self.count_failed(Means::InstallToken, self.refused(denied, ip))
            }
            Failure::Refused(Refusal::Conflict(Conflict::SetupComplete)) => {
                self.note_refusal(Refused::new(Action::SetupRefused, ip, "setup_complete"));
                failure
            }
            other => other,
        }
    }

    /// Mints an install token; see [`install::mint`].
    pub async fn mint_install_token(&self, by: By, force: bool) -> Result<Minted, Failure> {
        let fresh = fresh()?;
        self.change_own(move |txn, terms| install::mint(txn, terms, &by, force, &fresh)).await
    }

    /// Whether an install token should be minted at start.
    pub fn wants_install_token(&self) -> Result<bool, Failure> {
        self.look(|view, _| install::wants_token(view))
    }
}
