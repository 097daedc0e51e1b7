//! Whether a file is a whole store of a version that we know, and one that the keyring opens. Decided on a
//! dry run of the engine, so that a store that is refused keeps every byte as it was.

use super::{Options, error::OpenError, migrate::Schema, own_key::open_own_key, redb::Engine, site::Site};
use crate::{
    records::{StoreKeys, TableId, meta::raw},
    token::Keyring,
};

/// A store that holds together.
#[derive(Debug)]
pub(crate) struct Judged {
    /// Its id.
    pub(crate) id: [u8; 16],
    /// The keys of its records.
    pub(crate) keys: StoreKeys,
    /// The version of its schema: the one that is written now, or an older one that there is a way from.
    pub(crate) version: u32,
    /// The engine of the dry run.
    pub(crate) engine: Engine,
}

/// Judges what lies on `site`.
pub(crate) fn judge(
    site: &Site,
    options: &Options,
    keyring: &Keyring,
    schema: &Schema,
) -> Result<Judged, OpenError> {
    let engine = site.open_dry(options.verify_bytes_max).map_err(|error| site.fault(error))?;
    let version = judge_tables(&engine, site, schema)?;
    let id = must_have(&engine, site, raw::STORE_ID, "id")?;
    let id = <[u8; 16]>::try_from(id).map_err(|_| site.damaged("its id is not one"))?;
    let sealed = must_have(&engine, site, raw::STORE_KEY, "key")?;
    let key = open_own_key(keyring, &id, &sealed, site.path())?;
    Ok(Judged { id, keys: StoreKeys::derive(&key), version, engine })
}

/// The version of the schema. A newer one is told before what it may have dropped is missed.
fn judge_tables(engine: &Engine, site: &Site, schema: &Schema) -> Result<u32, OpenError> {
    let (strange, missing) = engine.strange_tables().map_err(|error| site.fault(error))?;
    let newer = |what: String| OpenError::Newer { path: site.path().to_owned(), what };
    if missing.contains(&TableId::Meta.name()) {
        return Err(match strange.first() {
            Some(table) => site.damaged(&format!("it is no store of bearerd's: it has a table `{table}`")),
            None => site.damaged("it has no tables"),
        });
    }
    let version = must_have(engine, site, raw::SCHEMA, "schema version")?;
    let version = version.try_into().map(u32::from_be_bytes);
    let version = version.map_err(|_| site.damaged("its schema version is not one"))?;
    if version > schema.version {
        return Err(newer(format!("schema {version}")));
    }
    if !schema.reaches_from(version) {
        return Err(site.damaged(&format!("there is no way from its schema, version {version}")));
    }
    match (strange.first(), missing.first()) {
        (Some(table), _) => Err(newer(format!("table `{table}`"))),
        (None, Some(table)) if version == schema.version => {
            Err(site.damaged(&format!("it has no table `{table}`")))
        }
        (None, _) => Ok(version),
    }
}

fn must_have(engine: &Engine, site: &Site, key: &[u8], name: &str) -> Result<Vec<u8>, OpenError> {
    let found = engine.raw(TableId::Meta, key).map_err(|error| site.fault(error))?;
    found.ok_or_else(|| site.damaged(&format!("it has no {name}")))
}
