#!/usr/bin/env bash
# check.sh EXAMPLE BUILD: builds a copy of examples/EXAMPLE against an installed prefix and runs it; an example that
# gets a wrong answer exits non-zero. Where its package is missing: skipped (77), a failure under CI.
set -euo pipefail
example=$1 build=$2
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../installed.sh"

# needed_header HEADER PACKAGE
needed_header() {
  [ -n "$(find /usr/include /usr/local/include -path "*/$1" -print -quit)" ] || skip "there is no $1 ($2)"
}
case $example in
  c) ;;
  faiss) needed_header faiss/IndexFlat.h libfaiss-dev ;;
  libtorch) needed_header torch/torch.h libtorch-dev ;;
  rust) needed cargo rustc pkg-config ;;
  *) fail "expected c, faiss, libtorch or rust, got $example" ;;
esac
install_prefix "$build"
cp -r "$here/../../examples/$example" "$work/source"
case $example in
  rust)
    libraries=$(libraries_of "$work/prefix")
    export PKG_CONFIG_PATH=$libraries/pkgconfig LD_LIBRARY_PATH=$libraries CARGO_HOME=$work/cargo
    cd "$work/source"
    quietly cargo test --offline
    grep -q '^test result: ok. [1-9]' "$work/log" || fail "no test ran: $(cat "$work/log")"
    cargo run --offline --quiet
    ;;
  *)
    quietly cmake -S "$work/source" -B "$work/build" -G Ninja -DCMAKE_PREFIX_PATH="$work/prefix"
    quietly cmake --build "$work/build"
    "$work/build/example"
    ;;
esac
