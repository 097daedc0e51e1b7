//! What is stored, and the door to it: record types, their encoding, typed tables, and the transaction an operation sees.
