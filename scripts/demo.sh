#!/usr/bin/env bash
# Builds the program and shows three devices of one club finding each other. ARGS and LOGBOOK as in the Makefile.
source "$(dirname "$0")/common.sh"

scripts/setup.sh demo
read -ra arguments <<<"${ARGS:-}"
logbook=${LOGBOOK:-}
logbook=${logbook/#\~\//$HOME/} # make hands the tilde over as it stands
if [ -n "$logbook" ]; then
  [ -r "$logbook" ] || stop "cannot read the logbook $logbook; give the path of a ForeFlight export"
  arguments+=(--logbook "$logbook")
fi

say "building the program; the first time takes some minutes, later a moment"
cargo build --release --locked --package aeroedge-cli --bin aeroedge
say "aeroedge demo ${arguments[*]}"
# Through cargo, because it knows where it put the program; it becomes the program, so Ctrl-C reaches it.
exec cargo run --quiet --release --locked --package aeroedge-cli --bin aeroedge -- demo "${arguments[@]}"
