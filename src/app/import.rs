//! Taking in tokens of another system, portion by portion.

use super::{App, Failure, random};
use crate::{
    records::Txn,
    rules::{
        access::Authorized,
        import::{self, FreshIds, Imported, Line},
    },
};

impl App {
    /// Takes in a portion: all of it, or nothing. A dry run says what would come of it.
    pub async fn import(&self, who: &Authorized, lines: Vec<Line>, dry: bool) -> Result<Imported, Failure> {
        let ids = || Ok::<_, Failure>(FreshIds { token: random()?, owner: random()? });
        let fresh = lines.iter().map(|_| ids()).collect::<Result<Vec<_>, _>>()?;
        if dry {
            let (view, by) = (self.view(), who.by());
            let mut txn = Txn::new(&*view, self.store().now_ms());
            return Ok(import::take_in(&mut txn, &by, &lines, &fresh)?);
        }
        self.change(who, move |txn, _, who| import::take_in(txn, &who.by(), &lines, &fresh)).await
    }
}
