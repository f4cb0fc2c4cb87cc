#include "kernels/core/status.h"

#include <new>
#include <ostream>
#include <string>

#include "kernels/core/check.h"

namespace duet {
namespace {

thread_local std::string last_error;

duet_status report(const char* operation, duet_status status, const char* message) noexcept {
  try {
    last_error = text(operation, ": ", message);
  } catch (...) {
    last_error.clear();  // no memory even for the text; the status still tells
  }
  return status;
}

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

// As messages print it. A type of its own, so that a check that holds formats nothing.
struct Extent {
  int64_t size;
  friend std::ostream& operator<<(std::ostream& out, Extent extent) { return extent.size == kAny ? out << "any" : out << extent.size; }
};

}  // namespace

duet_status detail::report_exception(const char* operation) noexcept {
  try {
    throw;
  } catch (const Error& error) {
    return report(operation, error.status(), error.what());
  } catch (const std::bad_alloc&) {
    return report(operation, DUET_OUT_OF_MEMORY, "out of host memory");
  } catch (const std::exception& error) {
    return report(operation, DUET_INTERNAL_ERROR, error.what());
  } catch (...) {
    return report(operation, DUET_INTERNAL_ERROR, "unknown exception");
  }
}

bool is_given(const duet_matrix& view, const char* name, duet_dtype dtype, int64_t rows, int64_t columns, Need need) {
  if (need == Need::optional && view.data == nullptr && (view.rows == 0 || view.columns == 0)) return false;
  require(view.dtype == dtype, name, ": expected dtype ", dtype_name(dtype), ", got ", dtype_name(view.dtype));
  require(view.rows >= 0 && view.columns >= 0 && (rows == kAny || view.rows == rows) && (columns == kAny || view.columns == columns), name,
          ": expected ", Extent{rows}, " x ", Extent{columns}, ", got ", view.rows, " x ", view.columns);
  require(view.row_stride >= view.columns, name, ": expected a row stride of at least ", view.columns, ", got ", view.row_stride);
  require(view.row_stride <= INT32_MAX, name, ": expected a row stride below 2^31, got ", view.row_stride);
  require(view.data != nullptr || view.rows == 0 || view.columns == 0, name, ": null data for ", view.rows, " x ", view.columns);
  return true;
}

bool is_given(const duet_vector& view, const char* name, duet_dtype dtype, int64_t size, Need need) {
  if (need == Need::optional && view.data == nullptr && view.size == 0) return false;
  require(view.dtype == dtype, name, ": expected dtype ", dtype_name(dtype), ", got ", dtype_name(view.dtype));
  require(view.size >= 0 && (size == kAny || view.size == size), name, ": expected ", Extent{size}, " elements, got ", view.size);
  require(view.data != nullptr || view.size == 0, name, ": null data for ", view.size, " elements");
  return true;
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

const char* duet_last_error(void) { return duet::last_error.c_str(); }

const char* duet_version(void) { return DUET_VERSION; }
