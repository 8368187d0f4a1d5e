#!/usr/bin/env bash
# Installs what a purpose needs and this machine lacks: scripts/setup.sh demo|test|bench|browser...
# The list is the file `needs` beside this script. Nothing is installed twice; nothing present is upgraded.
source "$(dirname "$0")/common.sh"

# present NEED: a command, or a shared library written lib:NAME.
present() {
  case "$1" in
    lib:*) ldconfig -p 2>/dev/null | grep -q "${1#lib:}[-0-9.]*\.so" || compgen -G "/usr/lib/llvm-*/lib/${1#lib:}.so*" >/dev/null ;;
    *) have "$1" ;;
  esac
}

# missing_packages PURPOSE: the Debian packages of the commands and libraries that are not there.
missing_packages() {
  local purposes need package
  while read -r purposes need package; do
    case ",$purposes," in
      *",$1,"*) present "$need" || echo "$package" ;;
    esac
  done < <(sed '/^ *\(#\|$\)/d' scripts/needs)
}

install_packages() {
  [ "$#" -gt 0 ] || return 0
  have apt-get || stop "please install the equivalents of these Debian packages, then run this again: $*"
  say "installing Debian packages: $*"
  as_root apt-get update --quiet
  as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get install --yes --quiet --no-install-recommends -o Acquire::Retries=3 -o DPkg::Lock::Timeout=300 "$@"
}

install_nextest() {
  have cargo-nextest && return 0
  say "building cargo-nextest, the test runner; this takes some minutes and happens once"
  cargo install --locked cargo-nextest || {
    say "its pinned dependencies are not all available here; taking the nearest ones"
    cargo install cargo-nextest
  }
}

[ "$#" -gt 0 ] || stop "name a purpose: scripts/setup.sh demo|test|bench|browser"
have cargo || stop "Rust is not installed; see https://rustup.rs, then run this again"
for purpose in "$@"; do
  mapfile -t packages < <(missing_packages "$purpose")
  install_packages "${packages[@]}"
  [ "$purpose" != test ] || install_nextest
done
