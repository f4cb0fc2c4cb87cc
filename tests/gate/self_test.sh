#!/bin/sh
# What the gate must refuse, on a made-up kernel: lost and unlisted tensor cores, unlisted dynamic shared memory, more
# of it than a target gives, rows for kernels that are gone.
# With NVCC as the argument also that the log of a kernel that spills says so.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/a.cu.files"
plain=_ZN4duet4cuda5tilesIL14duet_precision3EEEvi
write_kernel() { # BODY [SPILLED]
  printf '.visible .entry %s(\n)\n.maxntid 256, 1, 1\n{\n%s\n}\n' "$plain" "$1" >"$work/a.cu.files/a.ptx"
  for target in sm_80 sm_86 sm_90a sm_120; do
    printf "ptxas info    : Compiling entry function '%s' for '%s'\n" "$plain" "$target"
    printf "    0 bytes stack frame, ${2:-0} bytes spill stores, 0 bytes spill loads\n"
    printf "ptxas info    : Used 128 registers, used 1 barriers, 1024 bytes smem\n"
  done >"$work/a.cu.log"
}
table() { # PLAN
  printf '%s\n' "$1" >"$work/plan.txt"
  sh "$here/table.sh" "$work/plan.txt" "$work" "$work/table.md" "$work/a.cu.log" 2>"$work/said"
}
accepts() { table "$1" || { echo "refused: $1"; cat "$work/said"; exit 1; }; }
refuses() { # PLAN TEXT
  if table "$1"; then echo "accepted: $1"; exit 1; fi
  grep -q "$2" "$work/said" || { echo "said nothing of: $2"; cat "$work/said"; exit 1; }
}

write_kernel 'add.f32 %f1, %f2, %f3;'
accepts ''
# 128 registers of 256 threads: two blocks, whatever the rest.
grep -q '| a.cu | tiles<bf16> | sm_90a | 128 | 1024 | 0 | 0 | 0 | 256 | 2 | 25 % |' "$work/table.md"
grep -q '| a.cu | tiles<bf16> | sm_86 | 128 | 1024 | 0 | 0 | 0 | 256 | 2 | 33 % |' "$work/table.md"
refuses 'tensor tiles' 'holds no mma of bf16'
refuses 'tensor other' 'no kernel other'
refuses 'shared tiles 1024' 'it has none'

write_kernel 'mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%f1}; mov.b32 %r1, duet_dynamic_shared_memory;'
refuses 'shared tiles 1024' 'say "tensor tiles"'
write_kernel 'mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%f1}; mov.b32 %r1, duet_dynamic_shared_memory;'
refuses 'tensor tiles' 'say "shared tiles BYTES"'
accepts 'tensor tiles
shared tiles 65536
shared tiles<bf16 -/131072/196608'
grep -q 'sm_80 .* | 131072 | 0 | 0 | 256 | 1 | 12 % | bf16 |' "$work/table.md"
grep -q 'sm_90a .* | 196608 | 0 | 0 | 256 | 1 | 12 % | bf16 |' "$work/table.md"
grep -q 'sm_120 .* | - | 0 | 0 | 256 | - | - | bf16 |' "$work/table.md"
refuses 'tensor tiles
shared tiles 131072' 'for sm_86: takes 132096 bytes of shared memory, a block may have 101376'
refuses 'tensor tiles
shared tiles 65536/131072' 'expected one number of bytes or 3'

write_kernel 'add.f32 %f1, %f2, %f3;' 8
refuses '' 'spills 8 bytes, plan.txt says 0'
for bytes in 4 8; do printf 'spills tiles<bf16> %s '$bytes'\n' sm_80 sm_86 sm_90a sm_120 >"$work/spills.$bytes"; done
refuses "$(cat "$work/spills.4")" 'spills 8 bytes, plan.txt says 4'
accepts "$(cat "$work/spills.8")"
refuses 'spills other<bf16> sm_120 4' 'no kernel other<bf16>'

if [ $# -gt 0 ]; then
  cat >"$work/spills.cu" <<'CU'
__global__ void __launch_bounds__(1024) spills(float* values) {
  float kept[96];
#pragma unroll
  for (int k = 0; k < 96; ++k) kept[k] = values[k * 1024 + threadIdx.x];
  __syncthreads();
#pragma unroll
  for (int k = 0; k < 96; ++k) values[k * 1024 + threadIdx.x] = kept[k] * kept[(5 * k + 1) % 96];
}
CU
  cmake -DNVCC="$1" -DCXX=c++ -DROOT="$work" -DSOURCE="$work/spills.cu" -DLOG="$work/spills.cu.log" \
    -P "$here/compile.cmake"
  grep -q '[1-9][0-9]* bytes spill stores' "$work/spills.cu.log"
fi
