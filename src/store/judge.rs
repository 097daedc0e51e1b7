//! Whether a file is a whole store of this version that the keyring opens. Decided on a dry run of the
//! engine, so that a store that is refused keeps every byte as it was.

use super::{
    Options, SCHEMA_VERSION,
    error::OpenError,
    own_key::open_own_key,
    redb::{Engine, EngineError},
    site::Site,
};
use crate::{
    records::{StoreKeys, TableId, meta::raw},
    token::Keyring,
};

/// The store's id and the keys of its records.
pub(crate) fn judge(
    site: &Site,
    options: &Options,
    keyring: &Keyring,
) -> Result<([u8; 16], StoreKeys), OpenError> {
    let path = site.path();
    let engine = site.open_dry(options.verify_bytes_max).map_err(|error| OpenError::engine(&path, error))?;
    judge_tables(&engine, site)?;
    let id = must_have(&engine, site, raw::STORE_ID, "id")?;
    let id = <[u8; 16]>::try_from(id).map_err(|_| site.damaged("its id is not one"))?;
    let sealed = must_have(&engine, site, raw::STORE_KEY, "key")?;
    let key = open_own_key(keyring, &id, &sealed, &path)?;
    Ok((id, StoreKeys::derive(&key)))
}

/// A newer version is told before what it may have dropped is missed.
fn judge_tables(engine: &Engine, site: &Site) -> Result<(), OpenError> {
    let failed = |error: EngineError| OpenError::engine(site.path(), error);
    let (strange, missing) = engine.strange_tables().map_err(failed)?;
    let newer = |what: String| OpenError::Newer { path: site.path(), what };
    if missing.contains(&TableId::Meta.name()) {
        return Err(match strange.first() {
            Some(table) => site.damaged(&format!("it is no store of bearerd's: it has a table `{table}`")),
            None => site.damaged("it has no tables"),
        });
    }
    let version = must_have(engine, site, raw::SCHEMA, "schema version")?;
    let version = version.try_into().map_err(|_| site.damaged("its schema version is not one"))?;
    match u32::from_be_bytes(version) {
        SCHEMA_VERSION => {}
        version => return Err(newer(format!("schema {version}"))),
    }
    match (strange.first(), missing.first()) {
        (Some(table), _) => Err(newer(format!("table `{table}`"))),
        (None, Some(table)) => Err(site.damaged(&format!("it has no table `{table}`"))),
        (None, None) => Ok(()),
    }
}

fn must_have(engine: &Engine, site: &Site, key: &[u8], name: &str) -> Result<Vec<u8>, OpenError> {
    let found = engine.raw(TableId::Meta, key).map_err(|error| OpenError::engine(site.path(), error))?;
    found.ok_or_else(|| site.damaged(&format!("it has no {name}")))
}
