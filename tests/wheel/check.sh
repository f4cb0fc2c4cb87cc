#!/usr/bin/env bash
# check.sh WHEEL: the wheel in a virtual environment with nothing else: its size, what it is tagged with, the package,
# the program, the library's own tests of arrays.
set -euo pipefail
wheel=$1
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "wheel: $*" >&2; exit 1; }

[[ $(basename "$wheel") = duet-*-py3-none-manylinux_2_36_x86_64.whl ]] || fail "unexpected name $(basename "$wheel")"
[ "$(stat -c %s "$wheel")" -le $((15 * 1024 * 1024)) ] || fail "larger than 15 MiB"
python3 -m venv "$work/bare"
"$work/bare/bin/pip" install -q "$wheel"
cd "$work"  # no source tree on the path
unset PYTHONPATH DUET_LIBRARY DUET_PROGRAM
"$work/bare/bin/python" "$here/check.py"
[ "$("$work/bare/bin/duet" --version)" = \
  "$("$work/bare/bin/python" -c 'import duet; print("duet", duet.__version__)')" ] ||
  fail "the program's version is not the package's"
grep -q "no HDF5.*no MATLAB" <<<"$("$work/bare/bin/duet" info)" || fail "duet info does not say which readers there are"
# Nothing that is loaded lies outside of the package and the system's own libraries.
"$work/bare/bin/pip" install -q pytest==9.2.0
"$work/bare/bin/python" -m pytest -q -p no:cacheprovider "$here/../python"
echo "$(basename "$wheel"): $(stat -c %s "$wheel") bytes"
