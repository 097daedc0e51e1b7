//! Reading the audit log.

use super::{App, Failure};
use crate::{
    records::{Listed, Page, audit::Entry},
    rules::audit::{self, Filter},
};

impl App {
    /// One page of the audit log.
    pub fn audit_entries(&self, filter: &Filter, page: &Page) -> Result<Listed<Entry>, Failure> {
        self.look(|view, _| audit::list(view, filter, page))
    }
}
