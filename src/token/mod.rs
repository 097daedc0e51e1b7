//! What a credential is: strings, hashes, ids, keys and envelopes, with no clock, no randomness and no I/O.
