#!/usr/bin/env bash
# The goals of docs/proof.md that are a test of `cargo test` with a larger number: each in full, with its figure.
# With --quick each as `cargo test` runs it.
# seconds: 14400
cd "$(dirname "$0")/../../.." || exit 2
quick=${THOROUGH_QUICK:-}

# goal NAME FIGURE VARIABLES… -- ARGUMENTS OF cargo test…: FIGURE is a pattern of the lines that tell the figure.
goal() {
    local name=$1 figure=$2 variables=() output began=$SECONDS
    shift 2
    while [ "$1" != -- ]; do
        [ -n "$quick" ] || variables+=("$1")
        shift
    done
    shift
    if output=$(env "${variables[@]}" cargo test --quiet "$@" -- --nocapture --test-threads=1 2>&1); then
        local told
        told=$(grep -oE "$figure" <<<"$output" | paste -sd ';' | sed 's/;/; /g')
        echo "ok $name ${told:-every test passed} (${variables[*]:-as in cargo test}, $((SECONDS - began)) s)"
    else
        tail -n 60 <<<"$output"
        echo "FAIL $name: ${variables[*]} cargo test $*"
    fi
}

goal T3 '[0-9]+ images .*' BEARERD_IMAGES=20000 BEARERD_FIRST_STARTS=1000 -- --lib power
goal T4 '[0-9]+ faults .*' BEARERD_SWEEP_STRIDE=1 -- --lib app::tests::faults
goal T6 '' BEARERD_ROUNDS=10000 -- --lib app::enrollment::tests::race
goal T6 '' BEARERD_ROUNDS=10000 -- --test races
goal T6 '' BEARERD_ROUNDS=50000 BEARERD_CONSUMERS=8 -- --test races
goal T7 '' BEARERD_HISTORIES=500 -- --test histories
goal T8 '' BEARERD_PAIRS=10000 -- --test staleness
goal T18 '' BEARERD_CLOCK_SCHEDULES=100000 -- --release --lib store::tests::clocks
goal T16 '[0-9]+ cells of .*' -- --lib matrix
goal T17 '' -- --test leaks
goal T17 '' -- --test http_server a_panic_tells_nothing_of_the_request
goal T19 '[0-9]+ images .*' BEARERD_DAMAGED=10000 -- --lib store::tests::faults::a_
goal R1 '' BEARERD_TEST_ROUNDS=10000 -- --test setup wrong_tokens
