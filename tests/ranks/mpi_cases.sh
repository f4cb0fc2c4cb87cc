#!/usr/bin/env bash
# mpi_cases.sh PROGRAM MPI: the cases of every call on 1 to 4 ranks, and on messages in many parts, give the results
# that they have on threads, bit for bit.
set -euo pipefail
program=$1 mpi=$2
. "$(dirname "$0")/launch.sh"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"$program" threads 3 >"$work/expected"
[ "$(wc -l <"$work/expected")" -ge 8 ] || { echo "FAILED: the threads ran $(wc -l <"$work/expected") cases"; exit 1; }

# compare RANKS [PART_BYTES]
compare() {
  (launch "$1" "$program" cases "${@:2}") >"$work/got" 2>"$work/words" || {
    echo "FAILED: $*"
    cat "$work/words"
    exit 1
  }
  [ ! -s "$work/words" ] || { echo "FAILED: $* says:"; cat "$work/words"; exit 1; }
  diff "$work/expected" "$work/got" || { echo "FAILED: $*: not what the threads have"; exit 1; }
}
for ranks in 1 2 3 4; do compare $ranks; done
compare 3 10007
echo "$(wc -l <"$work/expected") cases on 1 to 4 ranks of $launcher: the same bits as on threads"
