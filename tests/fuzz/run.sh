#!/usr/bin/env bash
# run.sh PROGRAM FORMAT: fuzzes one reader for DUET_FUZZ_SECONDS (30) from a few valid files of its format. A crash, a
# hang or undefined behaviour fails, and the last line is the command that repeats it. Exits 77, "skipped", where there
# is no program because clang or its fuzzer is missing; where CI is set that fails.
# The seed is fixed: one program draws the same inputs in the same order, as many as the time allows, so that what fails
# is what changed. Where DUET_FUZZ_SECONDS is set it is a search, with a seed of the clock.
set -euo pipefail

program=$1 format=$2 seconds=${DUET_FUZZ_SECONDS:-30}
seed=$([ -n "${DUET_FUZZ_SECONDS:-}" ] && echo 0 || echo 1)  # 0: of the clock
if [ ! -x "$program" ]; then
  [ "${CI:-false}" = false ] || { echo "failed: no clang with libFuzzer, and under CI every test must run"; exit 1; }
  echo "skipped: no clang with libFuzzer"
  exit 77
fi
kept=$(dirname "$program")/found
files=$(cd "$(dirname "${BASH_SOURCE[0]}")/../data/files" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/seeds" "$kept"

# npy NAME HEADER VALUES: a file of version 1; HEADER padded to 118 bytes.
npy() {
  printf '\x93NUMPY\x01\x00\x76\x00%-117s\n' "$2" >"$work/seeds/$1"
  printf "$3" >>"$work/seeds/$1"
}
# safetensors NAME HEADER DATA: a header of fewer than 256 bytes.
safetensors() {
  printf "\\x$(printf %02x ${#2})\\x00\\x00\\x00\\x00\\x00\\x00\\x00%s$3" "$2" >"$work/seeds/$1"
}

case $format in
  npy)
    npy f4 "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 1), }" '\x00\x00\x80\x3f\x00\x00\x00\x40'
    npy f8 "{'descr': '<f8', 'fortran_order': True, 'shape': (1, 1), }" '\x00\x00\x00\x00\x00\x00\xf0\x3f'
    npy f2 "{'descr': '<f2', 'fortran_order': False, 'shape': (1, 2), }" '\x00\x3c\x01\x00'
    npy u1 "{'descr': '|u1', 'fortran_order': False, 'shape': (3,), }" '\x00\x01\x02'
    npy i4 "{'descr': '<i4', 'fortran_order': False, 'shape': (1,), }" '\xff\xff\xff\xff'
    npy i8 "{'descr': '<i8', 'fortran_order': False, 'shape': (1,), }" '\x07\x00\x00\x00\x00\x00\x00\x00'
    npy be "{'descr': '>f4', 'fortran_order': False, 'shape': (1, 2, 1), }" '\x3f\x80\x00\x00\x40\x00\x00\x00'
    npy u "{'descr': '<U1', 'fortran_order': False, 'shape': (2,), }" 'a\x00\x00\x00\xe9\x00\x00\x00'
    npy s "{'descr': '|S2', 'fortran_order': False, 'shape': (2, 1), }" 'abc\x00'
    words=("'descr'" "'fortran_order'" "'shape'" True False '(' ',)' "'<f4'" "'<f8'" "'|u1'" "'<i8'" "'>f8'"
      "'|b1'" "'<U2'" "'|S3'" "[('a', '<f4')]")
    ;;
  npz)
    cp "$files"/*.npz "$work/seeds"
    words=('PK\x01\x02' 'PK\x03\x04' 'PK\x05\x06' 'PK\x06\x06' 'PK\x06\x07' '\xff\xff\xff\xff' '.npy' '../')
    ;;
  tables)
    printf '\x00id,label\n1,dog\n0,"a ""b"""\n' >"$work/seeds/csv"
    printf '\x03a\nb\n\x00id\tlabel\nb\t-1\na\t7\n' >"$work/seeds/tsv_of_ids"
    printf '\x04audio_train\ntest/audio\nlab.val\n' >"$work/seeds/parts"
    printf '\x04audio_feat\nLabel_ID\nTrain_test\ntrain_order\ntest_order\n' >"$work/seeds/all_rows"
    printf '\x06audio/train=/a\nlabels/test=b\n\x00a\nb\n' >"$work/seeds/map"
    words=('id' 'label' 'train' 'test' '_order' 'Split' 'Label_ID' '_feat' '/train=' '"' '\x0d\x0a' '\xef\xbb\xbf')
    ;;
  safetensors)
    safetensors one '{"w":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]}}' '\x00\x00\x80\x3f\x00\x00\x00\x40'
    tensors='"x":{"dtype":"I64","shape":[],"data_offsets":[0,8]},"y":{"dtype":"I32","shape":[0],"data_offsets":[8,8]}'
    safetensors two '{"__metadata__":{"a":"b"},'"$tensors}" '12345678'
    safetensors wide '{"s":{"dtype":"F64","shape":[1,2],"data_offsets":[0,16]}}' \
      '\x00\x00\x00\x00\x00\x00\xf0\x3f\x00\x00\x00\x00\x00\x00\x00\x40'
    words=('"dtype"' '"shape"' '"data_offsets"' '"__metadata__"' '"F32"' '"F64"' '"I32"' '"I64"' '[0,8]' '[]')
    ;;
  config)
    {
      printf '{"method": "psd", "epochs": 4, "learning_rate": 1e-3, "hidden_units": [16, 16], '
      printf '"modalities": ["a", "v"], "lift": true}'
    } >"$work/seeds/typical"
    printf '{"seed": null, "margin": [[[[1]]]], "labels": 1e400}' >"$work/seeds/refused"
    printf 'hidden_units=16,16' >"$work/seeds/assignment"
    printf '{}' >"$work/seeds/empty"
    words=('"seed"' '"threads"' '"steps"' '"batch_size"' '"optimizer"' '"schedule"' '"optimizer_eps"' '"mining"'
      '"input_limit"' '"beta1"' '"data"' 1e400 -1 null true '\\u0000')
    ;;
  checkpoint)
    printf '\x00{"format": 1, "file": "7", "bytes": 0, "xxh64": "ef46db3751d8e999", "best": 3}' >"$work/seeds/manifest"
    run='{\"step\":7,\"updates\":7,\"epoch\":0,\"batch\":1,\"changes\":7,\"seconds\":0.5,\"metrics_bytes\":9,'
    run+='\"machine\":{},\"data\":{}}'
    header='{"__metadata__":{"config":"{}","run":"'$run'"},"run.concord":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    printf "\\x01\\x$(printf %02x $((${#header} % 256)))\\x$(printf %02x $((${#header} / 256)))\\0\\0\\0\\0\\0\\0" \
      >"$work/seeds/tensors"
    printf '%s\x00\x00\x80\x3f' "$header" >>"$work/seeds/tensors"
    words=('"format"' '"bytes"' '"xxh64"' '"best"' '"run"' '"config"' 'run.class_frequencies' 'run.rates' 'run.losses'
      '"F32"' '"F64"')
    ;;
  *) echo "run.sh: unknown format '$format'" >&2; exit 2 ;;
esac
printf '"%s"\n' "${words[@]//\"/\\\"}" >"$work/words"

if ! "$program" -seed="$seed" -max_total_time="$seconds" -max_len=4096 -timeout=10 -rss_limit_mb=2048 \
  -print_final_stats=1 -dict="$work/words" -artifact_prefix="$kept/" "$work/seeds" >"$work/log" 2>&1; then
  tail -n 60 "$work/log"
  echo "repeat with: $program $(sed -n 's/^.*Test unit written to //p' "$work/log" | tail -n 1)"
  exit 1
fi
grep -E '^stat::number_of_executed_units' "$work/log"
