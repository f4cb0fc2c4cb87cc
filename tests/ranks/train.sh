#!/usr/bin/env bash
# train.sh PROGRAM MPI: duet train on 1 to 4 ranks: the model of one process to the byte, runs that go on with another
# number of ranks, mistakes that one line names, a signal, and a rank that dies.
set -euo pipefail
program=$1 mpi=$2
. "$(dirname "$0")/launch.sh"
work=$(mktemp -d)
job=
clean() {
  [ -z "$job" ] || kill -9 "$job" 2>/dev/null || true
  pkill -KILL -f -- "--run $work/" || true
  rm -rf "$work"
}
trap clean EXIT
cd "$work"

fail() {
  echo "FAILED: $1"
  cat errors.txt 2>/dev/null || true
  exit 1
}
on() { (launch "$@"); }  # on RANKS COMMAND...
same() { cmp "$1/model.safetensors" "$2/model.safetensors" || fail "$2 is another model than $1"; }
numbers() { sed 's/ [0-9.]*$//; s/  */ /g; /written to/d' "$1"; }  # a table without times
logged() { sed 's/"seconds":[^,]*//' "$1/metrics.jsonl"; }

# compare NAME ARGS...: on 1 to 4 ranks the bits of one process.
compare() {
  local name=$1 ranks
  shift
  "$program" train --quiet "$@" --run "$work/$name" >"$name.txt"
  for ranks in 1 2 3 4; do
    on "$ranks" "$program" train --quiet "$@" --run "$work/$name$ranks" >"$name$ranks.txt" 2>errors.txt ||
      fail "$name, $ranks ranks: exit code $?"
    same "$name" "$name$ranks"
    cmp <(numbers "$name.txt") <(numbers "$name$ranks.txt") || fail "$name, $ranks ranks: another table"
    cmp <(logged "$name") <(logged "$name$ranks") || fail "$name, $ranks ranks: another log"
  done
}
options=(--labels 0.1 --set layer_norm=true decorrelation_weight=0.25 validation=0.1)
compare one "${options[@]}" --epochs 3
compare patient "${options[@]}" --epochs 30 --set patience=2 evaluate_every_epochs=1 learning_rate=0.02
compare balanced --method contrastive --epochs 1 --init one/model.safetensors --set layer_norm=true sampler=balanced
echo "1, 2, 3 and 4 ranks have the bits of one process"

train=("$program" train --quiet "${options[@]}" --epochs 3)
"${train[@]}" --steps 15 --run "$work/parted" >/dev/null
on 3 "${train[@]}" --steps 0 --resume parted >/dev/null 2>errors.txt || fail "3 ranks do not go on"
same one parted
on 4 "${train[@]}" --steps 15 --run "$work/back" >/dev/null 2>errors.txt || fail "4 ranks do not train"
"${train[@]}" --steps 0 --resume back >/dev/null
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
# Rank 1 with more arguments, those before --.
cat >rank1.sh <<'EACH'
more=()
while [ "$1" != -- ]; do
  more+=("$1")
  shift
done
shift
[ "${OMPI_COMM_WORLD_RANK:-$PMI_RANK}" != 1 ] || set -- "$@" "${more[@]}"
exec "$@"
EACH
refused 2 'The following argument was not expected' "$program" train --epochz=3
refused 2 'nowhere/train: No such file' "$program" train --data nowhere
refused 2 "$work/one: the run directory is not empty" "$program" train --run "$work/one"
refused 2 'eval: one process does it' "$program" eval --run one
refused 2 'rank 1: seed: 5, and 0 on rank 0' bash rank1.sh --seed 5 -- "$program" train --epochs 1
refused 2 'rank 1: evaluate_every_epochs: 1, and 0 on rank 0' bash rank1.sh --set evaluate_every_epochs=1 -- \
  "$program" train --epochs 1
refused 2 'rank 1: .*nowhere.json' bash rank1.sh --config nowhere.json -- "$program" train --epochs 1
cat >init.sh <<'EACH'
[ "${OMPI_COMM_WORLD_RANK:-$PMI_RANK}" = 1 ] && model=balanced || model=one
exec "$@" --init $model/model.safetensors
EACH
refused 2 'rank 1: weights: ' bash init.sh "$program" train --epochs 1 --set layer_norm=true
refused 1 'step 2: the loss is nan' "$program" train --set learning_rate=1e30 teacher_momentum=0 --run "$work/broken"
[ -s broken/report.html ] || fail "a run that diverged has no page"
echo "mistakes are one line"

# begin NAME ARGS...: a long run on 3 ranks in the background, which has logged some epochs.
begin() {
  local name=$1
  shift
  (launch 3 "$program" train "${options[@]}" --epochs 3000 "$@" --run "$work/$name" >/dev/null 2>errors.txt) &
  job=$!
  for _ in $(seq 600); do
    [ -e "$name/config.json" ] && [ "$(wc -l <"$name/metrics.jsonl")" -gt 3 ] && return
    sleep 0.1
  done
  fail "$name: no epochs in 60 s"
}
last_step() { sed -n '$s/.*"step":\([0-9]*\).*/\1/p' "$1/metrics.jsonl"; }
# goes_on NAME LEAST ARGS...: one process goes on with it, from a step of LEAST or more.
goes_on() {
  local name=$1 least=$2 from
  shift 2
  "$program" train "${options[@]}" --epochs 3000 "$@" --steps $(($(last_step "$name") + 100)) --resume "$name" \
    >/dev/null 2>errors.txt || fail "$name does not go on"
  from=$(sed -n 's/^resumed after step \([0-9]*\)$/\1/p' errors.txt)
  [ "$from" -ge "$least" ] || fail "$name goes on from step $from, not $least or more"
}

# A signal to the launcher reaches every rank: the run is saved.
begin stopped
kill -TERM "$job"
wait "$job" && fail "exit code 0 after a signal"
job=
goes_on stopped "$(last_step stopped)"
echo "a run that a signal ended goes on"

# A rank that is killed ends the job; the last checkpoint is whole.
begin killed --set checkpoint_every_steps=20
started=$SECONDS
pkill -KILL -n -f -- "--run $work/killed" || fail "no rank to kill"
wait "$job" && fail "exit code 0 without a rank"
job=
[ $((SECONDS - started)) -le 30 ] || fail "the job took more than 30 s to end"
goes_on killed 20 --set checkpoint_every_steps=20
echo "a run that lost a rank goes on"
