#!/usr/bin/env bash
# Sourced by the other scripts: installs what is missing on Debian or Ubuntu, and says what it does.

say() { printf '%s\n' "$*" >&2; }
die() { say "error: $*"; exit 2; }

# need COMMAND:PACKAGE ... installs the packages whose commands are missing.
need() {
  local missing=() pair sudo=()
  for pair in "$@"; do
    command -v "${pair%%:*}" >/dev/null 2>&1 || [ -x "/usr/sbin/${pair%%:*}" ] || missing+=("${pair#*:}")
  done
  [ ${#missing[@]} -eq 0 ] && return 0
  command -v apt-get >/dev/null || die "missing: ${missing[*]}; install them with your package manager"
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || die "missing: ${missing[*]}; as root run: apt-get install ${missing[*]}"
    sudo=(sudo)
  fi
  say "installing: ${missing[*]}"
  local log; log=$(mktemp)
  if ! { "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}" ||
         { "${sudo[@]}" apt-get update &&
           "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}"; }; } \
       >"$log" 2>&1; then
    cat "$log" >&2
    rm -f "$log"
    die "apt-get could not install ${missing[*]}"
  fi
  rm -f "$log"
}

need_rust() {
  command -v cargo >/dev/null || [ ! -x "$HOME/.cargo/bin/cargo" ] || PATH="$HOME/.cargo/bin:$PATH"
  command -v cargo >/dev/null || die "Rust is missing; install it from https://rustup.rs (or your distribution's rustup) and try again"
  need cc:build-essential
}

# need_cargo_tool COMMAND VERSION: a tool of the Rust world, built once.
need_cargo_tool() {
  command -v "$1" >/dev/null 2>&1 && return 0
  say "building $1 $2 (once; takes some minutes)"
  cargo install "$1" --version "$2" --locked --quiet >&2 || die "cargo could not install $1"
}
