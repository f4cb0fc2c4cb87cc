#include "kernels/core/status.h"

#include <string>

#include "kernels/core/check.h"

namespace duet {
namespace detail {
namespace {
thread_local std::string last_error;
}

duet_status report(const char* operation, duet_status status, const char* message) noexcept {
  try {
    last_error = text(operation, ": ", message);
  } catch (...) {
    last_error.clear();  // no memory even for the text; the status still tells
  }
  return status;
}

}  // namespace detail

const char* dtype_name(duet_dtype dtype) {
  switch (dtype) {
    case DUET_F32: return "f32";
    case DUET_F16: return "f16";
    case DUET_BF16: return "bf16";
    case DUET_I32: return "i32";
    case DUET_I64: return "i64";
    case DUET_U32: return "u32";
  }
  return "unknown";
}

void Workspace::check(size_t needed) const {
  if (bytes_ < needed || (needed > 0 && data_ == nullptr))
    throw Error(DUET_WORKSPACE_TOO_SMALL, text("workspace: expected ", needed, " bytes, got ", data_ ? bytes_ : 0));
  require(reinterpret_cast<uintptr_t>(data_) % 64 == 0, "workspace: expected 64-byte alignment");
}

}  // namespace duet

const char* duet_status_name(duet_status status) {
  switch (status) {
    case DUET_OK: return "DUET_OK";
    case DUET_INVALID_ARGUMENT: return "DUET_INVALID_ARGUMENT";
    case DUET_WORKSPACE_TOO_SMALL: return "DUET_WORKSPACE_TOO_SMALL";
    case DUET_UNSUPPORTED: return "DUET_UNSUPPORTED";
    case DUET_CUDA_ERROR: return "DUET_CUDA_ERROR";
    case DUET_OUT_OF_MEMORY: return "DUET_OUT_OF_MEMORY";
    case DUET_IO_ERROR: return "DUET_IO_ERROR";
    case DUET_INTERNAL_ERROR: return "DUET_INTERNAL_ERROR";
  }
  return "unknown status";
}

const char* duet_last_error(void) { return duet::detail::last_error.c_str(); }

const char* duet_version(void) { return DUET_VERSION; }
