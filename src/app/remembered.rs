//! Credentials whose bytes were seen to be good: a service's secret, a JWT, a portal cookie.
//!
//! What their text says hangs on keys and secrets alone, so it is remembered with the snapshot that it was
//! read under and gone with it: a reload that drops a key or a secret brings an empty memory along. It is
//! found by the SHA-256 of the text, and says only what was presented; whether that counts is asked of the
//! store each time. Nothing that was refused is remembered, so guesses push nobody out.

use core::ops::Deref;
use std::sync::Arc;

use crate::{rules::verify::Presented, store::Sets, token::TokenHash};

/// Credentials that are remembered.
const REMEMBERED_MAX: usize = 8_192;

/// The memory of one snapshot.
#[derive(Debug)]
pub struct Remembered(Sets<Known>);

/// A credential that was read before.
#[derive(Debug)]
pub struct Known {
    hash: TokenHash,
    presented: Presented,
}

/// What a text presents: read just now, or remembered.
#[derive(Debug)]
pub enum Seen {
    /// Read just now.
    Fresh(Presented),
    /// Remembered.
    Known(Arc<Known>),
}

impl Deref for Seen {
    type Target = Presented;

    fn deref(&self) -> &Presented {
        match self {
            Self::Fresh(presented) => presented,
            Self::Known(known) => &known.presented,
        }
    }
}

impl Default for Remembered {
    fn default() -> Self {
        Self(Sets::new(REMEMBERED_MAX))
    }
}

impl Remembered {
    /// What the text of that hash presents, if it is remembered and `is_wanted`.
    pub fn find(&self, hash: &TokenHash, is_wanted: impl Fn(&Presented) -> bool) -> Option<Seen> {
        let is_it = |known: &Known| is_wanted(&known.presented) && known.hash.matches(hash);
        self.0.find(spread(hash), is_it).map(Seen::Known)
    }

    /// Remembers what was found to be good under this snapshot.
    pub fn remember(&self, hash: TokenHash, presented: Presented) -> Seen {
        let known = Arc::new(Known { hash, presented });
        self.0.insert(spread(&hash), 0, Arc::clone(&known), |own| own.hash.matches(&hash));
        Seen::Known(known)
    }
}

fn spread(hash: &TokenHash) -> u64 {
    hash.as_bytes().first_chunk().map_or(0, |start| u64::from_be_bytes(*start))
}
