#!/usr/bin/env bash
# World after world in the simulator for so many minutes, and a report: scripts/soak.sh MINUTES.
source "$(dirname "$0")/common.sh"

minutes=${1:-10}
[[ "$minutes" =~ ^[0-9]+$ ]] || stop "say how many minutes, such as: make soak MINUTES=10"
scripts/setup.sh bench
say "soak: simulated worlds for $minutes minutes on all cores"
cargo run --locked --release -p aeroedge-simulator --example soak -- --minutes "$minutes"
