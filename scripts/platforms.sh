#!/usr/bin/env bash
# Sourced by scripts/image and scripts/release, after setup.sh: the platforms of a release, how each is built, and what a release is called.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# target_of PLATFORM: its name in Rust.
target_of() {
  case $1 in
    amd64) echo x86_64-unknown-linux-musl ;;
    arm64) echo aarch64-unknown-linux-musl ;;
    arm/v7) echo armv7-unknown-linux-musleabihf ;;
    *) die "no such platform: $1; there are amd64, arm64 and arm/v7" ;;
  esac
}

# built_from: from what is built, as the program's own variables, one a line; nothing where there is no Git checkout, and the program says "unknown". A branch
# is not in a release, whose checkout is of a tag: that stands in its place, so that whoever builds the tag again gets the same program.
built_from() {
  local commit branch
  commit=$(git -C "$root" describe --always --dirty --abbrev=12 --exclude='*' 2>/dev/null) || return 0
  branch=$(git -C "$root" describe --tags --exact-match 2>/dev/null) || branch=$(git -C "$root" symbolic-ref --short -q HEAD) || branch=unknown
  printf 'FERROLB_COMMIT=%s\nFERROLB_BRANCH=%s\n' "${FERROLB_COMMIT:-$commit}" "${FERROLB_BRANCH:-$branch}"
}

# build_for PLATFORM: builds the static program and says where it is. The cryptography is partly C and assembler, so other machines need a C compiler too.
build_for() {
  local target compiler profile=${FERROLB_PROFILE:-dist}
  target=$(target_of "$1") || exit
  need_rust
  case $1 in
    amd64) compiler=musl-gcc; need musl-gcc:musl-tools >&2 ;;
    arm64)
      compiler=aarch64-linux-gnu-gcc
      need aarch64-linux-gnu-gcc:gcc-aarch64-linux-gnu /usr/aarch64-linux-gnu/include/stdio.h:libc6-dev-arm64-cross >&2 ;;
    arm/v7)
      compiler=arm-linux-gnueabihf-gcc
      need arm-linux-gnueabihf-gcc:gcc-arm-linux-gnueabihf /usr/arm-linux-gnueabihf/include/stdio.h:libc6-dev-armhf-cross >&2 ;;
  esac
  (cd "$root" && rustup target add "$target" >&2) || die "rustup could not add $target; without it there is no program for $1"
  local under=${target//-/_} linker=() from=()
  mapfile -t from < <(built_from)
  # On this machine's own platform Rust finds its linker.
  [ "$1" = amd64 ] || linker=("CARGO_TARGET_${under^^}_LINKER=$compiler")
  # Where it was built is nobody's business, and would make two machines' programs differ. Names as in .cargo/config.toml, which this takes the place of.
  (cd "$root" && env "${linker[@]}" "${from[@]}" "CC_$under=$compiler" \
    RUSTFLAGS="-C symbol-mangling-version=v0 --remap-path-prefix=$root=/ferrolb --remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo" \
    cargo build --profile "$profile" --locked --target "$target" -p ferrolb >&2) || die "FerroLB did not compile for $1"
  echo "$(cd "$root" && cargo metadata --format-version 1 --no-deps | jq -r .target_directory)/$target/$profile/ferrolb"
}

# The version rule: Cargo's is the only one that is written by hand for the program; the rest must agree with it (scripts/release).
cargo_version() {
  (cd "$root" && cargo metadata --format-version 1 --no-deps | jq -er '.packages[] | select(.name == "ferrolb").version')
}

# Whatever is made carries the time of its commit, so that it is the same whenever it is made.
commit_time() { echo "${SOURCE_DATE_EPOCH:-$(git -C "$root" log -1 --format=%ct)}"; }

# release_tool ARGUMENTS: the program that makes the parts (tools/cmd/release).
release_tool() {
  local at
  at=$(mktemp -d)
  (cd "$root/tools" && go build -trimpath -o "$at/release" ./cmd/release) || die "the release's own program did not compile"
  local status=0
  "$at/release" "$@" || status=$?
  rm -rf "$at"
  return "$status"
}
