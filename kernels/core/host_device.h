// DUET_HOST_DEVICE marks what CUDA kernels call as well as the CPU: the counting of random numbers, the address of a
// row.
#pragma once

#if defined(__CUDACC__)
#define DUET_HOST_DEVICE __host__ __device__
#else
#define DUET_HOST_DEVICE
#endif
