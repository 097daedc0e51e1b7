//! The bearerd binary: arguments in, exit code out.

fn main() {}
