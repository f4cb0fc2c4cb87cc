#!/usr/bin/env bash
# Trains the cells of docs/METHOD.md's "Known answers" and compares by the rule under that table: over at least 5 seeds,
# |difference of means| <= 2 sqrt(s1^2/n1 + s2^2/n2) + 0.01. Prints a Markdown table; exits 1 where a cell does not
# agree.
set -euo pipefail

usage() {
  cat <<'TEXT'
usage: known_answers.sh DUET [--data-sets avdigits,wikipedia] [--labels 1,0.3,0.1,0.03]
                        [--methods label,triplet,contrastive,psd] [--seeds 5] [--jobs N] [--least-gap G]
  DUET         the program to run; the data sets lie in $DUET_SHARED_DIR/data (default: ../shared from the project's
               root)
  --labels     label shares; a share that the table does not have for a data set is passed over
  --least-gap  also require that psd is at least G above triplet in every cell run
TEXT
}

# data set, modalities, scaling, labelled share, then mean and deviation (10 seeds) of label, triplet, contrastive, psd
answers='
avdigits audio,visual zscore 1 0.924 0.006 0.926 0.005 0.820 0.006 0.927 0.006
avdigits audio,visual zscore 0.1 0.762 0.027 0.742 0.019 0.796 0.014 0.913 0.005
avdigits audio,visual zscore 0.03 0.547 0.030 0.509 0.028 0.768 0.015 0.910 0.006
wikipedia image,text norm 1 0.258 0.006 0.262 0.009 0.199 0.004 0.269 0.010
wikipedia image,text norm 0.3 0.232 0.012 0.227 0.011 0.179 0.003 0.264 0.004
wikipedia image,text norm 0.1 0.201 0.009 0.199 0.008 0.165 0.003 0.263 0.007
wikipedia image,text norm 0.03 0.171 0.010 0.170 0.011 0.154 0.002 0.244 0.009
'
reference_seeds=10
methods_in_order=(label triplet contrastive psd)

[ $# -ge 1 ] && [ "$1" != --help ] || { usage; exit 0; }
duet=$(realpath "$1")
shift
data_sets=avdigits,wikipedia labels=1,0.3,0.1,0.03 methods=label,triplet,contrastive,psd
seeds=5 jobs=$(nproc) least_gap=
while [ $# -gt 0 ]; do
  case $1 in
    --data-sets) data_sets=$2 ;;
    --labels) labels=$2 ;;
    --methods) methods=$2 ;;
    --seeds) seeds=$2 ;;
    --jobs) jobs=$2 ;;
    --least-gap) least_gap=$2 ;;
    *) usage >&2; exit 2 ;;
  esac
  shift 2
done

shared=${DUET_SHARED_DIR:-$(dirname "${BASH_SOURCE[0]}")/../../shared}
if [ ! -d "$shared/data" ]; then
  if [ "${CI:-false}" != false ]; then
    echo "no data sets at $shared/data, and under CI every test must run (set DUET_SHARED_DIR)"
    exit 1
  fi
  echo "skipped: no data sets at $shared/data (set DUET_SHARED_DIR)"
  exit 77
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# one_run DATA_SET MODALITIES SCALING SHARE METHOD SEED: trains, scores, leaves "mean" in a file named after the cell.
one_run() {
  local cell="$work/$1 $4 $5" run="$work/run $1 $4 $5 $6"
  "$duet" train --data "$shared/data/$1" --modalities "$2" \
    --set "scaling_a=$3" "scaling_v=$3" --labels "$4" --method "$5" --seed "$6" --threads 1 \
    --run "$run" >"$run.log" 2>&1 || { cat "$run.log" >&2; return 1; }
  # The object begins with the "map" of all queries; those of classes come behind it.
  "$duet" eval --run "$run" --data "$shared/data/$1" --draws 0 --json |
    tr -d ' \n' | sed -E 's/^\{"map":\{[^}]*"mean":([0-9.eE+-]+).*/\1/' >"$run.map"
  echo "$6 $(cat "$run.map")" >>"$cell"
  rm -rf "$run"
}
export -f one_run
export duet shared work

chosen() { [[ ",$2," == *",$1,"* ]]; }
while read -r data_set modalities scaling share _; do
  [ -n "$data_set" ] && chosen "$data_set" "$data_sets" && chosen "$share" "$labels" || continue
  for method in "${methods_in_order[@]}"; do
    chosen "$method" "$methods" || continue
    for ((seed = 0; seed < seeds; ++seed)); do
      printf '%s %s %s %s %s %s\n' "$data_set" "$modalities" "$scaling" "$share" "$method" "$seed"
    done
  done
done <<<"$answers" >"$work/jobs"
[ -s "$work/jobs" ] || { echo "known_answers.sh: no such cell" >&2; exit 2; }
xargs -P "$jobs" -L 1 bash -c 'one_run "$@"' one_run <"$work/jobs"

printf '| data, labelled share | method | duet, %s seeds | expected, %s seeds | difference | allowed | |\n' \
  "$seeds" "$reference_seeds"
echo "| --- | --- | --- | --- | --- | --- | --- |"
while read -r data_set _ _ share numbers; do
  [ -n "$data_set" ] || continue
  read -r -a expected <<<"$numbers"
  for k in "${!methods_in_order[@]}"; do
    cell="$work/$data_set $share ${methods_in_order[k]}"
    [ -f "$cell" ] || continue
    awk -v name="$data_set $share" -v method="${methods_in_order[k]}" -v mean2="${expected[2 * k]}" \
      -v s2="${expected[2 * k + 1]}" -v n2="$reference_seeds" '
      { sum += $2; square += $2 * $2 }
      END {
        mean = sum / NR; spread = square - NR * mean * mean
        s = NR > 1 ? sqrt((spread > 0 ? spread : 0) / (NR - 1)) : 0
        off = mean - mean2; allowed = 2 * sqrt(s * s / NR + s2 * s2 / n2) + 0.01
        verdict = (off <= allowed && -off <= allowed) ? "agrees" : "DIFFERS"
        printf "| %s | %s | %.3f +- %.3f | %.3f +- %.3f | %+.3f | %.3f | %s |\n", name, method, mean, s,
               mean2, s2, off, allowed, verdict
      }' "$cell"
  done
done <<<"$answers" | tee "$work/table"

status=0
if grep -q DIFFERS "$work/table"; then status=1; fi
if [ -n "$least_gap" ]; then
  awk -F'|' -v least="$least_gap" '
    { split($4, value, " "); gsub(/ /, "", $3); mean[$2, $3] = value[1]; cells[$2] }
    END {
      for (cell in cells) {
        gap = mean[cell, "psd"] - mean[cell, "triplet"]
        printf "%s: psd is %.3f above triplet, at least %.3f wanted\n", cell, gap, least
        if (!(gap >= least)) failed = 1
      }
      exit failed
    }' "$work/table" || status=1
fi
exit $status
