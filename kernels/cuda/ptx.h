// Every PTX instruction our kernels use beyond CUDA C++, one function each, with its emulation. Kernels hold no inline
// assembly.
// Fragments (group = lane / 4, quad = lane % 4), as the PTX manual numbers them:
//   m16n8k16 bf16   a[i] = A[group + 8 (i & 1)][2 quad + 8 (i >> 1) + {0, 1}]
//                   b[i] = B[2 quad + 8 i + {0, 1}][group], low half first
//   m16n8k8 tf32    a[i] = A[group + 8 (i & 1)][quad + 4 (i >> 1)], b[i] = B[quad + 4 i][group]
//   both            d[i] = D[group + 8 (i >> 1)][2 quad + (i & 1)]
//   ldmatrix_x4     matrix m's eight rows of eight 16-bit elements are at the addresses of lanes 8 m .. 8 m + 7;
//                   r[m] = M[group][2 quad + {0, 1}]
// They come from the include folder of nvcc (cuda/nvcc) or of the emulator (simt/include).
#pragma once

#include "device_instructions.h"
#include "kernels/cuda/launch.h"
