#!/usr/bin/env bash
# 100 backups under a steady stream of at least 200 writes a second, of eight writers: each opens, passes the check, and is an exact prefix
# of what was acknowledged.
cd "$(dirname "$0")/../../.." || exit 2
count=100
[ -n "${THOROUGH_QUICK:-}" ] && count=10
if output=$(BEARERD_BACKUPS=$count cargo test --quiet --test backups -- --nocapture 2>&1); then
    echo "ok backups: $(grep -m1 ' backups, ' <<<"$output"), each an exact prefix of the ledger"
else
    echo "$output" | tail -n 40
    echo "FAIL backups: see above"
fi
