//! The portal as whoever holds a link sees it: links followed, sessions looked at.

use core::net::IpAddr;

use super::{App, Failure};
use crate::{
    metrics::{Means, PresentedKind},
    records::{Time, View},
    rules::{
        Denied, Reason, Refusal,
        access::Subject,
        portal::{self, Door, Followed},
        verify::COOKIE_SECONDS_MAX,
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
        let followed = Followed::parse(text.expose());
        let kind = followed.as_ref().map_or(PresentedKind::Other, kind_of);
        let followed = followed.map_err(|denied| self.shut(kind, denied.into(), ip))?;
        let door = self.look(|view, now| portal::find(view, &followed, now));
        let door = door.map_err(|failure| self.shut(kind, failure, ip))?;
        match visit {
            Visit::Look | Visit::Open if door.single_use => Ok(Entrance::Button { client: door.client.name }),
            Visit::Look => Ok(Entrance::Leads { redirect: door.redirect }),
            Visit::Open | Visit::Press => {
                let admitted = self.admit(followed, door, ip).await;
                admitted.map_err(|failure| self.shut(kind, failure, ip)).inspect(|_| self.judged(kind, None))
            }
        }
    }

    async fn admit(&self, followed: Followed, door: Door, ip: Option<IpAddr>) -> Result<Entrance, Failure> {
        let now = self.now();
        let (door, cookie) = if door.single_use {
            self.change_own(move |txn, terms| portal::redeem(txn, terms, &followed, ip)).await?
        } else {
            let sign = |view: &dyn View| portal::sign(view, self.snapshot().terms(), &door.link, now);
            let cookie = self.store().look(sign)?;
            (door, cookie)
        };
        self.last_used.note(door.link.id, now, ip);
        let left = door.link.expires_at.map_or(COOKIE_SECONDS_MAX, |end| end.since(now));
        Ok(Entrance::Admitted { redirect: door.redirect, cookie, seconds: left.min(COOKIE_SECONDS_MAX) })
    }

    /// Tells log and metrics of a link that did not admit what the answer will not.
    fn shut(&self, kind: PresentedKind, failure: Failure, ip: Option<IpAddr>) -> Failure {
        match failure {
            Failure::Refused(Refusal::Denied(denied)) => {
                self.judged(kind, Some(denied.reason));
                self.count_failed(Means::Link, self.refused(denied, ip))
            }
            other => other,
        }
    }

    /// The portal session that a cookie stands for. Link and client are looked at each time.
    pub async fn portal_session(
        &self,
        cookie: Result<&str, Denied>,
        ip: Option<IpAddr>,
    ) -> Result<PortalSession, Failure> {
        match cookie {
            Ok(text) => {
                let session = self.session_of(text, ip).await;
                session.map_err(|failure| self.count_failed(Means::Cookie, failure))
            }
            // Nobody tried anything.
            Err(denied) if denied.reason == Reason::Absent => Err(denied.into()),
            Err(denied) => Err(self.refuse_cookie(denied, ip)),
        }
    }

    async fn session_of(&self, cookie: &str, ip: Option<IpAddr>) -> Result<PortalSession, Failure> {
        let presented = self.cookie(cookie, &self.snapshot(), ip)?;
        let good = self.verify(&presented, ip, &[CredentialKind::Portal], None).await?.identity;
        match (good.subject, good.token) {
            (Subject::Client(client), Some(link)) => Ok(PortalSession {
                client: client.id,
                slug: client.slug.clone(),
                name: client.name.clone(),
                link,
                expires_at: good.expires_at,
            }),
            (Subject::Client(_) | Subject::User(_) | Subject::Host(_), token) => {
                Err(Denied { reason: Reason::Kind, token }.into())
            }
        }
    }
}

/// What a followed text says it is.
const fn kind_of(followed: &Followed) -> PresentedKind {
    match followed {
        Followed::Ours(text) => PresentedKind::of(text.kind),
        Followed::Imported(_) => PresentedKind::Other,
    }
}
