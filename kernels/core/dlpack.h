/* Views of arrays that other libraries hand over by DLPack (its C header's DLManagedTensor, and
   DLManagedTensorVersioned of version 1). Nothing is copied and nothing taken over: the array stays its owner's, and
   the caller calls its deleter when no call reads the view any more. Source: the C interface of DLPack 1.0,
   https://dmlc.github.io/dlpack/latest/c_api.html. */
#ifndef DUET_CORE_DLPACK_H
#define DUET_CORE_DLPACK_H

#include <stddef.h>
#include <stdint.h>

#include "context.h"
#include "status.h"
#include "view.h"

#ifdef __cplusplus
extern "C" {
#endif

struct DLManagedTensor;
struct DLManagedTensorVersioned;

/* An array of another library: one of both is set. */
typedef struct duet_dlpack_tensor {
  size_t struct_size;                               /* set by DUET_DLPACK_TENSOR_INIT */
  const struct DLManagedTensor* unversioned;        /* the form before version 1 */
  const struct DLManagedTensorVersioned* versioned; /* the form of version 1 */
} duet_dlpack_tensor;
#define DUET_DLPACK_TENSOR_INIT DUET_INIT(duet_dlpack_tensor, )

/* What is known of such an array. */
typedef struct duet_dlpack_facts {
  size_t struct_size;   /* set by DUET_DLPACK_FACTS_INIT */
  void* data;           /* of the first element; null of an empty array */
  int64_t rows;         /* of 1 or 2 dimensions: the first; else 0 */
  int64_t columns;      /* of 2 dimensions: the second; else 0 */
  int64_t row_stride;   /* of 2 dimensions, in elements; else 0 */
  duet_device device;   /* where it lies: page-locked memory of the host is the CPU's, managed memory is CUDA's */
  int32_t device_index; /* of CUDA */
  int32_t dimensions;   /* 0 or more */
  int32_t dtype;        /* a duet_dtype; -1: none of them */
  int32_t row_major; /* 1: a view can say where the elements lie: those of a row are neighbours, rows do not overlap */
  int32_t read_only; /* 1: it must not be written; only the versioned form can say so */
} duet_dlpack_facts;
#define DUET_DLPACK_FACTS_INIT DUET_INIT(duet_dlpack_facts, )

/* What is known of an array. Errors: DUET_STATUS_INVALID_ARGUMENT (a null, both or neither set, a version of DLPack
   beyond 1, a negative size); DUET_STATUS_UNSUPPORTED where it lies on a device that is neither a CPU's nor CUDA's. */
DUET_API duet_status duet_dlpack_describe(const duet_dlpack_tensor* tensor, duet_dlpack_facts* facts);

/* A matrix of it to read, for calls on this context. Errors: as duet_dlpack_describe(), and
   DUET_STATUS_INVALID_ARGUMENT where it lies on another device than the context's, is of another number of dimensions
   or of a type that is none of duet_dtype's, where the elements of a row are not neighbours or the rows overlap, and,
   but for the const views, where it must not be written. */
DUET_API duet_status duet_dlpack_const_matrix(const duet_context* context, const duet_dlpack_tensor* tensor,
                                              duet_const_matrix* view);
/* A matrix of it to write. */
DUET_API duet_status duet_dlpack_matrix(const duet_context* context, const duet_dlpack_tensor* tensor,
                                        duet_matrix* view);
/* A vector of it to read. */
DUET_API duet_status duet_dlpack_const_vector(const duet_context* context, const duet_dlpack_tensor* tensor,
                                              duet_const_vector* view);
/* A vector of it to write. */
DUET_API duet_status duet_dlpack_vector(const duet_context* context, const duet_dlpack_tensor* tensor,
                                        duet_vector* view);

#ifdef __cplusplus
}
#endif
#endif
