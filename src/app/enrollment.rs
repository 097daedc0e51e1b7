//! Enrolment: tokens for hosts to be, and a host that comes with one.

use core::net::IpAddr;
use std::sync::Arc;

use super::{App, Failure, fresh, random};
use crate::{
    metrics::{Means, PresentedKind},
    records::{Action, Listed, Page},
    rules::{
        Reason, Refusal,
        access::Authorized,
        enrollment::{self, Enrolled, FreshHost, Joining, Proof, Standing, Statement, Wanted, Wish},
        refusals::Refused,
        tokens::{Minted, Row},
    },
    token::{Secret, TokenId},
};

#[cfg(test)]
mod tests;

/// What `POST /v1/enroll` carries.
#[derive(Debug)]
pub struct EnrollRequest {
    /// The enrolment token: the request's credential.
    pub token: Secret,
    /// The host's own randomness, with which it may ask for a lost reply again.
    pub attempt: Option<Secret>,
    /// What it says of itself.
    pub statement: Statement,
}

impl App {
    /// Mints an enrolment token.
    pub async fn mint_enrollment(&self, who: &Authorized, wish: &Wish) -> Result<Minted, Failure> {
        let wanted = Wanted::new(wish)?;
        let (fresh, nonce) = (fresh()?, random()?);
        self.change(who, move |txn, terms, who| {
            enrollment::mint(txn, terms, &who.by(), wanted, &fresh, nonce)
        })
        .await
    }

    /// One page of the enrolments.
    pub fn enrollments(&self, page: &Page) -> Result<Listed<Row>, Failure> {
        self.look(|view, now| enrollment::list(view, now, page))
    }

    /// Ends an enrolment.
    pub async fn revoke_enrollment(&self, who: &Authorized, id: TokenId) -> Result<(), Failure> {
        self.change(who, move |txn, _, who| enrollment::revoke(txn, &who.by(), id)).await
    }

    /// Enrols a host. The token is judged over the read view first, so that whoever has none keeps the
    /// writer from nothing; and once more at the writer's turn, which alone decides.
    pub async fn enroll(&self, ip: Option<IpAddr>, request: EnrollRequest) -> Result<Enrolled, Failure> {
        let proof = Proof::new(request.token, request.attempt, &request.statement.hostname);
        let kind = proof.kind().map_or(PresentedKind::Other, PresentedKind::of);
        let judged = self.look(|view, now| enrollment::judge(view, &proof, now, &|token| self.noted(token)));
        let standing = judged.map_err(|failure| self.enrolment_refused(kind, failure, ip))?;
        let joining = Joining::new(request.statement, &proof)?;
        if let Standing::Again(enrolled) = standing {
            tracing::info!(host = %enrolled.host, ip = ip.map(tracing::field::display), "reply told again");
            self.judged(kind, None);
            return Ok(enrolled);
        }
        let fresh = FreshHost { host: random()?, agent: fresh()?, credentials: random()?, reply: random()? };
        let last_used = Arc::clone(&self.last_used);
        let redeemed = self.change_own(move |txn, terms| {
            let noted = |token| super::noted(&last_used, token);
            enrollment::redeem(txn, terms, ip, &proof, joining, &noted, &fresh)
        });
        let redeemed = redeemed.await.map_err(|failure| self.enrolment_refused(kind, failure, ip));
        redeemed.inspect(|_| self.judged(kind, None))
    }

    /// Counts a refusal for the audit log and the metrics, and tells the log why. Of a token that was consumed and
    /// comes again from somebody else, the entry names the token and where it was redeemed.
    fn enrolment_refused(&self, kind: PresentedKind, failure: Failure, ip: Option<IpAddr>) -> Failure {
        match failure {
            Failure::Refused(Refusal::Denied(denied)) => {
                self.judged(kind, Some(denied.reason));
                let reason = denied.reason.name();
                self.note_refusal(match denied.token.filter(|_| denied.reason == Reason::Replayed) {
                    Some(token) => Refused {
                        token: Some(token),
                        first_ip: self
                            .look(|view, _| Ok(enrollment::redeemed_from(view, token)?))
                            .ok()
                            .flatten(),
                        ..Refused::new(Action::EnrollmentReplayed, ip, reason)
                    },
                    None => Refused::new(Action::EnrollmentRefused, ip, reason),
                });
                self.count_failed(Means::Enrollment, self.refused(denied, ip))
            }
            Failure::Refused(Refusal::Conflict(conflict)) => {
                self.note_refusal(Refused::new(Action::EnrollmentRefused, ip, "host_exists"));
                Failure::Refused(Refusal::Conflict(conflict))
            }
            other => other,
        }
    }
}
