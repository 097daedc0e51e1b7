//! Bringing an older store up to date: a list of steps, each from one version of the schema to the next.
//!
//! A step is one transaction, which writes the new version along, so that a crash leaves the store at one
//! version or the other and the next start goes on from there. The file as it was before the first step is
//! kept beside. A change of what a record holds is a new step here, and a new `VERSION` of that record.

use super::{error::OpenError, site::Site};
use crate::records::{Fault, StoreKeys, TableId, Txn, meta::raw, txn::Rows};

/// What a step does: it reads the older records and puts the newer ones. Tables that are new are there.
pub(crate) type Step = fn(&mut Txn<'_>) -> Result<(), Fault>;

/// A version of the schema, and the way to it.
#[derive(Debug)]
pub(crate) struct Schema {
    /// The version that is written.
    pub(crate) version: u32,
    /// The last one leads to `version`, the one before it to the version before, and so on.
    pub(crate) steps: &'static [Step],
}

/// The schema of this bearerd.
pub(crate) const CURRENT: Schema = Schema { version: super::SCHEMA_VERSION, steps: &[] };

impl Schema {
    /// Whether there is a step for every version from `version` on.
    pub(crate) fn reaches_from(&self, version: u32) -> bool {
        self.steps_from(version).is_some()
    }

    fn steps_from(&self, version: u32) -> Option<&'static [Step]> {
        let count = usize::try_from(self.version.checked_sub(version)?).ok()?;
        self.steps.len().checked_sub(count).and_then(|first| self.steps.get(first..))
    }
}

/// Takes every step from `version` on.
pub(crate) fn migrate(site: &Site, keys: &StoreKeys, version: u32, schema: &Schema) -> Result<(), OpenError> {
    let steps = schema.steps_from(version).unwrap_or_default();
    if steps.is_empty() {
        return Ok(());
    }
    site.keep_copy(&format!("schema-{version}"))?;
    let engine = site.open_engine().map_err(|error| site.fault(error))?;
    for (step, next) in steps.iter().zip(version.saturating_add(1)..) {
        let mut broken = None;
        let taken = engine.transact(keys, |batch| {
            batch.make_tables();
            let mut txn = Txn::new(&*batch, 0);
            match step(&mut txn).and_then(|()| txn.finish()) {
                Ok(writes) => {
                    batch.apply(writes.rows);
                    batch.apply(version_row(next));
                    true
                }
                Err(fault) => {
                    broken = Some(fault);
                    false
                }
            }
        });
        taken.map_err(|error| site.fault(error))?;
        if let Some(fault) = broken {
            return Err(site.damaged(&format!("its schema cannot be brought to version {next}: {fault}")));
        }
    }
    engine.close().map_err(|error| site.fault(error))
}

fn version_row(version: u32) -> Rows {
    let row = (raw::SCHEMA.to_vec(), Some(version.to_be_bytes().to_vec()));
    Rows::from([(TableId::Meta, [row].into())])
}
