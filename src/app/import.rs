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
            let (by, store) = (who.by(), self.store().clone());
            return self
                .look_long(move |view, _| {
                    import::take_in(&mut Txn::new(view, store.now_ms()), &by, &lines, &fresh)
                })
                .await;
        }
        self.change(who, move |txn, _, who| import::take_in(txn, &who.by(), &lines, &fresh)).await
    }
}
