//! The reply of an enrolment, kept for a host whose connection broke before it arrived.
//!
//! It is sealed under a key that only the enrolment token and the attempt together give, and neither of
//! the two is in the store: whoever has the file and every root key cannot open it. The key is HKDF-SHA256
//! (RFC 5869) without a salt, of
//!
//! ```text
//! length of the token's text (2 bytes, big-endian) ‖ the token's text ‖ the attempt
//! ```
//!
//! with the info `bearerd/1/reply`; the associated data is the host's name in lower case, the plain text
//! the agent token. A key seals one reply only, as a token is consumed once.

use super::Proof;
use crate::{
    records::host::Replay,
    token::{Key, Secret, TokenId, seal},
};

/// As long as the envelope of a reply is with the shortest prefix: what is opened in vain where none is kept.
const NOTHING_BYTES: usize = 124;

/// Seals the reply to `proof`; none where the proof says no attempt, so that nobody could ask again.
pub(super) fn seal(proof: &Proof, nonce: [u8; seal::NONCE_BYTES], agent_token: &Secret) -> Option<Vec<u8>> {
    let attempt = proof.attempt.as_ref()?;
    let key = key(&proof.text, attempt);
    seal::seal_unnamed(&key, nonce, &proof.hostname, agent_token.expose().as_bytes()).ok()
}

/// Opens the reply that is kept, if the proof is the one it was sealed for. Does the same work where none
/// is kept or no attempt is said, so that the time of an answer tells neither.
pub(super) fn open(proof: &Proof, kept: Option<&Replay>) -> Option<Secret> {
    let none = Secret::new(String::new());
    let key = key(&proof.text, proof.attempt.as_ref().unwrap_or(&none));
    let nothing = [&[1_u8][..], &[0; NOTHING_BYTES]].concat();
    let envelope = kept.map_or(nothing.as_slice(), |kept| kept.envelope.as_slice());
    let opened = seal::open_unnamed(&key, &proof.hostname, envelope).ok()?;
    proof.attempt.as_ref()?;
    String::from_utf8(opened.to_vec()).ok().map(Secret::new)
}

fn key(token: &Secret, attempt: &Secret) -> Key {
    let token = token.expose().as_bytes();
    // Nothing that long is a token; cut to what two bytes can say, it stays the key of nothing.
    let length = u16::try_from(token.len()).unwrap_or(u16::MAX).to_be_bytes();
    let extracted = Key::new(Key::new([0; 32]).mac(&[&length, token, attempt.expose().as_bytes()]));
    Key::new(extracted.mac(&[b"bearerd/1/reply", &[1]]))
}

/// The id under which there is no row: looked up where a text names none.
pub(super) const NO_ROW: TokenId = TokenId::from_bytes([0; 16]);
