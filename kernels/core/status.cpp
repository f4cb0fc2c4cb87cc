#include "kernels/core/status.h"

#include <algorithm>
#include <cmath>
#include <new>
#include <ostream>
#include <sstream>
#include <string>

#include "kernels/core/check.h"
#include "kernels/core/halves.h"
#include "kernels/core/outside.h"

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

// As messages print them. Types of their own, so that a check that holds formats nothing. A caller's dtype may be no
// enumerator.
struct Dtype {
  int value;
  friend std::ostream& operator<<(std::ostream& out, Dtype dtype) {
    switch (dtype.value) {
      case DUET_DTYPE_F32: return out << "f32";
      case DUET_DTYPE_F16: return out << "f16";
      case DUET_DTYPE_BF16: return out << "bf16";
      case DUET_DTYPE_I32: return out << "i32";
      case DUET_DTYPE_I64: return out << "i64";
      case DUET_DTYPE_U32: return out << "u32";
      case DUET_DTYPE_F64: return out << "f64";
    }
    return out << "unknown value " << dtype.value;
  }
};
struct Extent {
  int64_t size;
  friend std::ostream& operator<<(std::ostream& out, Extent extent) {
    return extent.size == kAny ? out << "any" : out << extent.size;
  }
};

}  // namespace

duet_status detail::report_exception(const char* operation) noexcept {
  try {
    throw;
  } catch (const Error& error) {
    return report(operation, error.status(), error.what());
  } catch (const std::bad_alloc&) {
    return report(operation, DUET_STATUS_OUT_OF_MEMORY, "out of host memory");
  } catch (const std::exception& error) {
    return report(operation, DUET_STATUS_INTERNAL_ERROR, error.what());
  } catch (...) {
    return report(operation, DUET_STATUS_INTERNAL_ERROR, "unknown exception");
  }
}

std::string fault_text(const duet_fault& fault) {
  std::ostringstream out;
  // Indices as whole numbers, whatever their size.
  const auto print = [&](double value) {
    constexpr double kExact = 9007199254740992;
    if (value == std::floor(value) && std::abs(value) <= kExact)
      out << static_cast<int64_t>(value);
    else
      out << value;
  };
  out << fault.argument;
  if (fault.position >= 0) out << '[' << fault.position << ']';
  out << ": expected ", print(fault.low), out << " to ", print(fault.high), out << ", got ", print(fault.value);
  return out.str();
}

bool is_given(const duet_const_matrix& view, const char* name, duet_dtype dtype, int64_t rows, int64_t columns,
              Need need, Look look) {
  const bool no_data = view.data == nullptr || look == Look::shapes;
  if (need == Need::optional && no_data && (view.rows == 0 || view.columns == 0)) return false;
  const int given = enum_value(view.dtype);
  require(given == dtype, name, ": expected dtype ", Dtype{dtype}, ", got ", Dtype{given});
  require(view.rows >= 0 && view.columns >= 0 && (rows == kAny || view.rows == rows) &&
              (columns == kAny || view.columns == columns),
          name, ": expected ", Extent{rows}, " x ", Extent{columns}, ", got ", view.rows, " x ", view.columns);
  require(view.columns <= INT32_MAX, name, ": expected below 2^31 columns, got ", view.columns);
  int64_t apart = std::max<int64_t>(view.columns, 1);
  if (has_stride(view)) {
    require(view.row_stride >= view.columns, name, ": expected a row stride of at least ", view.columns, ", got ",
            view.row_stride);
    require(view.row_stride <= INT32_MAX, name, ": expected a row stride below 2^31, got ", view.row_stride);
    apart = view.row_stride;
  }
  require(view.rows <= kMostElements / apart, name, ": expected at most 2^45 elements, got ", view.rows, " rows of ",
          apart);
  require(view.data != nullptr || view.rows == 0 || view.columns == 0 || look == Look::shapes, name, ": null data for ",
          view.rows, " x ", view.columns);
  require(view.reserved == 0, name, ": expected 0 in reserved, got ", view.reserved);
  return true;
}

bool is_given(const duet_const_vector& view, const char* name, duet_dtype dtype, int64_t size, Need need, Look look) {
  if (need == Need::optional && (view.data == nullptr || look == Look::shapes) && view.size == 0) return false;
  const int given = enum_value(view.dtype);
  require(given == dtype, name, ": expected dtype ", Dtype{dtype}, ", got ", Dtype{given});
  require(view.size >= 0 && (size == kAny || view.size == size), name, ": expected ", Extent{size}, " elements, got ",
          view.size);
  require(view.size <= kMostElements, name, ": expected at most 2^45 elements, got ", view.size);
  require(view.data != nullptr || view.size == 0 || look == Look::shapes, name, ": null data for ", view.size,
          " elements");
  require(view.reserved == 0, name, ": expected 0 in reserved, got ", view.reserved);
  return true;
}

bool is_half(const duet_const_matrix& view, const char* name) {
  const int given = enum_value(view.dtype);
  const bool half = given == DUET_DTYPE_F16 || given == DUET_DTYPE_BF16;
  require(half || given == DUET_DTYPE_F32, name, ": expected dtype f32, f16 or bf16, got ", Dtype{given});
  return half;
}

void detail::refuse_struct_size(const char* name, size_t first, size_t last, size_t given) {
  const std::string expected = first == last ? text(last) : text(first, " to ", last);
  throw Error(DUET_STATUS_INVALID_ARGUMENT,
              text(name, ".struct_size: expected ", expected, " as the struct's _INIT sets it, got ", given));
}

void detail::refuse_element_size(const char* name, size_t expected, size_t given) {
  throw Error(DUET_STATUS_INVALID_ARGUMENT, text(name, ": expected ", expected, ", the size of one, got ", given));
}

void check_first(int64_t first, int64_t count, const char* name, const char* field) {
  require(first >= 0, name, field, ": expected 0 or more, got ", first);
  require(first <= INT64_MAX - count, name, field, ": expected an index below 2^63 after ", count, " more, got ",
          first);
}

void Workspace::refuse(double count, size_t element_bytes) {
  throw Error(DUET_STATUS_OUT_OF_MEMORY,
              text("workspace: ", count, " elements of ", element_bytes, " bytes are more than memory can hold"));
}

void Workspace::check(size_t needed) const {
  if (bytes_ < needed || (needed > 0 && data_ == nullptr))
    throw Error(DUET_STATUS_WORKSPACE_TOO_SMALL,
                text("workspace: expected ", needed, " bytes, got ", data_ ? bytes_ : 0));
  require(reinterpret_cast<uintptr_t>(data_) % 64 == 0, "workspace: expected 64-byte alignment");
}

}  // namespace duet

const char* duet_status_name(duet_status status) {
  switch (duet::enum_value(status)) {
    case DUET_STATUS_OK: return "DUET_STATUS_OK";
    case DUET_STATUS_INVALID_ARGUMENT: return "DUET_STATUS_INVALID_ARGUMENT";
    case DUET_STATUS_WORKSPACE_TOO_SMALL: return "DUET_STATUS_WORKSPACE_TOO_SMALL";
    case DUET_STATUS_UNSUPPORTED: return "DUET_STATUS_UNSUPPORTED";
    case DUET_STATUS_CUDA_ERROR: return "DUET_STATUS_CUDA_ERROR";
    case DUET_STATUS_OUT_OF_MEMORY: return "DUET_STATUS_OUT_OF_MEMORY";
    case DUET_STATUS_IO_ERROR: return "DUET_STATUS_IO_ERROR";
    case DUET_STATUS_INTERNAL_ERROR: return "DUET_STATUS_INTERNAL_ERROR";
  }
  return "unknown status";
}

const char* duet_last_error(void) { return duet::last_error.c_str(); }

const char* duet_version(void) { return DUET_VERSION; }
