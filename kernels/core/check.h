// What the argument checks of every operation share: the typed form of a view, the options struct of an older caller, the workspace.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <type_traits>

#include "kernels/core/error.h"
#include "kernels/core/host_device.h"
#include "kernels/core/view.h"

namespace duet {

// A checked view: typed, row-major, stride in elements. data is null where an optional argument was not given.
template <class T>
struct Matrix {
  T* data = nullptr;
  int64_t rows = 0, columns = 0, stride = 0;

  DUET_HOST_DEVICE T* row(int64_t i) const { return data + i * stride; }
  DUET_HOST_DEVICE explicit operator bool() const { return data != nullptr; }
  // The part that starts at (i, j).
  DUET_HOST_DEVICE Matrix part(int64_t i, int64_t j, int64_t part_rows, int64_t part_columns) const {
    return {row(i) + j, part_rows, part_columns, stride};
  }
  template <class U>
  requires std::is_same_v<U, const T> DUET_HOST_DEVICE operator Matrix<U>() const { return {data, rows, columns, stride}; }
};

template <class T>
struct Vector {
  T* data = nullptr;
  int64_t size = 0;

  DUET_HOST_DEVICE T& operator[](int64_t i) const { return data[i]; }
  DUET_HOST_DEVICE explicit operator bool() const { return data != nullptr; }
  template <class U>
  requires std::is_same_v<U, const T> DUET_HOST_DEVICE operator Vector<U>() const { return {data, size}; }
};

template <class T>
constexpr duet_dtype dtype_of();
template <>
constexpr duet_dtype dtype_of<float>() {
  return DUET_F32;
}
template <>
constexpr duet_dtype dtype_of<int32_t>() {
  return DUET_I32;
}
template <>
constexpr duet_dtype dtype_of<int64_t>() {
  return DUET_I64;
}
template <>
constexpr duet_dtype dtype_of<uint32_t>() {
  return DUET_U32;
}

const char* dtype_name(duet_dtype dtype);

// rows x columns of T, or throws with the argument's name. kAny accepts any extent.
inline constexpr int64_t kAny = -1;
enum class Need { required, optional };

// An extent as messages print it. A type of its own, so that a check that holds formats nothing.
struct Extent {
  int64_t size;
  friend std::ostream& operator<<(std::ostream& out, Extent extent) { return extent.size == kAny ? out << "any" : out << extent.size; }
};

template <class T>
Matrix<T> matrix(const duet_matrix& view, const char* name, int64_t rows, int64_t columns, Need need = Need::required) {
  using Value = std::remove_const_t<T>;
  if (need == Need::optional && view.data == nullptr && (view.rows == 0 || view.columns == 0)) return {};
  require(view.dtype == dtype_of<Value>(), name, ": expected dtype ", dtype_name(dtype_of<Value>()), ", got ", dtype_name(view.dtype));
  require(view.rows >= 0 && view.columns >= 0 && (rows == kAny || view.rows == rows) && (columns == kAny || view.columns == columns), name,
          ": expected ", Extent{rows}, " x ", Extent{columns}, ", got ", view.rows, " x ", view.columns);
  require(view.row_stride >= view.columns, name, ": expected a row stride of at least ", view.columns, ", got ", view.row_stride);
  require(view.row_stride <= INT32_MAX, name, ": expected a row stride below 2^31, got ", view.row_stride);
  require(view.data != nullptr || view.rows == 0 || view.columns == 0, name, ": null data for ", view.rows, " x ", view.columns);
  return {static_cast<T*>(view.data), view.rows, view.columns, view.row_stride};
}

template <class T>
Vector<T> vector(const duet_vector& view, const char* name, int64_t size, Need need = Need::required) {
  using Value = std::remove_const_t<T>;
  if (need == Need::optional && view.data == nullptr && view.size == 0) return {};
  require(view.dtype == dtype_of<Value>(), name, ": expected dtype ", dtype_name(dtype_of<Value>()), ", got ", dtype_name(view.dtype));
  require(view.size >= 0 && (size == kAny || view.size == size), name, ": expected ", Extent{size}, " elements, got ", view.size);
  require(view.data != nullptr || view.size == 0, name, ": null data for ", view.size, " elements");
  return {static_cast<T*>(view.data), view.size};
}

// The caller's struct, or the fields it knows of, the rest zero: a caller compiled against an older header passes a smaller struct_size.
template <class Struct>
Struct load(const Struct* given, const char* name) {
  require(given != nullptr, name, ": null");
  Struct value{};
  require(given->struct_size >= sizeof(size_t) && given->struct_size <= sizeof(Struct), name, ".struct_size: expected at most ", sizeof(Struct),
          ", got ", given->struct_size, " (set it by the struct's _INIT)");
  std::memcpy(&value, given, given->struct_size);
  return value;
}

// What an enumeration of the C interface holds, which may be none of its values; to read such a one as an enumeration is undefined.
template <class Enum>
int enum_value(const Enum& given) {
  static_assert(sizeof(Enum) == sizeof(int));
  int value;
  std::memcpy(&value, &given, sizeof value);
  return value;
}

// Hands out aligned pieces of a workspace. Built without memory it only adds up: the same code that uses a workspace also sizes it.
class Workspace {
 public:
  Workspace() = default;  // measures
  explicit Workspace(const duet_workspace& given) : data_(static_cast<char*>(given.data)), bytes_(given.bytes), measuring_(false) {}

  template <class T>
  T* take(int64_t count) {
    const size_t start = used_;
    used_ += (static_cast<size_t>(count) * sizeof(T) + 63) / 64 * 64;
    return measuring_ ? nullptr : reinterpret_cast<T*>(data_ + start);
  }
  template <class T>
  Matrix<T> take_matrix(int64_t rows, int64_t columns) {
    return {take<T>(rows * columns), rows, columns, columns};
  }
  size_t used() const { return used_; }

  // Throws DUET_WORKSPACE_TOO_SMALL where fewer than needed bytes were given, DUET_INVALID_ARGUMENT where they are not aligned to 64.
  void check(size_t needed) const;

 private:
  char* data_ = nullptr;
  size_t bytes_ = 0, used_ = 0;
  bool measuring_ = true;
};

}  // namespace duet
