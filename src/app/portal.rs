//! The portal as whoever holds a link sees it: links followed, sessions looked at.

use core::net::IpAddr;

use super::{App, Failure};
use crate::{
    records::Time,
    rules::{
        Denied, Reason, Refusal,
        access::Subject,
        portal::{self, Door, Followed},
        verify::{COOKIE_SECONDS_MAX, Presented},
    },
    settings::CredentialKind,
    token::{ClientId, Secret, TokenId},
};

/// How a link is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Visit {
    /// Only looked at: nothing changes, and nothing is handed out.
    Look,
    /// Opened: a link for many uses admits, a single-use one asks first.
    Open,
    /// Opened, and the button was pressed: any link admits.
    Press,
}

/// What came of it.
#[derive(Debug)]
pub enum Entrance {
    /// A single-use link, as good as new: its holder has to press the button.
    Button {
        /// Whose portal it opens, for people.
        client: String,
    },
    /// A link for many uses that was only looked at.
    Leads {
        /// Where.
        redirect: String,
    },
    /// In.
    Admitted {
        /// Where to go.
        redirect: String,
        /// What to go there with.
        cookie: Secret,
        /// How long that counts, in seconds.
        seconds: u64,
    },
}

/// A portal session that counts.
#[derive(Clone, Debug)]
pub struct PortalSession {
    /// Which client's portal.
    pub client: ClientId,
    /// Its short name.
    pub slug: String,
    /// Its name for people.
    pub name: String,
    /// The link that it came by.
    pub link: TokenId,
    /// When it ends by itself.
    pub expires_at: Option<Time>,
}

impl App {
    /// Follows a link. Only the consumption of a single-use link waits for the disk; a link for many uses
    /// writes nothing but its last use, and that later.
    pub async fn follow_link(
        &self,
        text: &Secret,
        visit: Visit,
        ip: Option<IpAddr>,
    ) -> Result<Entrance, Failure> {
        let followed = Followed::parse(text.expose()).map_err(|denied| self.refused(denied, ip))?;
        let door = self
            .look(|view, now| portal::find(view, &followed, now))
            .map_err(|failure| self.told(failure, ip))?;
        match visit {
            Visit::Look | Visit::Open if door.single_use => Ok(Entrance::Button { client: door.client.name }),
            Visit::Look => Ok(Entrance::Leads { redirect: door.redirect }),
            Visit::Open | Visit::Press => self.admit(followed, door, ip).await,
        }
    }

    async fn admit(&self, followed: Followed, door: Door, ip: Option<IpAddr>) -> Result<Entrance, Failure> {
        let now = self.now();
        let (door, cookie) = if door.single_use {
            self.change_own(move |txn, terms| portal::redeem(txn, terms, &followed, ip))
                .await
                .map_err(|failure| self.told(failure, ip))?
        } else {
            let snapshot = self.snapshot();
            let cookie = portal::sign(&*self.view(), snapshot.terms(), &door.link, now)?;
            (door, cookie)
        };
        self.last_used.note(door.link.id, now, super::noted_address(ip));
        let left = door.link.expires_at.map_or(COOKIE_SECONDS_MAX, |end| end.since(now));
        Ok(Entrance::Admitted { redirect: door.redirect, cookie, seconds: left.min(COOKIE_SECONDS_MAX) })
    }

    /// The portal session that a cookie stands for. Link and client are looked at each time.
    pub async fn portal_session(
        &self,
        cookie: Result<&str, Denied>,
        ip: Option<IpAddr>,
    ) -> Result<PortalSession, Failure> {
        let snapshot = self.snapshot();
        let presented = cookie
            .and_then(|text| Presented::cookie(text, &snapshot.keyring, self.store().id()))
            .map_err(|denied| self.refused(denied, ip))?;
        let good = self.verify(&snapshot, presented, ip, &[CredentialKind::Portal]).await?;
        let wrong = || Denied { reason: Reason::Kind, token: good.identity.token };
        match (good.identity.subject.clone(), good.identity.token) {
            (Subject::Client { id, slug, name }, Some(link)) => {
                Ok(PortalSession { client: id, slug, name, link, expires_at: good.identity.expires_at })
            }
            (Subject::Client { .. } | Subject::User { .. } | Subject::Host { .. }, _) => {
                Err(self.refused(wrong(), ip))
            }
        }
    }

    /// Tells the log of a refusal what the answer will not.
    fn told(&self, failure: Failure, ip: Option<IpAddr>) -> Failure {
        match failure {
            Failure::Refused(Refusal::Denied(denied)) => self.refused(denied, ip),
            other => other,
        }
    }
}
