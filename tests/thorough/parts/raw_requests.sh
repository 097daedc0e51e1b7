#!/usr/bin/env bash
# 50,000 mutated raw requests against the real binary: no 5xx, no hang.
cd "$(dirname "$0")/../../.." || exit 2
count=50000
[ -n "${THOROUGH_QUICK:-}" ] && count=5000
if output=$(BEARERD_TEST_MUTATIONS=$count cargo test --quiet --test http_strict 2>&1); then
    echo "ok raw requests: by hand, and $count mutated ones"
else
    echo "$output" | tail -n 40
    echo "FAIL raw requests: see above"
fi
