#!/usr/bin/env bash
# train.sh PROGRAM MPI: duet train on 1 to 4 ranks: the model of one process to the byte, runs that go on with another
# number of ranks, mistakes that one line names, a signal, and a rank that dies.
set -euo pipefail
program=$1 mpi=$2
. "$(dirname "$0")/launch.sh"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

fail() {
  echo "FAILED: $1"
  cat errors.txt 2>/dev/null || true
  exit 1
}
on() { (launch "$@"); }  # on RANKS COMMAND...
same() { cmp "$1/model.safetensors" "$2/model.safetensors" || fail "$2 is another model than $1"; }
numbers() { sed 's/ [0-9.]*$//; /written to/d' "$1"; }  # a table without times

options=(--labels 0.1 --set layer_norm=true decorrelation_weight=0.25 validation=0.1)
"$program" train --quiet "${options[@]}" --epochs 3 --run one >one.txt
"$program" train --quiet "${options[@]}" --epochs 3 --steps 15 --run parted >/dev/null
for ranks in 1 2 3 4; do
  on "$ranks" "$program" train --quiet "${options[@]}" --epochs 3 --run "on$ranks" >"on$ranks.txt" 2>errors.txt ||
    fail "$ranks ranks: exit code $?"
  same one "on$ranks"
  [ "$(numbers one.txt)" = "$(numbers "on$ranks.txt")" ] || fail "$ranks ranks print another table than one process"
  cmp <(sed 's/"seconds":[^,]*//' one/metrics.jsonl) <(sed 's/"seconds":[^,]*//' "on$ranks/metrics.jsonl") ||
    fail "$ranks ranks log other numbers than one process"
done
echo "1, 2, 3 and 4 ranks have the bits of one process"

on 3 "$program" train --quiet "${options[@]}" --epochs 3 --steps 0 --resume parted >/dev/null 2>errors.txt || fail "no resuming"
same one parted
on 4 "$program" train --quiet "${options[@]}" --epochs 3 --steps 15 --run back >/dev/null 2>errors.txt || fail "no training"
"$program" train --quiet "${options[@]}" --epochs 3 --steps 0 --resume back >/dev/null
same one back
echo "a run goes on with the same bits on another number of ranks"

refused() {  # refused CODE LINE COMMAND...: on 3 ranks
  local expected=$1 line=$2 code=0
  shift 2
  on 3 "$@" >/dev/null 2>errors.txt || code=$?
  [ "$code" = "$expected" ] || fail "'$*' exits with $code, not $expected"
  [ "$(grep -c '^duet: ' errors.txt)" = 1 ] || fail "'$*' says more or less than one line"
  grep -q "^duet: $line" errors.txt || fail "'$*' does not say '$line'"
}
refused 2 'The following argument was not expected' "$program" train --epochz=3
refused 2 'nowhere/train: No such file' "$program" train --data nowhere
refused 2 'one: the run directory is not empty' "$program" train --run one
refused 2 'eval: one process does it' "$program" eval --run one
refused 1 'step 2: ' "$program" train --set learning_rate=1e30 teacher_momentum=0
# Each rank with options of its own.
cat >each.sh <<'EACH'
rank=${OMPI_COMM_WORLD_RANK:-$PMI_RANK}
[ "$rank" = 1 ] && set -- "$@" --seed 5
exec "$@"
EACH
refused 2 'rank 1: seed: 5, and 0 on rank 0' bash each.sh "$program" train --epochs 1
echo "mistakes are one line"

# A signal to the launcher reaches every rank: the run is saved, and goes on.
on 3 "$program" train --quiet "${options[@]}" --epochs 3000 --run stopped >/dev/null 2>errors.txt &
for _ in $(seq 300); do
  [ -e stopped/config.json ] && [ "$(wc -l <stopped/metrics.jsonl)" -gt 3 ] && break
  sleep 0.1
done
pkill -TERM -P $! -f "$launcher" || kill -TERM $!
wait $! && fail "exit code 0 after a signal"
"$program" train --quiet "${options[@]}" --epochs 3000 --set steps=$(($(sed -n '$s/.*"step":\([0-9]*\).*/\1/p' \
  stopped/metrics.jsonl) + 300)) --resume stopped >/dev/null || fail "a run that a signal ended does not go on"
echo "a run that a signal ended goes on"

# A rank that is killed ends the job; the last checkpoint is whole.
on 3 "$program" train --quiet "${options[@]}" --epochs 3000 --set checkpoint_every_steps=20 --run killed >/dev/null \
  2>errors.txt &
job=$!
for _ in $(seq 300); do
  [ -e killed/config.json ] && [ "$(wc -l <killed/metrics.jsonl)" -gt 3 ] && break
  sleep 0.1
done
started=$SECONDS
pkill -KILL -n -f "$program train .* --run killed" || fail "no rank to kill"
wait "$job" && fail "exit code 0 without a rank"
[ $((SECONDS - started)) -le 30 ] || fail "the job took more than 30 s to end"
"$program" train --quiet "${options[@]}" --epochs 3000 --set checkpoint_every_steps=20 steps=$(($(sed -n \
  '$s/.*"step":\([0-9]*\).*/\1/p' killed/metrics.jsonl) + 300)) --resume killed >/dev/null ||
  fail "a run that lost a rank does not go on"
echo "a run that lost a rank goes on"
