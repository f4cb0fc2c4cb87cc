#!/usr/bin/env bash
# check.sh PROGRAM FEATURES FOLDER: models of several shapes by `duet export --onnx`, in onnxruntime, beside `duet
# embed`. FEATURES: the built-in digits' test split as files. FOLDER: for a virtual environment, which is kept. Where
# the packages cannot be had: skipped (77), a failure under CI.
set -euo pipefail
program=$1 features=$2 folder=$3
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../virtual_environment.sh"
virtual_environment onnx "$here/requirements.txt" "$folder"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

check() {
  local name=$1
  shift
  echo "$name:"
  "$program" train --threads 2 --epochs 1 --run "$work/$name" "$@" >/dev/null 2>"$work/words" || {
    cat "$work/words" >&2
    exit 1
  }
  "$program" embed --run "$work/$name" --out "$work/$name.embeddings" >/dev/null 2>&1
  "$program" export --run "$work/$name" --onnx "$work/$name.onnx" >/dev/null
  "$environment/bin/python" "$here/check.py" "$work/$name.onnx" "$features" "$work/$name.embeddings"
}
check default
check gelu --set activation=gelu layer_norm=true hidden_units=48,32
check linear --set hidden_units= input_limit=0 --method label
check tanh --set activation=tanh scaling_a=norm scaling_v=none learn_temperature=true
