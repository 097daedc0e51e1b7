#!/usr/bin/env bash
# Measures whether the comparison of service secrets tells anything by its time; see constant_time.rs.
cd "$(dirname "$0")/../../.." && exec cargo run --quiet --release --example constant_time
