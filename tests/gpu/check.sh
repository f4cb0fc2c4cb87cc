#!/usr/bin/env bash
# check.sh [--emulated] [--quick] [--only OPERATION] BUILD OUTPUT: runs everything that a GPU can tell of the kernels in
# BUILD, and writes one JSON into the folder OUTPUT: every operation's tests, the PTX instructions against the model of
# the emulator, duet.torch's tests on the device (where python3 has PyTorch and pytest), the lines that the goals name
# (goals.h), every operation's benchmarks, training steps beside PyTorch's (where python3 has it), then memcheck and
# racecheck while time is left. Where there is a python3, the JSON as a page too.
# --quick: without PyTorch's training steps, the goals of memory and the sanitizers, in some 3 minutes.
# DUET_COMMIT: what is tested, where the tree is no checkout.
# --emulated: the same steps with the emulator as the device, but the sanitizers, so that this script has been run
# before a GPU sees it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
started=${DUET_GPU_CHECK_STARTED:-$(date +%s)}
emulated= quick= only=
while [[ ${1:-} == --* ]]; do
  case $1 in
    --emulated) emulated=yes ;;
    --quick) quick=yes ;;
    --only) only=$2 && shift ;;
    *) echo "check.sh: unknown option $1" >&2 && exit 2 ;;
  esac
  shift
done
build=$(realpath "$1") output=$2
if [ -n "$emulated" ]; then
  tests=$build/duet_emulated_tests conformance=$build/duet_simt_tests bench=$build/duet_emulated_bench
  report=$build/duet_emulated_gpu_report duet=$build/emulated/duet
else
  tests=$build/duet_cuda_tests conformance=$build/duet_conformance_tests bench=$build/duet-bench
  report=$build/duet_gpu_report duet=$build/duet
fi
work=$build/gpu_check${only:+.$only}
rm -rf "$work"
mkdir -p "$work" "$output"
: >"$work/results.tsv"

# The whole command has 9 minutes. Estimated for an H200 beside 16 cores, in seconds: the build 100 (one file of kernels
# is up to 60, they are compiled side by side); tests 60, of them duet.torch's 45, while PyTorch compiles what is timed
# later; the goals 90 (14 processes that start in 2.5 and draw their inputs on the host, 2 to 9 s at the largest shapes,
# and a second or two of calls; at 262144 a pass of distillation is 6 x 0.45 in tf32x3, three times, 25 in all); the
# benchmarks of 18 operations at 4096 5 each, 90; training 105, at most 150: duet's three batches 5 each, its program
# 15, the check 15, PyTorch's four modes 15 each of what is compiled. So the sanitizers begin at 445; what has not begun
# by 480 is not begun, and nothing goes on past 530.
last_start=$((started + 480)) last_end=$((started + 530)) training_seconds=150

# step KIND NAME SECONDS COMMAND...: runs it and notes how it ended; what it says goes to a log.
step() {
  local kind=$1 name=$2 limit=$3 log status begun left
  shift 3
  left=$((last_end - $(date +%s)))
  if [ $left -lt "$limit" ]; then limit=$((left > 0 ? left : 1)); fi
  log=$work/$kind.${name//[^A-Za-z0-9_.-]/_}.log
  begun=$(date +%s.%N)
  if [ "$(date +%s)" -gt $last_start ]; then
    echo "not begun: out of time" >"$log"
    status=failed
  elif timeout -k 5 "$limit" "$@" >"$log" 2>&1; then
    status=passed
  else
    case $? in
      77) status=skipped ;;
      124 | 137) status=failed && echo "stopped after $limit s" >>"$log" ;;
      *) status=failed ;;
    esac
  fi
  # A runtime that does not let sanitizers in is no defect of a kernel.
  if [ "$kind" != test ] && grep -q "Device not supported" "$log"; then status=skipped; fi
  printf '%s\t%s\t%s\t%s\t%s\n' "$kind" "$name" "$status" \
    "$(awk -v a="$begun" -v b="$(date +%s.%N)" 'BEGIN { printf "%.1f", b - a }')" "$log" >>"$work/results.tsv"
  printf '%-8s %-12s %s\n' "$status" "$kind" "$name" >&2
}
# In the background, at most so many at a time.
beside() {
  while [ "$(jobs -rp | wc -l)" -ge "$1" ]; do wait -n || true; done
  shift
  step "$@" &
}

finish() {
  wait
  local fields=name,driver_version,clocks.sm,clocks.max.sm,clocks.mem,clocks.max.mem,power.limit,memory.total
  nvidia-smi --query-gpu=$fields --format=csv >"$work/nvidia-smi" 2>/dev/null || true
  local status=0 file
  "$report" "$work" "$output" "${DUET_COMMIT:-$(git describe --always --dirty 2>/dev/null || echo unknown)}" \
    "$(($(date +%s) - started))" || status=$?
  if command -v "$python" >/dev/null; then  # the same as a page to read
    file=$(find "$output" -name '*.json' -newer "$work/results.tsv" | head -n 1)
    [ -z "$file" ] || "$python" -S bench/gpu_page.py "$file"
  fi
  return $status
}
trap 'wait' EXIT

operations=()
for file in kernels/*/*_cuda.cu; do
  operation=${file#kernels/}
  operations+=("${operation%%/*}")
done
mapfile -t operations < <(printf '%s\n' "${operations[@]}" | sort -u)
if [ -n "$only" ]; then operations=("$only"); fi

python=python3
if [ -x .venv/bin/python ]; then python=.venv/bin/python; fi
export TORCHINDUCTOR_CACHE_DIR=$build/inductor
rates() {
  if ! command -v "$python" >/dev/null; then echo "no $python here" && exit 77; fi
  "$python" ${emulated:+-S} bench/peers/step_rates.py "$@"  # -S: no PyTorch
}
export -f rates
export python emulated

cores=$(nproc)
several=$((cores < 8 ? (cores + 1) / 2 : 6))
[ -n "$quick" ] || step warming PyTorch 100 bash -c 'rates --warm --modes compiled --seconds 0 --budget 90' &
for operation in "${operations[@]}" bad_input; do
  beside $several test "$operation" 120 "$tests" "--source-file=*/kernels/${operation}*_test.cpp"
done
beside $several conformance "every PTX instruction" 60 "$conformance" '--test-case=every PTX instruction*'
of_torch() {
  if ! "$python" ${emulated:+-S} -c 'import torch, pytest' 2>/dev/null; then
    echo "no PyTorch or pytest here" && exit 77
  fi
  cd tests/torch
  DUET_TEST_DEVICE=cuda PYTHONPATH=$build/python PYTHONDONTWRITEBYTECODE=1 "$python" -m pytest -q -p no:cacheprovider \
    --tb=short functional_test.py eager_test.py cuda_test.py
}
export -f of_torch
export build
beside $several torch "operators on the device" 120 bash -c of_torch
wait

# The lines of the goals; then every operation, at a batch of 4096.
benchmark() {
  local kind=$1 name=$2
  shift 2
  step "$kind" "$name" 90 "$bench" --device cuda --json "$@"
}
while IFS=$'\t' read -r name arguments; do
  read -ra words <<<"$arguments"
  if [ -n "$quick" ] && [[ $name == *262144* ]]; then
    step goal "$name" 1 sh -c 'echo "left out by --quick"; exit 77' </dev/null
    continue
  fi
  benchmark goal "$name" "${words[@]}" </dev/null
done < <("$report" --goals)
benchmarked=()
for operation in "${operations[@]}"; do
  if [ -e "bench/${operation}_bench.cpp" ]; then benchmarked+=("$operation"); fi
done
if [ -n "$emulated" ]; then
  for operation in "${benchmarked[@]}"; do
    benchmark benchmark "$operation" --operation "$operation" --n 37 --m 29 --d 11 --classes 3 --repeat 1
  done
else
  for operation in "${benchmarked[@]}"; do
    benchmark benchmark "$operation" --operation "$operation" --n 4096 --m 4096 --d 256 --classes 64
  done
fi

# Training: the program, a step's time, and PyTorch's beside it.
section_end=$(($(date +%s) + training_seconds))
left() {
  local seconds=$((section_end - $(date +%s)))
  echo $((seconds > 1 ? seconds : 1))
}
train() {
  local device=$1
  shift
  # shellcheck disable=SC2016
  step training "duet train, duet eval" "$(left)" sh -c 'duet=$1 device=$2 run=$3 && shift 3 &&
    "$duet" train --device "$device" --run "$run" "$@" &&
    "$duet" eval --device "$device" --run "$run"' \
    sh "$duet" "$device" "$work/run" --method psd --labels 0.1 --seed 3 "$@"
}
if [ -n "$emulated" ]; then
  train emulated --epochs 1 --steps 2 --set batch_size=16
  step training "duet, batch 128" "$(left)" "$bench" --device cuda --json --operation training_step \
    --variant psd --n 8 --classes 3 --repeat 1
  step training PyTorch "$(left)" bash -c 'rates'
  # In its place, so that the report has something to compare.
  for batch in 128 512 4096; do
    step training "in place of PyTorch, batch $batch" 5 printf '{"mode": "%s", "batch": %s, "%s": %s}\n' \
         eager $batch steps_per_s 2 graph $batch steps_per_s 4 compiled $batch failed '"over 60 s"'
  done
else
  train cuda --epochs 2 --steps 44
  for batch in 128 512 4096; do
    step training "duet, batch $batch" 30 "$bench" --device cuda --json --operation training_step \
      --variant psd --n $batch --classes 10
  done
  [ -n "$quick" ] ||
    step training PyTorch "$(left)" bash -c 'rates --device cuda --budget "$1" --duet "$2"' \
         bash $(($(left) - 10)) "$duet"
fi
if [ -n "$quick" ]; then
  finish
  exit
fi

sanitizer=
for candidate in compute-sanitizer \
                 "$(dirname "$(command -v nvcc || echo /usr/local/cuda/bin/nvcc)")/compute-sanitizer" \
                 /usr/local/cuda/bin/compute-sanitizer /usr/local/cuda/compute-sanitizer/compute-sanitizer; do
  if [ -z "$emulated" ] && command -v "$candidate" >/dev/null; then
    sanitizer=$candidate
    break
  fi
done
# A tile and a bit of the next: every path of a kernel, at a price that the sanitizers leave affordable. An error of the
# API may be a test's own.
for tool in memcheck racecheck; do
  for operation in "${operations[@]}"; do
    if [ -z "$sanitizer" ]; then
      step $tool "$operation" 1 sh -c 'echo "no compute-sanitizer here"; exit 77'
    else
      beside $several $tool "$operation" 150 env DUET_TEST_EXACT=1 DUET_TEST_OPERATIONS=2000000 \
             "$sanitizer" --tool $tool --error-exitcode 99 --print-limit 20 --report-api-errors no \
             "$tests" "--source-file=*/kernels/${operation}*_test.cpp"
    fi
  done
done
finish
