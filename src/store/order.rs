//! What the writer is asked for, and what it tells of.

use super::WriteError;
use crate::records::{
    TableId,
    txn::{Rows, Txn},
};

/// What was written by a commit.
#[derive(Clone, Copy, Debug)]
pub enum Written<'a> {
    /// These rows and no others.
    Rows(&'a Rows),
    /// Anything may have changed: the store was opened again.
    Everything,
}

impl Written<'_> {
    /// Calls `each` with the table and the key of every row that was put or removed; false where everything
    /// may have changed, and nothing was named.
    pub fn each(&self, mut each: impl FnMut(TableId, &[u8])) -> bool {
        match self {
            Self::Everything => false,
            Self::Rows(written) => {
                for (table, rows) in *written {
                    for key in rows.keys() {
                        each(*table, key);
                    }
                }
                true
            }
        }
    }
}

/// What an operation is handed when its turn comes.
pub(crate) enum Turn<'a, 'v> {
    /// Go on.
    Yours(&'a mut Txn<'v>),
    /// It will not be run.
    Never(WriteError),
}

/// How an operation ended, and what is told to its caller once the outcome is known.
pub(crate) struct Verdict {
    pub(crate) accepted: bool,
    pub(crate) deliver: Deliver,
}

/// Answers the caller: with the operation's own result, or with why it came to nothing.
pub(crate) type Deliver = Box<dyn FnOnce(Result<(), WriteError>) + Send>;

/// What an operation wants beside a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// Nothing.
    Plain,
    /// The highest time shall reach the disk, whatever is written.
    KeepTime,
    /// The system's own time, even behind the highest seen, which becomes the highest if it accepts.
    TurnClockBack,
}

/// An operation that waits.
pub(crate) struct Job {
    pub(crate) run: Box<dyn FnOnce(Turn<'_, '_>) -> Option<Verdict> + Send>,
    pub(crate) wish: Wish,
}

/// What the writer is asked for.
pub(crate) enum Order {
    /// To run an operation.
    Run(Job),
    /// To give the space of removed rows back.
    Compact(Box<dyn FnOnce(Result<Compacted, WriteError>) + Send>),
}

impl Order {
    pub(crate) fn refuse(self, error: WriteError) {
        match self {
            Self::Run(job) => job.refuse(error),
            Self::Compact(answer) => answer(Err(error)),
        }
    }
}

/// What compacting has brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compacted {
    /// The size of the file before, in bytes.
    pub bytes_before: u64,
    /// And after.
    pub bytes_after: u64,
}

impl Job {
    pub(crate) fn refuse(self, error: WriteError) {
        (self.run)(Turn::Never(error));
    }
}

/// Runs an operation that was asked for with a plain function.
pub(crate) fn job<T, E>(
    wish: Wish,
    operation: impl FnOnce(&mut Txn<'_>) -> Result<T, E> + Send + 'static,
    answer: impl FnOnce(Result<Result<T, E>, WriteError>) + Send + 'static,
) -> Job
where
    T: Send + 'static,
    E: Send + 'static,
{
    let run = move |turn: Turn<'_, '_>| match turn {
        Turn::Never(error) => {
            answer(Err(error));
            None
        }
        Turn::Yours(txn) => {
            let result = operation(txn);
            let accepted = result.is_ok();
            let deliver: Deliver = Box::new(move |outcome| answer(outcome.map(|()| result)));
            Some(Verdict { accepted, deliver })
        }
    };
    Job { run: Box::new(run), wish }
}
