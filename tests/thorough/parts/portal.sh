#!/usr/bin/env bash
# The portal, thoroughly: doors that close, cookies against Python's, and a real Chromium through a real nginx with
# the snippet of docs/portal.md. Screenshots land in target/portal-screenshots; look at them.
set -u
cd "$(dirname "$0")/../../.." || exit 2
rounds=10000 cookies=100000
if [ -n "${THOROUGH_QUICK:-}" ]; then rounds=500 cookies=5000; fi

judged() { # judged NAME COMMAND…: one line for it, after what it said if it failed
    local name=$1 said
    shift
    if said=$("$@" 2>&1); then
        echo "ok portal: $name"
    else
        echo "$said" | tail -n 60
        echo "FAIL portal: $name"
    fi
}

judged "$rounds doors that were closed" \
    env BEARERD_TEST_ROUNDS=$rounds cargo test --quiet --test slice_portal a_door_that_was_closed
judged "single-use links and clients at once" \
    env BEARERD_TEST_ROUNDS=$((rounds / 10)) cargo test --quiet --test slice_portal at_once
judged "$cookies cookies against Python's" \
    env BEARERD_TEST_ROUNDS=$cookies cargo test --quiet --test portal_cookie -- --ignored

for program in nginx chromium openssl; do
    PATH=$PATH:/usr/sbin command -v $program >/dev/null && continue
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet --no-install-recommends $program >/dev/null 2>&1
    fi
    PATH=$PATH:/usr/sbin command -v $program >/dev/null || { echo "skip portal in a browser: $program is not installed"; exit 0; }
done
command -v npm >/dev/null || { echo "skip portal in a browser: npm is not installed"; exit 0; }
modules=$(mktemp -d)
trap 'rm -rf "$modules"' EXIT
(cd "$modules" && npm install --no-audit --no-fund --silent playwright-core@1.65.1 >/dev/null 2>&1) \
    || { echo "skip portal in a browser: playwright-core could not be installed"; exit 0; }
script=$PWD/tests/thorough/portal_browser.mjs
(cd "$modules" && PATH=$PATH:/usr/sbin node "$script" "$BEARERD_BIN" "${CARGO_TARGET_DIR:-$OLDPWD/target}/portal-screenshots")
