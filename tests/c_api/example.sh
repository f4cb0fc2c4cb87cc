#!/bin/sh
# example.sh README FILE: writes the C example of a README to a file, which example_main.c calls.
set -eu
awk '/^```c$/ { inside = 1; next } /^```$/ { inside = 0 } inside' "$1" >"$2.new"
test -s "$2.new" || { echo "$1 has no C example" >&2; exit 1; }
cmp -s "$2.new" "$2" || mv "$2.new" "$2"
rm -f "$2.new"
