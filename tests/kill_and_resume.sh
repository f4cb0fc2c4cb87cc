#!/usr/bin/env bash
# Ends training runs by kill -9 at random moments and resumes them, until so many kills have hit a running program. Each
# run must then end with the bytes of a run that was never interrupted: model.safetensors, best.safetensors, and
# metrics.jsonl but for its times.
set -euo pipefail

usage() { echo "usage: kill_and_resume.sh DUET KILLS [SEED]"; }

[ $# -ge 2 ] && [ "$1" != --help ] || { usage; exit 2; }
duet=$(realpath "$1") kills=$2
RANDOM=${3:-1}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# At most 6 epochs of 15 batches, each of which may find a best model; a checkpoint every third step, so that many kills
# fall into one.
train=("$duet" train --labels 0.5 --epochs 6 --threads 1 --log-every 1 --set hidden_units=32 --set embedding_dim=16
       --set checkpoint_every_steps=3 --validation 0.1 --set patience=2)

fail() {
  echo "FAILED: $1"
  cat "$work/log"
  exit 1
}

without_times() { sed 's/"seconds":[^,]*,//' "$1"; }

start=$(date +%s%N)
"${train[@]}" --run "$work/whole" > "$work/log" 2>&1 || fail "the run that nobody interrupts"
milliseconds=$((($(date +%s%N) - start) / 1000000))
without_times "$work/whole/metrics.jsonl" > "$work/expected"

killed=0 runs=0 before=0
while [ "$killed" -lt "$kills" ]; do
  runs=$((runs + 1))
  run=$work/run$runs
  command=("${train[@]}" --run "$run")
  while true; do
    "${command[@]}" > "$work/log" 2>&1 &
    pid=$!
    if [ "$killed" -lt "$kills" ]; then
      after=$((RANDOM * milliseconds / 32768))
      sleep "$((after / 1000)).$(printf '%03d' $((after % 1000)))"
      if kill -9 "$pid" 2> /dev/null; then :; fi
    fi
    code=0
    wait "$pid" 2> /dev/null || code=$?
    if [ "$code" = 0 ]; then
      break
    elif [ "$code" = 137 ]; then
      killed=$((killed + 1))
      command=("$duet" train --resume "$run" --threads 1)
    elif [ "$code" = 2 ] && grep -q "none has begun here" "$work/log"; then
      before=$((before + 1))
      command=("${train[@]}" --run "$run")
    else
      fail "a run that was killed ends with $code"
    fi
  done
  cmp "$run/model.safetensors" "$work/whole/model.safetensors" || fail "the weights are others"
  cmp "$run/best.safetensors" "$work/whole/best.safetensors" || fail "the best model is another"
  without_times "$run/metrics.jsonl" | cmp - "$work/expected" || fail "the metrics are others"
  [ -z "$(find "$run" -name '*.part')" ] || fail "a half-written file is left"
  # Two checkpoints are kept, each of two files, and their best models that another one has taken the place of.
  [ "$(find "$run/checkpoints" -type f -name 'step-*' | wc -l)" = 4 ] || fail "checkpoints: $(ls "$run/checkpoints")"
  [ "$(find "$run/checkpoints" -type f | wc -l)" -le 6 ] || fail "checkpoints: $(ls "$run/checkpoints")"
  rm -rf "$run"
done
echo "$killed kills, $before of them before a run had begun, $runs runs: each ended with the same bytes"
