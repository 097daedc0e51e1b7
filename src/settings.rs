//! The settings as plain values.
