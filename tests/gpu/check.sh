#!/usr/bin/env bash
# check.sh [--emulated] [--only OPERATION] BUILD OUTPUT: runs everything that a GPU can tell of the kernels in BUILD, and writes one JSON into the folder
# OUTPUT: every operation's tests, the PTX instructions against the emulator's model, the lines that the goals name (goals.h), every operation's
# benchmarks, then memcheck and racecheck while time is left.
# --emulated: the same steps with the emulator as the device, but the sanitizers, so that this script has been run before a GPU sees it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
started=${DUET_GPU_CHECK_STARTED:-$(date +%s)}
emulated= only=
while [[ ${1:-} == --* ]]; do
  case $1 in
    --emulated) emulated=yes ;;
    --only) only=$2 && shift ;;
    *) echo "check.sh: unknown option $1" >&2 && exit 2 ;;
  esac
  shift
done
build=$(realpath "$1") output=$2
if [ -n "$emulated" ]; then
  tests=$build/duet_emulated_tests conformance=$build/duet_simt_tests bench=$build/duet_emulated_bench report=$build/duet_emulated_gpu_report
else
  tests=$build/duet_cuda_tests conformance=$build/duet_conformance_tests bench=$build/duet-bench report=$build/duet_gpu_report
fi
work=$build/gpu_check${only:+.$only}
rm -rf "$work"
mkdir -p "$work" "$output"
: >"$work/results.tsv"

# The whole command has 8 minutes. Estimated for an H200 beside 16 cores, in seconds: the build 90 (one file of kernels is up to 60, they are compiled
# side by side); tests 60; the goals 90 (14 processes that start in 2.5 and draw their inputs on the host, 2 to 9 s at the largest shapes, and a second
# or two of calls; at 262144 a pass of distillation is 6 x 0.45 in tf32x3, three times, 25 in all); the benchmarks of 17 operations at 4096 5 each, 85.
# So the sanitizers begin at 325; what has not begun by 400 is not begun, and nothing goes on past 470.
last_start=$((started + 400)) last_end=$((started + 470))

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
  printf '%s\t%s\t%s\t%s\t%s\n' "$kind" "$name" "$status" "$(awk -v a="$begun" -v b="$(date +%s.%N)" 'BEGIN { printf "%.1f", b - a }')" "$log" >>"$work/results.tsv"
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
  nvidia-smi --query-gpu=name,driver_version,clocks.sm,clocks.max.sm,clocks.mem,clocks.max.mem,power.limit,memory.total --format=csv >"$work/nvidia-smi" 2>/dev/null || true
  "$report" "$work" "$output" "$(git describe --always --dirty 2>/dev/null || echo unknown)" "$(($(date +%s) - started))"
}
trap 'wait' EXIT

operations=()
for file in kernels/*/*_cuda.cu; do
  operation=${file#kernels/}
  operations+=("${operation%%/*}")
done
mapfile -t operations < <(printf '%s\n' "${operations[@]}" | sort -u)
if [ -n "$only" ]; then operations=("$only"); fi

cores=$(nproc)
several=$((cores < 8 ? (cores + 1) / 2 : 6))
for operation in "${operations[@]}" bad_input; do beside $several test "$operation" 120 "$tests" "--source-file=*/kernels/${operation}*_test.cpp"; done
beside $several conformance "every PTX instruction" 60 "$conformance" '--test-case=every PTX instruction*'
wait

# The lines of the goals; then every operation, at a batch of 4096.
benchmark() {
  local kind=$1 name=$2
  shift 2
  step "$kind" "$name" 90 "$bench" --device cuda --json "$@"
}
while IFS=$'\t' read -r name arguments; do
  read -ra words <<<"$arguments"
  benchmark goal "$name" "${words[@]}" </dev/null
done < <("$report" --goals)
if [ -n "$emulated" ]; then
  for operation in "${operations[@]}"; do
    benchmark benchmark "$operation" --operation "$operation" --n 37 --m 29 --d 11 --classes 3 --repeat 1
  done
else
  for operation in "${operations[@]}"; do benchmark benchmark "$operation" --operation "$operation" --n 4096 --m 4096 --d 256 --classes 64; done
fi

sanitizer=
for candidate in compute-sanitizer "$(dirname "$(command -v nvcc || echo /usr/local/cuda/bin/nvcc)")/compute-sanitizer" /usr/local/cuda/bin/compute-sanitizer \
                 /usr/local/cuda/compute-sanitizer/compute-sanitizer; do
  if [ -z "$emulated" ] && command -v "$candidate" >/dev/null; then
    sanitizer=$candidate
    break
  fi
done
# A tile and a bit of the next: every path of a kernel, at a price that the sanitizers leave affordable. An error of the API may be a test's own.
for tool in memcheck racecheck; do
  for operation in "${operations[@]}"; do
    if [ -z "$sanitizer" ]; then
      step $tool "$operation" 1 sh -c 'echo "no compute-sanitizer here"; exit 77'
    else
      beside $several $tool "$operation" 150 env DUET_TEST_EXACT=1 DUET_TEST_OPERATIONS=2000000 "$sanitizer" --tool $tool --error-exitcode 99 --print-limit 20 \
             --report-api-errors no "$tests" "--source-file=*/kernels/${operation}*_test.cpp"
    fi
  done
done
finish
