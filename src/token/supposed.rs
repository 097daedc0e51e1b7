//! Keys that nobody drew, for tests that only need some.

use super::{KeyId, Keyring};

impl Keyring {
    /// A keyring after one rotation: `next` is current; `k`, whose bytes count up from 0, is old.
    pub(crate) fn supposed() -> Self {
        let root: [u8; 32] = std::array::from_fn(|place| u8::try_from(place).unwrap());
        let first = Self::generate(KeyId::new("k").unwrap(), &root).unwrap();
        first.rotated(KeyId::new("next").unwrap(), &root.map(|byte| byte + 1)).unwrap()
    }
}
