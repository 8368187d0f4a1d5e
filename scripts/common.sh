# shellcheck shell=bash
# Sourced by every script here: where the repository is, how to speak, how to act as root.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# Programs that `cargo install` brought are found even where the login shell does not look; so is `ip` for a plain user.
export PATH="$PATH:${CARGO_HOME:-${HOME:-/root}/.cargo}/bin:/usr/sbin:/sbin"

# say TEXT: one line of progress, on standard error so that standard output stays the program's own.
say() { printf '==> %s\n' "$*" >&2; }

# stop TEXT: what is wrong and what to do about it; ends the script.
stop() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

# as_root COMMAND...: directly when we are root, through sudo otherwise.
as_root() {
  if [ "$(id -u)" = 0 ]; then
    "$@"
  elif have sudo; then
    sudo "$@"
  else
    stop "this needs root, and sudo is not there; run as root: $*"
  fi
}
