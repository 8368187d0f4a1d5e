#!/usr/bin/env bash
# Runs every benchmark of the workspace. ARGS goes to the benchmarks as it stands.
source "$(dirname "$0")/common.sh"

scripts/setup.sh bench
read -ra arguments <<<"${ARGS:-}"
say "building and running the benchmarks; close other programs, they share the processor"
exec cargo bench --locked --workspace --bench '*' -- "${arguments[@]}"
