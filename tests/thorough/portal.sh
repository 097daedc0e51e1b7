#!/usr/bin/env bash
# The portal, thoroughly: 10,000 doors that close, 100,000 cookies against Python's, and real browsers through
# a real nginx. Needs python3, nginx, chromium, node with npm, and openssl. Screenshots land in
# target/portal-screenshots; look at them.
set -euo pipefail
cd "$(dirname "$0")/../.."

BEARERD_TEST_ROUNDS=${BEARERD_TEST_ROUNDS:-10000} cargo test --test slice_portal a_door_that_was_closed
BEARERD_TEST_ROUNDS=1000 cargo test --test slice_portal at_once
BEARERD_TEST_ROUNDS=${BEARERD_TEST_COOKIES:-100000} cargo test --test portal_cookie -- --ignored --nocapture

cargo build
target=$(cargo metadata --no-deps --format-version 1 | python3 -c 'import json,sys; print(json.load(sys.stdin)["target_directory"])')
modules=$(mktemp -d)
trap 'rm -rf "$modules"' EXIT
(cd "$modules" && npm install --no-audit --no-fund --silent playwright-core@1.65.1)
script=$PWD/tests/thorough/portal_browser.mjs
(cd "$modules" && node "$script" "$target/debug/bearerd" "$target/portal-screenshots")
