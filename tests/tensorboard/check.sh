#!/usr/bin/env bash
# check.sh PROGRAM FOLDER: the event files of `duet train --tensorboard` in TensorBoard's own reader. FOLDER: for a
# virtual environment, which is kept. Where the package cannot be had: skipped (77), a failure under CI.
set -euo pipefail
program=$1 folder=$2
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../virtual_environment.sh"
virtual_environment tensorboard "$here/requirements.txt" "$folder"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

duet() {
  "$program" "$@" >/dev/null 2>"$work/words" || {
    cat "$work/words" >&2
    exit 1
  }
}
train=(train --tensorboard --labels 0.1 --epochs 4 --log-every 5 --set hidden_units=32 --set evaluate_every_epochs=2)
duet "${train[@]}" --run "$work/whole"
duet "${train[@]}" --run "$work/resumed" --steps 40
duet train --resume "$work/resumed" --steps 0
duet train --method triplet --tensorboard --epochs 2 --run "$work/triplet"
for run in whole resumed triplet; do
  "$environment/bin/python" "$here/check.py" "$work/$run"
done
