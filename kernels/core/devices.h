/* Which devices there are: what a program shows its user, and chooses by. */
#ifndef DUET_CORE_DEVICES_H
#define DUET_CORE_DEVICES_H

#include <stddef.h>
#include <stdint.h>

#include "context.h"
#include "status.h"
#include "view.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What is known of a device. */
typedef struct duet_device_facts {
  size_t struct_size;            /* set by DUET_DEVICE_FACTS_INIT */
  char name[120];                /* "NVIDIA H200", ends in a zero */
  int32_t capability;            /* CUDA: 90 for 9.0 */
  int32_t multiprocessors;       /* CUDA */
  int64_t memory_bytes;          /* CUDA: of the device */
  int64_t free_bytes;            /* CUDA: that nobody has taken */
  int64_t shared_bytes_of_block; /* CUDA */
  int32_t driver_version;        /* CUDA: 13000 for 13.0 */
  int32_t emulated;              /* 1: no device, the emulator plays one */
} duet_device_facts;
#define DUET_DEVICE_FACTS_INIT DUET_INIT(duet_device_facts, )

/* How many devices there are. Errors: DUET_STATUS_INVALID_ARGUMENT; DUET_STATUS_UNSUPPORTED where this build lacks the
   backend; DUET_STATUS_CUDA_ERROR where the machine has no device that CUDA can use: the text says why.
   count: of the CPU 1. */
DUET_API duet_status duet_device_count(duet_device device, int32_t* count);
/* Fills facts in. Errors: as duet_device_count(), and DUET_STATUS_INVALID_ARGUMENT where index is not below the count.
   What is said of a device does not say that this build holds code for it: duet_context_create() tells.
   index: from 0 on. */
DUET_API duet_status duet_device_describe(duet_device device, int32_t index, duet_device_facts* facts);

#ifdef __cplusplus
}
#endif
#endif
