//! Why a login fails, and how many failed ones there may be: arithmetic on a bucket, without a clock and
//! without a table.
//!
//! A bucket holds a minute's worth of failures, and drains evenly: all of them are one number, the moment at
//! which it will be empty. Attempts that are still being judged count as if they were to fail, so that many at
//! once cannot slip through together; but nobody is refused for what may yet turn out good.

use super::Reason;

/// Why somebody who gave an e-mail and a password is not let in. Outside, all of these are one answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failed {
    /// Nobody has that e-mail.
    UnknownEmail,
    /// The user has no password to log in with.
    NoPassword,
    /// The user is deactivated.
    Inactive,
    /// It is another password.
    WrongPassword,
}

impl Failed {
    /// The word in the audit log.
    pub const fn name(self) -> &'static str {
        match self {
            Self::UnknownEmail => "unknown_email",
            Self::NoPassword => "no_password",
            Self::Inactive => "inactive",
            Self::WrongPassword => "wrong_password",
        }
    }

    /// The same among the reasons why credentials do not count.
    pub const fn reason(self) -> Reason {
        match self {
            Self::UnknownEmail | Self::NoPassword => Reason::Unknown,
            Self::Inactive => Reason::OwnerInactive,
            Self::WrongPassword => Reason::Hash,
        }
    }
}

/// A minute, in microseconds: the unit of every moment here, counted from wherever the caller likes.
const MINUTE_MICROS: u64 = 60_000_000;

/// The failures of one pair of address and e-mail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bucket {
    empty_at: u64,
    judging: u32,
}

/// Why an attempt cannot be judged now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoRoom {
    /// The bucket is full of failures.
    Full {
        /// When there will be room for one, in seconds, rounded up.
        after_seconds: u64,
    },
    /// It is full if those that are being judged fail.
    Undecided,
}

impl Bucket {
    /// Lets one more attempt be judged, if there is room among `per_minute`. 0 is no limit.
    pub fn begin(&mut self, per_minute: u32, now_micros: u64) -> Result<(), NoRoom> {
        let Some(share) = share(per_minute) else { return Ok(()) };
        // What the shares lose by being whole microseconds must not cost the last attempt its room.
        let full_at = now_micros.saturating_add(share.saturating_mul(per_minute.into()));
        let failed_too = self.empty_at.max(now_micros).saturating_add(share);
        if failed_too > full_at {
            let after = failed_too.saturating_sub(full_at).div_ceil(1_000_000);
            return Err(NoRoom::Full { after_seconds: after.max(1) });
        }
        if failed_too.saturating_add(share.saturating_mul(self.judging.into())) > full_at {
            return Err(NoRoom::Undecided);
        }
        self.judging = self.judging.saturating_add(1);
        Ok(())
    }

    /// An attempt was judged.
    pub fn end(&mut self, per_minute: u32, now_micros: u64, outcome: Outcome) {
        self.judging = self.judging.saturating_sub(1);
        if outcome == Outcome::Failed
            && let Some(share) = share(per_minute)
        {
            self.empty_at = self.empty_at.max(now_micros).saturating_add(share);
        }
    }

    /// Whether nothing is left in it.
    pub const fn is_empty(&self, now_micros: u64) -> bool {
        self.empty_at <= now_micros && self.judging == 0
    }
}

/// What became of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was good, or could not be judged.
    NoFailure,
    /// It was bad, or whoever made it did not wait for the answer.
    Failed,
}

/// How long one attempt takes to drain.
fn share(per_minute: u32) -> Option<u64> {
    MINUTE_MICROS.checked_div(per_minute.into()).map(|share| share.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000;

    fn fail(bucket: &mut Bucket, per_minute: u32, now: u64) -> Result<(), NoRoom> {
        bucket.begin(per_minute, now)?;
        bucket.end(per_minute, now, Outcome::Failed);
        Ok(())
    }

    #[test]
    fn the_one_past_the_limit_has_to_wait_for_one_share() {
        let mut bucket = Bucket::default();
        let now = 1_000 * SECOND;
        for _ in 0..3 {
            assert_eq!(fail(&mut bucket, 3, now), Ok(()));
        }
        let full = |after_seconds| Err(NoRoom::Full { after_seconds });
        assert_eq!(fail(&mut bucket, 3, now), full(20));
        assert_eq!(fail(&mut bucket, 3, now + 19 * SECOND), full(1));
        assert_eq!(fail(&mut bucket, 3, now + 20 * SECOND), Ok(()));
        assert_eq!(fail(&mut bucket, 3, now + 20 * SECOND), full(20));
    }

    #[test]
    fn what_was_good_leaves_no_trace() {
        let mut bucket = Bucket::default();
        for _ in 0..1_000 {
            assert_eq!(bucket.begin(1, 5), Ok(()));
            bucket.end(1, 5, Outcome::NoFailure);
        }
        assert!(bucket.is_empty(5));
    }

    #[test]
    fn while_those_before_are_judged_nobody_is_refused_and_nobody_slips_through() {
        let mut bucket = Bucket::default();
        assert_eq!([(); 2].map(|()| bucket.begin(2, 0)), [Ok(()), Ok(())]);
        assert_eq!(bucket.begin(2, 0), Err(NoRoom::Undecided));
        assert!(!bucket.is_empty(0));
        bucket.end(2, 0, Outcome::NoFailure);
        assert_eq!(bucket.begin(2, 0), Ok(()));
        bucket.end(2, 0, Outcome::Failed);
        assert_eq!(bucket.begin(2, 0), Err(NoRoom::Undecided));
        bucket.end(2, 0, Outcome::Failed);
        assert_eq!(bucket.begin(2, 0), Err(NoRoom::Full { after_seconds: 30 }));
    }

    #[test]
    fn every_limit_lets_exactly_that_many_through_at_once_and_0_all() {
        for per_minute in [1, 2, 3, 7, 10, 59, 61, 1_000, 999_999, 1_000_000] {
            let mut bucket = Bucket::default();
            let through = (0..=per_minute).filter(|_| bucket.begin(per_minute, 0).is_ok()).count();
            assert_eq!(through, usize::try_from(per_minute).unwrap());
        }
        let mut bucket = Bucket::default();
        assert!((0..100).all(|_| bucket.begin(0, 0).is_ok()));
    }

    #[test]
    fn a_bucket_drains_in_a_minute_and_holds_no_more_for_having_waited() {
        let mut bucket = Bucket::default();
        for _ in 0..10 {
            fail(&mut bucket, 10, 0).unwrap();
        }
        assert!(!bucket.is_empty(59 * SECOND));
        assert!(bucket.is_empty(60 * SECOND));
        let later = 86_400 * SECOND;
        let through = (0..20).filter(|_| fail(&mut bucket, 10, later).is_ok()).count();
        assert_eq!(through, 10);
    }

    #[test]
    fn the_audit_log_has_a_word_for_each_failure() {
        let all = [Failed::UnknownEmail, Failed::NoPassword, Failed::Inactive, Failed::WrongPassword];
        assert_eq!(all.map(Failed::name), ["unknown_email", "no_password", "inactive", "wrong_password"]);
    }
}
