#!/usr/bin/env bash
# A store as old as it gets: 1,000,000 tokens and 5,000,000 entries of the audit log. How long a start takes, after a
# stop and after a kill, and that the first pages of its lists come at once.
# seconds: 3600
cd "$(dirname "$0")/../../.." || exit 2
tokens=1000000 entries=5000000
[ -z "${THOROUGH_QUICK:-}" ] || { tokens=20000 entries=100000; }
exec cargo run --quiet --release --example old_age -- "${BEARERD_BIN:-target/release/bearerd}" "$tokens" "$entries"
