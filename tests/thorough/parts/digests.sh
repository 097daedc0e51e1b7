#!/usr/bin/env bash
# The vectors of every digest, MAC and cipher once more with the portable implementation of SHA-256, which a processor
# without the instructions for it runs.
# seconds: 1800
cd "$(dirname "$0")/../../.." || exit 2
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$PWD/target}/soft" RUSTFLAGS='--cfg sha2_backend="soft"'
if output=$(cargo test --quiet --lib token:: 2>&1); then
    echo "ok digests: $(grep -o '[0-9]* passed' <<<"$output" | head -1) with the portable SHA-256"
else
    tail -n 40 <<<"$output"
    echo "FAIL digests: see above"
fi
