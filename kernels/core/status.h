/* Status codes, the last error's text, the library's version. Every call of the C interface returns a duet_status. */
#ifndef DUET_CORE_STATUS_H
#define DUET_CORE_STATUS_H

#if defined(__GNUC__)
#define DUET_API __attribute__((visibility("default")))
#else
#define DUET_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* What became of a call. */
typedef enum duet_status {
  DUET_STATUS_OK = 0, /* done */
  DUET_STATUS_INVALID_ARGUMENT =
      1, /* a shape, a null, a dtype, a value out of range: the text names argument, expected and actual */
  DUET_STATUS_WORKSPACE_TOO_SMALL = 2, /* the text names the bytes needed and the bytes given */
  DUET_STATUS_UNSUPPORTED = 3,         /* valid, but not on this device or in this build */
  DUET_STATUS_CUDA_ERROR = 4,          /* a call of CUDA's has failed: the text has its reason */
  DUET_STATUS_OUT_OF_MEMORY = 5,       /* the text names the bytes asked for */
  DUET_STATUS_IO_ERROR = 6,            /* a file */
  DUET_STATUS_INTERNAL_ERROR = 7       /* an error of the library */
} duet_status;

/* "DUET_STATUS_INVALID_ARGUMENT" for DUET_STATUS_INVALID_ARGUMENT, and so on; "unknown status" for a number that is
 * none. */
DUET_API const char* duet_status_name(duet_status status);

/* What the last failed call on this thread had to say; "" before the first failure. Valid until the next failure on
   this thread. */
DUET_API const char* duet_last_error(void);

/* "major.minor.patch" of the library that is loaded. */
DUET_API const char* duet_version(void);

#ifdef __cplusplus
}
#endif
#endif
