# Sourced by tests of the installed library. $work is a folder that goes away at the end.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() {
  echo "${0##*/}: $*" >&2
  exit 1
}

# skip TEXT: 77, a failure under CI.
skip() {
  echo "skipped: $*" >&2
  [ "${CI:-}" = true ] && exit 1
  exit 77
}

# needed PROGRAM...: skips where one is missing.
needed() {
  local program
  for program in "$@"; do command -v "$program" >/dev/null || skip "there is no $program"; done
}

# quietly COMMAND...: what it prints is seen where it fails.
quietly() {
  "$@" >"$work/log" 2>&1 || { cat "$work/log" >&2; fail "failed: $*"; }
}

# install_prefix BUILD: both components under $work/prefix. A package that knows where it was built would break there.
install_prefix() {
  local component
  for component in kernels development; do
    quietly cmake --install "$1" --component "$component" --prefix "$work/built"
  done
  mv "$work/built" "$work/prefix"
}

# libraries_of PREFIX: the folder of libduet.so, of which there is one.
libraries_of() {
  local found
  found=$(find "$1" -name libduet.so)
  [ "$(wc -w <<<"$found")" -eq 1 ] || fail "expected one libduet.so under $1, found: $found"
  dirname "$found"
}

# Whether a program loads a library at its start.
needs() {
  local found
  found=$(readelf -d "$1") || fail "cannot read $1"
  grep -q "NEEDED.*$2" <<<"$found" || fail "$1 does not need $2"
}
needs_not() {
  local found
  found=$(readelf -d "$1") || fail "cannot read $1"
  ! grep "NEEDED.*$2" <<<"$found" || fail "$1 needs $2"
}
