#!/usr/bin/env bash
# Everything that must hold, step by step: scripts/test.sh [STEP...]. Stops at the first step that fails, and closes with
# one line that says how long each took.
source "$(dirname "$0")/common.sh"
exec </dev/null # no step may wait for an answer

STEPS=(setup format lint wasm unit doc lan)
# Tests in a module of this name build networks of their own and run as root, in the step `lan`.
NAMESPACES='test(/(^|::)in_namespaces::/)'
BROWSER_CRATES=(ids crdt log protocol replica device aviation aviation-store)
PROFILE=$([ -n "${CI:-}" ] && echo ci || echo default)

step_setup() { scripts/setup.sh test; }

step_format() {
  cargo fmt --all --check || stop "the lines above differ from the common format; run: make format"
}

step_lint() { cargo clippy --locked --workspace --all-targets -- -D warnings; }

# What a browser will run compiles for it: no threads, no files, no clock, no source of randomness.
step_wasm() {
  local target=wasm32-unknown-unknown
  if have rustup; then
    rustup target add "$target"
  elif [ ! -d "$(rustc --print sysroot)/lib/rustlib/$target" ]; then
    say "skipped: this Rust has no target $target, and there is no rustup to add it"
    return 0
  fi
  # Nobody runs this build: C need not be optimised.
  CFLAGS_wasm32_unknown_unknown=-O0 cargo check --locked --target "$target" "${BROWSER_CRATES[@]/#/--package=aeroedge-}"
}

step_unit() {
  cargo nextest run --locked --workspace --profile "$PROFILE" --no-tests=fail -E "not $NAMESPACES"
}

step_doc() { cargo test --locked --workspace --doc --quiet; }

step_lan() {
  # Only the test programs run as root, so that a user's build folder stays the user's.
  if [ "$(id -u)" != 0 ]; then
    have sudo || stop "tests in network namespaces need root; run as root: make test-lan"
    local host
    host=$(rustc -vV | sed -n 's/^host: //p' | tr 'a-z-' 'A-Z_')
    export "CARGO_TARGET_${host}_RUNNER=sudo -E"
  fi
  cargo nextest run --locked --workspace --profile "$PROFILE" --no-tests=pass -E "$NAMESPACES"
  if [ -x scripts/test-lan.sh ]; then scripts/test-lan.sh; fi
}

summary='' began=$SECONDS current=''
# shellcheck disable=SC2329 # called by the trap
close() {
  local status=$? verdict=passed
  if [ "$status" != 0 ]; then
    verdict="FAILED in $current"
    summary+=", $current $((SECONDS - step_began)) s"
  fi
  printf '\ntest %s after %d s: %s\n' "$verdict" $((SECONDS - began)) "${summary#, }" >&2
}

[ "$#" -gt 0 ] || set -- "${STEPS[@]}"
for step in "$@"; do
  case " ${STEPS[*]} " in
    *" $step "*) ;;
    *) stop "there is no step $step; the steps are: ${STEPS[*]}" ;;
  esac
done

trap close EXIT
for current in "$@"; do
  step_began=$SECONDS
  say "test: $current"
  "step_$current"
  summary+=", $current $((SECONDS - step_began)) s"
done
