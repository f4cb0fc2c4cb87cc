/* Views: where an array lies and what its shape is. They own nothing; int64 throughout, because n x m never fits in
   int. What a call only reads it takes as a const view (duet_const_matrix, duet_const_vector), what it writes as
   another. A view keeps its size in every version; the structs of the operations may grow. */
#ifndef DUET_CORE_VIEW_H
#define DUET_CORE_VIEW_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The type of an element. */
typedef enum duet_dtype {
  DUET_DTYPE_F32 = 0,  /* float32 */
  DUET_DTYPE_F16 = 1,  /* IEEE 754 binary16: of features alone, below */
  DUET_DTYPE_BF16 = 2, /* bfloat16, the upper half of a float32: of features alone */
  DUET_DTYPE_I32 = 3,  /* int32 */
  DUET_DTYPE_I64 = 4,  /* int64 */
  DUET_DTYPE_U32 = 5,  /* uint32 */
  DUET_DTYPE_F64 = 6   /* of tensors in model files, and of sums that parts of a batch are merged by (contrastive.h,
                          distillation.h): every other argument of an operation refuses it */
} duet_dtype;

/* A matrix that is read, row-major; element (i, j) is data[i * row_stride + j]. What a call writes (outputs, gradients,
   the workspace) shares no memory with any other of its arguments: such a call is refused, but where an operation says
   that it works in place. Inputs may share memory, and the columns of one buffer may be arguments of their own. */
typedef struct duet_const_matrix {
  const void* data;   /* null where rows or columns is 0, where an operation says that an argument is optional, and in
                         every call that asks for a workspace's size */
  int64_t rows;       /* 0 or more */
  int64_t columns;    /* 0 or more, below 2^31 */
  int64_t row_stride; /* in elements, at least columns and below 2^31; not read where rows is 0 or 1 or columns is 0 */
  duet_dtype dtype;   /* of an element */
  int32_t reserved;   /* 0 */
} duet_const_matrix;
/* Features, as the headers of the operations say: rows of float32, or of float16 or bfloat16, each matrix by itself. A
   call converts halves to float32, exactly, at the front of its workspace, where they take 4 bytes an element, rounded
   up to 64 a matrix, and then computes what it computes of a contiguous float32 matrix of these values, the same bits.
   Outputs and gradients stay float32: d loss / d the value that the half holds. Every other argument is refused as a
   half. */

/* A vector that is read, contiguous. A scalar that may change from step to step is a vector of size 1 in the context's
   memory. */
typedef struct duet_const_vector {
  const void* data; /* as of a matrix */
  int64_t size;     /* elements, 0 or more */
  duet_dtype dtype; /* of an element */
  int32_t reserved; /* 0 */
} duet_const_vector;

/* A matrix that is written. In C++ it converts to a duet_const_matrix by itself, in C by duet_matrix_as_const(). */
typedef struct duet_matrix {
  void* data;         /* fields as of duet_const_matrix */
  int64_t rows;       /* likewise */
  int64_t columns;    /* likewise */
  int64_t row_stride; /* likewise */
  duet_dtype dtype;   /* likewise */
  int32_t reserved;   /* 0 */
#ifdef __cplusplus
  operator duet_const_matrix() const {
    const duet_const_matrix view = {data, rows, columns, row_stride, dtype, reserved};
    return view;
  }
#endif
} duet_matrix;

/* A vector that is written. In C++ it converts to a duet_const_vector by itself, in C by duet_vector_as_const(). */
typedef struct duet_vector {
  void* data;       /* fields as of duet_const_vector */
  int64_t size;     /* likewise */
  duet_dtype dtype; /* likewise */
  int32_t reserved; /* 0 */
#ifdef __cplusplus
  operator duet_const_vector() const {
    const duet_const_vector view = {data, size, dtype, reserved};
    return view;
  }
#endif
} duet_vector;

/* Scratch memory of the caller. Its content is undefined before and after a call. Shapes for which it would be larger
   than any memory are DUET_STATUS_OUT_OF_MEMORY. */
typedef struct duet_workspace {
  void* data;   /* aligned to 64 bytes, in the context's memory; may be null where the operation asks for 0 bytes */
  size_t bytes; /* at least what the operation's *_workspace() says, which needs shapes alone */
} duet_workspace;

/* The initializer of a struct of this interface: struct_size, and what the second argument sets, DUET_SET() of a field
   and its value one after another; every other field is 0. A C initializer may stand wherever a constant may. */
#ifdef __cplusplus
#define DUET_SET(field, value) initial.field = value;
#define DUET_INIT(type, sets)             \
  ([]() {                                 \
    type initial = type();                \
    initial.struct_size = sizeof initial; \
    sets return initial;                  \
  }())
#else
/* What a DUET_INIT() sets.
   field: of the struct.
   value: of the field. */
#define DUET_SET(field, value) , .field = value
/* Begins a struct.
   type: of the struct.
   sets: a DUET_SET() a field, or nothing. */
#define DUET_INIT(type, sets) \
  { .struct_size = sizeof(type) sets }
#endif

/* The same memory, to be read alone.
   written: a view. */
static inline duet_const_matrix duet_matrix_as_const(duet_matrix written) {
  const duet_const_matrix view = {written.data,       written.rows,  written.columns,
                                  written.row_stride, written.dtype, written.reserved};
  return view;
}
static inline duet_const_vector duet_vector_as_const(duet_vector written) {
  const duet_const_vector view = {written.data, written.size, written.dtype, written.reserved};
  return view;
}

/* Contiguous views of plain arrays: rows x columns at data. */
static inline duet_matrix duet_f32_matrix(float* data, int64_t rows, int64_t columns) {
  const duet_matrix view = {data, rows, columns, columns, DUET_DTYPE_F32, 0};
  return view;
}
static inline duet_const_matrix duet_f32_const_matrix(const float* data, int64_t rows, int64_t columns) {
  const duet_const_matrix view = {data, rows, columns, columns, DUET_DTYPE_F32, 0};
  return view;
}
/* Halves, by their bits. */
static inline duet_const_matrix duet_f16_const_matrix(const uint16_t* data, int64_t rows, int64_t columns) {
  const duet_const_matrix view = {data, rows, columns, columns, DUET_DTYPE_F16, 0};
  return view;
}
static inline duet_const_matrix duet_bf16_const_matrix(const uint16_t* data, int64_t rows, int64_t columns) {
  const duet_const_matrix view = {data, rows, columns, columns, DUET_DTYPE_BF16, 0};
  return view;
}
/* Sums, rows x columns at data. */
static inline duet_matrix duet_f64_matrix(double* data, int64_t rows, int64_t columns) {
  const duet_matrix view = {data, rows, columns, columns, DUET_DTYPE_F64, 0};
  return view;
}
static inline duet_const_matrix duet_f64_const_matrix(const double* data, int64_t rows, int64_t columns) {
  const duet_const_matrix view = {data, rows, columns, columns, DUET_DTYPE_F64, 0};
  return view;
}
/* Contiguous views of integers: rows x columns at data. */
static inline duet_matrix duet_i32_matrix(int32_t* data, int64_t rows, int64_t columns) {
  const duet_matrix view = {data, rows, columns, columns, DUET_DTYPE_I32, 0};
  return view;
}
static inline duet_const_matrix duet_i32_const_matrix(const int32_t* data, int64_t rows, int64_t columns) {
  const duet_const_matrix view = {data, rows, columns, columns, DUET_DTYPE_I32, 0};
  return view;
}
static inline duet_matrix duet_i64_matrix(int64_t* data, int64_t rows, int64_t columns) {
  const duet_matrix view = {data, rows, columns, columns, DUET_DTYPE_I64, 0};
  return view;
}
static inline duet_const_matrix duet_i64_const_matrix(const int64_t* data, int64_t rows, int64_t columns) {
  const duet_const_matrix view = {data, rows, columns, columns, DUET_DTYPE_I64, 0};
  return view;
}
/* Contiguous views of plain arrays: size elements at data. */
static inline duet_vector duet_f32_vector(float* data, int64_t size) {
  const duet_vector view = {data, size, DUET_DTYPE_F32, 0};
  return view;
}
static inline duet_const_vector duet_f32_const_vector(const float* data, int64_t size) {
  const duet_const_vector view = {data, size, DUET_DTYPE_F32, 0};
  return view;
}
static inline duet_vector duet_i32_vector(int32_t* data, int64_t size) {
  const duet_vector view = {data, size, DUET_DTYPE_I32, 0};
  return view;
}
static inline duet_const_vector duet_i32_const_vector(const int32_t* data, int64_t size) {
  const duet_const_vector view = {data, size, DUET_DTYPE_I32, 0};
  return view;
}
static inline duet_vector duet_i64_vector(int64_t* data, int64_t size) {
  const duet_vector view = {data, size, DUET_DTYPE_I64, 0};
  return view;
}
static inline duet_const_vector duet_i64_const_vector(const int64_t* data, int64_t size) {
  const duet_const_vector view = {data, size, DUET_DTYPE_I64, 0};
  return view;
}
static inline duet_vector duet_u32_vector(uint32_t* data, int64_t size) {
  const duet_vector view = {data, size, DUET_DTYPE_U32, 0};
  return view;
}
static inline duet_const_vector duet_u32_const_vector(const uint32_t* data, int64_t size) {
  const duet_const_vector view = {data, size, DUET_DTYPE_U32, 0};
  return view;
}

#ifdef __cplusplus
}
#endif
#endif
