//! Where it is kept: the storage engine, the single writer, the published read view.
