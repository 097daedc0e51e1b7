//! Logging in, and sessions.

use core::net::IpAddr;

use super::{App, Failure, fresh};
use crate::{
    metrics::Means,
    records::{
        Action, Listed, Page,
        user::{PasswordHash, User},
    },
    rules::{
        Denied, Reason, Refusal,
        access::Authorized,
        logins::Failed,
        refusals::Refused,
        sessions::{self, Login},
        tokens::{self, Minted, Row},
    },
    token::{Kind, Secret, TokenId, UserId},
};

impl App {
    /// Opens a session for whoever knows the password. An e-mail that nobody has, a wrong password and a
    /// user who may not log in are one answer after the same work.
    pub async fn log_in(
        &self,
        ip: Option<IpAddr>,
        email: &str,
        password: Secret,
    ) -> Result<(User, Minted), Failure> {
        let user = self.look(|view, _| Ok(User::by_email(view, email)?))?;
        let judged = match &user {
            None => Err(Failed::UnknownEmail),
            Some(user) if !user.active => Err(Failed::Inactive),
            Some(user) => user.password.clone().ok_or(Failed::NoPassword),
        };
        let hash = self.password_holds(ip, email, password, judged).await?;
        let user = user.map(|user| user.id).ok_or(Denied::of(Reason::Unknown))?;
        let login = Login { user, password: hash, ip, fresh: fresh()? };
        self.change_own(move |txn, terms| sessions::log_in(txn, terms, &login)).await
    }

    /// Holds a password against a hash, or does the same work where there is a reason not to, within the
    /// limit of failures. The hash, if the password is right.
    pub(super) async fn password_holds(
        &self,
        ip: Option<IpAddr>,
        email: &str,
        password: Secret,
        judged: Result<PasswordHash, Failed>,
    ) -> Result<PasswordHash, Failure> {
        let per_minute = self.snapshot().settings.limits.failed_logins_per_minute;
        let attempt = self.logins.begin(per_minute, ip, email).await.map_err(|too_many| {
            self.note_refusal(Refused::new(Action::LoginRefused, ip, "rate_limited"));
            Failure::Refused(Refusal::RateLimited { after_seconds: too_many.after_seconds })
        })?;
        let outcome = match self.passwords.verify(password, judged.clone().ok()).await {
            Ok(holds) => judged.and_then(|hash| if holds { Ok(hash) } else { Err(Failed::WrongPassword) }),
            Err(failure) => {
                attempt.no_failure();
                return Err(failure);
            }
        };
        match outcome {
            Ok(hash) => {
                attempt.no_failure();
                Ok(hash)
            }
            Err(failed) => {
                self.metrics().failed(Means::Password);
                self.note_refusal(Refused::new(Action::LoginRefused, ip, failed.name()));
                Err(self.refused(Denied::of(failed.reason()), ip))
            }
        }
    }

    /// Opens a session of somebody; see [`sessions::open_for`].
    pub async fn open_session(
        &self,
        who: &Authorized,
        user: UserId,
        ttl_seconds: Option<u64>,
    ) -> Result<(User, Minted), Failure> {
        let fresh = fresh()?;
        self.change(who, move |txn, terms, who| {
            sessions::open_for(txn, terms, who, user, ttl_seconds, &fresh)
        })
        .await
    }

    /// One page of the caller's own sessions.
    pub fn own_sessions(&self, who: &Authorized, page: &Page) -> Result<Listed<Row>, Failure> {
        self.look(|view, now| Ok(tokens::own(view, who, Kind::Session, now, &|id| self.noted(id), page)?))
    }

    /// Ends the session that was presented.
    pub async fn end_current_session(&self, who: &Authorized) -> Result<(), Failure> {
        self.change(who, |txn, _, who| sessions::end_current(txn, who)).await
    }

    /// Ends a session.
    pub async fn end_session(&self, who: &Authorized, id: TokenId) -> Result<(), Failure> {
        self.change(who, move |txn, _, who| sessions::end(txn, who, id)).await
    }
}
