#!/usr/bin/env bash
# same_models.sh OLD NEW [TRAIN OPTIONS]: whether two builds of the program train the same models on the CPU, bit for
# bit: 44 steps of every method on avdigits (DUET_SHARED_DIR, ../shared unless set), compared by the SHA-256 of
# model.safetensors, and line by line in their logged losses. Builds of two versions differ in the version that a model
# names. Exit code 0 where all are the same, 1 where some are not, 77 where there is no data.
set -euo pipefail
[ $# -ge 2 ] || { echo "same_models.sh: expected two programs" >&2; exit 2; }
old=$(realpath "$1") new=$(realpath "$2")
shift 2
cd "$(dirname "${BASH_SOURCE[0]}")/.."
data=${DUET_SHARED_DIR:-../shared}/data/avdigits
[ -d "$data" ] || { echo "skipped: no $data"; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The losses of every step, without the seconds of an epoch.
losses() { grep '"step"' "$1/metrics.jsonl" | grep -v '"seconds"'; }

different=0
for method in label triplet contrastive psd; do
  for program in old new; do
    "${!program}" train --data "$data" --method $method --labels 0.1 --epochs 2 --steps 44 --log-every 1 --seed 3 \
      --run "$work/$program.$method" "$@" >"$work/said" 2>&1 || { cat "$work/said" >&2; exit 1; }
  done
  sums=$(sha256sum "$work"/{old,new}."$method"/model.safetensors | cut -d ' ' -f 1 | uniq)
  if [ "$(wc -l <<<"$sums")" -eq 1 ] && cmp -s <(losses "$work/old.$method") <(losses "$work/new.$method"); then
    echo "$method: same ($sums)"
  else
    echo "$method: different"
    different=1
  fi
done
exit $different
