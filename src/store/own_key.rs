//! The store's own key, as it lies in the store: sealed under a root key of the operator's keyring.
//!
//! The envelope is the one of sealed credentials, with the associated data `bearerd/1/store/` and the store's
//! id in lower-case hexadecimal, so that one moved to another store does not open.

use std::path::Path;

use super::error::OpenError;
use crate::token::{
    Key, Keyring,
    keyring::{KeyId, RootKey},
    seal::{self, NONCE_BYTES},
};

/// The row of [`TableId::Meta`](crate::records::TableId::Meta) under which the sealed key lies.
pub use crate::records::meta::raw::STORE_KEY as OWN_KEY_ROW;

fn associated(store_id: &[u8; 16]) -> String {
    format!("bearerd/1/store/{:032x}", u128::from_be_bytes(*store_id))
}

/// Seals the store's own key. At a rotation the new envelope goes to [`OWN_KEY_ROW`].
pub fn seal_own_key(root: &RootKey, nonce: [u8; NONCE_BYTES], store_id: &[u8; 16], key: &Key) -> Vec<u8> {
    match seal::seal(root, nonce, &associated(store_id), key.expose()) {
        Ok(envelope) => envelope,
        Err(seal::TooLong) => unreachable!("32 bytes are within the limit of what can be sealed"),
    }
}

/// The id of the root key under which the store's own key is sealed.
pub fn own_key_sealed_under(envelope: &[u8]) -> Option<&str> {
    seal::key_id(envelope).ok().flatten()
}

/// Opens the store's own key. `path` is for the message.
pub(crate) fn open_own_key(
    keyring: &Keyring,
    store_id: &[u8; 16],
    envelope: &[u8],
    path: &Path,
) -> Result<Key, OpenError> {
    let damaged =
        || OpenError::Damaged { path: path.to_owned(), what: "its own key is not whole".to_owned() };
    let needs = own_key_sealed_under(envelope).ok_or_else(damaged)?;
    if keyring.find(needs).is_none() {
        let has: Vec<_> = keyring.ids().map(KeyId::as_str).collect();
        let (needs, has) = (needs.to_owned(), has.join(", "));
        return Err(OpenError::Keys { path: path.to_owned(), needs, has });
    }
    let opened = seal::open(keyring, &associated(store_id), envelope)
        .map_err(|seal::Unsealable| OpenError::WrongKey { path: path.to_owned(), key: needs.to_owned() })?;
    <[u8; 32]>::try_from(opened.as_slice()).map(Key::new).map_err(|_| damaged())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::keyring;

    #[test]
    fn the_key_of_one_store_is_not_taken_for_that_of_another() {
        let keyring = keyring("k1");
        let sealed = seal_own_key(keyring.current(), [7; NONCE_BYTES], &[1; 16], &Key::new([5; 32]));
        let open = |store_id: u8| open_own_key(&keyring, &[store_id; 16], &sealed, Path::new("store"));
        assert_eq!(open(1).unwrap().expose(), Key::new([5; 32]).expose());
        assert!(matches!(open(2), Err(OpenError::WrongKey { key, .. }) if key == "k1"));
    }
}
