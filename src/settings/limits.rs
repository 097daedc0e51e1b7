//! How much is let in: sizes, spans and numbers, each with its bounds.
//!
//! The bounds keep a typing error from switching a protection off or the daemon's memory from going to
//! whoever connects; within them the operator decides.

/// The least and the most that a setting can be, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The least.
    pub min: u64,
    /// The most.
    pub max: u64,
}

impl Bounds {
    /// Both ends, included.
    pub const fn new(min: u64, max: u64) -> Self {
        Self { min, max }
    }

    /// Whether a value is within.
    pub const fn hold(self, value: u64) -> bool {
        self.min <= value && value <= self.max
    }
}

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

/// `limits.header_bytes`. The HTTP library's buffer cannot be smaller than 8 KiB.
pub const HEADER_BYTES: Bounds = Bounds::new(8 * KIB, MIB);
/// `limits.body_bytes`.
pub const BODY_BYTES: Bounds = Bounds::new(KIB, 16 * MIB);
/// `limits.batch_body_bytes`.
pub const BATCH_BODY_BYTES: Bounds = Bounds::new(KIB, 16 * MIB);
/// `limits.header_seconds`.
pub const HEADER_SECONDS: Bounds = Bounds::new(1, 300);
/// `limits.request_seconds`.
pub const REQUEST_SECONDS: Bounds = Bounds::new(1, 3_600);
/// `limits.stall_seconds`.
pub const STALL_SECONDS: Bounds = Bounds::new(1, 3_600);
/// `limits.connections`.
pub const CONNECTIONS: Bounds = Bounds::new(1, 1_000_000);
/// `limits.failed_logins_per_minute`; 0 turns the limit off.
pub const FAILED_LOGINS_PER_MINUTE: Bounds = Bounds::new(0, 1_000_000);
/// `limits.writer_queue`.
pub const WRITER_QUEUE: Bounds = Bounds::new(1, 65_536);
/// `limits.password_hashes`; each takes a core, and the memory of one argon2id run.
pub const PASSWORD_HASHES: Bounds = Bounds::new(1, 64);
/// `limits.password_queue`.
pub const PASSWORD_QUEUE: Bounds = Bounds::new(1, 10_000);

/// `[limits]`. What is over one gets its 4xx.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The head of a request, in bytes.
    pub header_bytes: usize,
    /// The body of a request, in bytes.
    pub body_bytes: usize,
    /// The body of a batch introspection, in bytes.
    pub batch_body_bytes: usize,
    /// How long a client may take to send the head, in seconds.
    pub header_seconds: u64,
    /// How long a whole request may take, in seconds.
    pub request_seconds: u64,
    /// How long a stream over the admin socket (backup, export) may stand still, in seconds.
    pub stall_seconds: u64,
    /// Connections open at once, over all listeners.
    pub connections: usize,
    /// Failed logins for each pair of address and e-mail in a minute; 0: no limit.
    pub failed_logins_per_minute: u32,
    /// Operations waiting for the writer.
    pub writer_queue: usize,
    /// Passwords being hashed at once.
    pub password_hashes: usize,
    /// Passwords waiting to be hashed.
    pub password_queue: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            header_bytes: 16 * 1024,
            body_bytes: 64 * 1024,
            batch_body_bytes: 256 * 1024,
            header_seconds: 5,
            request_seconds: 15,
            stall_seconds: 30,
            connections: 10_240,
            failed_logins_per_minute: 10,
            writer_queue: 1_024,
            password_hashes: 2,
            password_queue: 32,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_hold_at_their_ends_and_not_one_past_them() {
        let bounds = Bounds::new(2, 4);
        let held: Vec<u64> = (0..7).filter(|value| bounds.hold(*value)).collect();
        assert_eq!(held, [2, 3, 4]);
    }

    #[test]
    fn every_default_is_within_its_bounds() {
        let limits = Limits::default();
        let wide = |value: usize| u64::try_from(value).unwrap();
        assert!(HEADER_BYTES.hold(wide(limits.header_bytes)));
        assert!(BODY_BYTES.hold(wide(limits.body_bytes)));
        assert!(BATCH_BODY_BYTES.hold(wide(limits.batch_body_bytes)));
        assert!(HEADER_SECONDS.hold(limits.header_seconds));
        assert!(REQUEST_SECONDS.hold(limits.request_seconds));
        assert!(STALL_SECONDS.hold(limits.stall_seconds));
        assert!(CONNECTIONS.hold(wide(limits.connections)));
        assert!(FAILED_LOGINS_PER_MINUTE.hold(limits.failed_logins_per_minute.into()));
        assert!(WRITER_QUEUE.hold(wide(limits.writer_queue)));
        assert!(PASSWORD_HASHES.hold(wide(limits.password_hashes)));
        assert!(PASSWORD_QUEUE.hold(wide(limits.password_queue)));
    }
}
