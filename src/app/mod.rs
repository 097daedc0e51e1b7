//! One method an operation: draws randomness, hashes passwords, runs the rule, hands over.
