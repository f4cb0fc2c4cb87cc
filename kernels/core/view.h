/* Views: where an array lies and what its shape is. They own nothing; int64 throughout, because n x m never fits in
   int. */
#ifndef DUET_CORE_VIEW_H
#define DUET_CORE_VIEW_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum duet_dtype {
  DUET_DTYPE_F32 = 0,
  DUET_DTYPE_F16 = 1,  /* reserved: refused today */
  DUET_DTYPE_BF16 = 2, /* reserved: refused today */
  DUET_DTYPE_I32 = 3,
  DUET_DTYPE_I64 = 4,
  DUET_DTYPE_U32 = 5,
  DUET_DTYPE_F64 = 6 /* of tensors in model files: every operation refuses it */
} duet_dtype;

/* Row-major; element (i, j) is data[i * row_stride + j], row_stride in elements, at least columns and below 2^31; it is
   not read where rows is 0 or 1 or columns is 0. columns is below 2^31. data may be null where rows or columns is 0,
   and wherever an operation says that an argument is optional. Inputs are never written through a view, and what a call
   writes (outputs, gradients, the workspace) shares no memory with any other of its arguments: such a call is refused,
   but where an operation says that it works in place. Inputs may share memory, and the columns of one buffer may be
   arguments of their own. */
typedef struct duet_matrix {
  void* data;
  int64_t rows, columns, row_stride;
  duet_dtype dtype;
} duet_matrix;

/* Contiguous. A scalar that may change from step to step is a vector of size 1 in the context's memory. */
typedef struct duet_vector {
  void* data;
  int64_t size;
  duet_dtype dtype;
} duet_vector;

/* Scratch memory of the caller, 64-byte aligned, in the context's memory; its content is undefined before and after a
   call. Shapes for which it would be larger than any memory are DUET_STATUS_OUT_OF_MEMORY. */
typedef struct duet_workspace {
  void* data;
  size_t bytes;
} duet_workspace;

/* Contiguous views of plain arrays. */
static inline duet_matrix duet_f32_matrix(const float* data, int64_t rows, int64_t columns) {
  duet_matrix view = {(void*)data, rows, columns, columns, DUET_DTYPE_F32};
  return view;
}
static inline duet_matrix duet_i32_matrix(const int32_t* data, int64_t rows, int64_t columns) {
  duet_matrix view = {(void*)data, rows, columns, columns, DUET_DTYPE_I32};
  return view;
}
static inline duet_vector duet_f32_vector(const float* data, int64_t size) {
  duet_vector view = {(void*)data, size, DUET_DTYPE_F32};
  return view;
}
static inline duet_vector duet_i32_vector(const int32_t* data, int64_t size) {
  duet_vector view = {(void*)data, size, DUET_DTYPE_I32};
  return view;
}
static inline duet_vector duet_i64_vector(const int64_t* data, int64_t size) {
  duet_vector view = {(void*)data, size, DUET_DTYPE_I64};
  return view;
}
static inline duet_vector duet_u32_vector(const uint32_t* data, int64_t size) {
  duet_vector view = {(void*)data, size, DUET_DTYPE_U32};
  return view;
}

#ifdef __cplusplus
}
#endif
#endif
