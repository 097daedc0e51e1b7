#!/usr/bin/env bash
# Measures whether a comparison with a secret tells anything by its time; see constant_time.rs.
cd "$(dirname "$0")/../../.." && exec cargo run --quiet --release --example constant_time
