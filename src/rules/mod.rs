//! What may happen: every operation as a pure function over a transaction.
