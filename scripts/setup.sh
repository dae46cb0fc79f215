#!/usr/bin/env bash
# Sourced by the other scripts: installs what is missing on Debian or Ubuntu, and says what it does.

say() { printf '%s\n' "$*" >&2; }
die() { say "error: $*"; exit 2; }

# need COMMAND:PACKAGE ... installs the packages whose commands (or files, by their whole path) are missing.
need() {
  local missing=() pair sudo=()
  for pair in "$@"; do
    command -v "${pair%%:*}" >/dev/null 2>&1 || [ -x "/usr/sbin/${pair%%:*}" ] ||
      [[ ${pair%%:*} == /* && -e ${pair%%:*} ]] || missing+=("${pair#*:}")
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

need_go() {
  command -v go >/dev/null || die "Go is missing; install Go 1.26 or newer from https://go.dev/dl and try again"
  # An older Go fetches the right one for itself, if it is new enough to know how.
  [ "$(go env GOVERSION 2>/dev/null | sed -nE 's/^go1\.([0-9]+).*/\1/p')" -ge 21 ] 2>/dev/null ||
    die "this Go is too old; install Go 1.26 or newer from https://go.dev/dl and try again"
}

# The versions of Helm that the chart and the cluster tests are tried with.
# shellcheck disable=SC2034
helm3=v3.22.0 helm4=v4.3.1
# crane speaks to image registries, and is one where a test needs it.
# shellcheck disable=SC2034
crane=v0.20.7

# What is built or fetched once is kept here, outside the repository.
tool_cache=${XDG_CACHE_HOME:-$HOME/.cache}/ferrolb/bin

# go_tool COMMAND PACKAGE VERSION: says where this version of a Go program is, and builds it once.
go_tool() {
  local at="$tool_cache/$1-$3"
  if [ ! -x "$at/$1" ]; then
    say "building $1 $3 (once; takes some minutes)"
    GOBIN="$at" go install -trimpath -ldflags="-s -w" "$2@$3" >&2 || die "go could not install $2@$3"
  fi
  printf '%s' "$at/$1"
}

# python_tool PACKAGE VERSION: says where the command of a Python package is, in an environment of its own.
python_tool() {
  local at="$tool_cache/$1-$2"
  if [ ! -x "$at/bin/$1" ]; then
    say "installing $1 $2"
    python3 -m venv "$at" >&2 || die "python3 could not make an environment in $at; on Debian and Ubuntu: apt-get install python3-venv"
    "$at/bin/pip" install --quiet --disable-pip-version-check "$1==$2" >&2 || die "pip could not install $1 $2"
  fi
  printf '%s' "$at/bin/$1"
}
