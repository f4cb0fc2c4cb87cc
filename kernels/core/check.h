// What the argument checks of every operation share: the typed form of a view, the options struct of an older caller,
// the workspace.
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
  requires std::is_same_v<U, const T> DUET_HOST_DEVICE operator Matrix<U>() const {
    return {data, rows, columns, stride};
  }
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
  return DUET_DTYPE_F32;
}
template <>
constexpr duet_dtype dtype_of<double>() {
  return DUET_DTYPE_F64;
}
template <>
constexpr duet_dtype dtype_of<int32_t>() {
  return DUET_DTYPE_I32;
}
template <>
constexpr duet_dtype dtype_of<int64_t>() {
  return DUET_DTYPE_I64;
}
template <>
constexpr duet_dtype dtype_of<uint32_t>() {
  return DUET_DTYPE_U32;
}

inline constexpr int64_t kAny = -1;  // accepts any extent
enum class Need { required, optional };

// No view has more elements, and no sum of a few such sizes overflows: of 4 bytes they fill the 2^47 bytes that a
// process can address.
inline constexpr int64_t kMostElements = int64_t{1} << 45;

// What a call looks at: a call that asks for a workspace's size has no data, and is not looked at for any.
enum class Look { data, shapes };

// Whether an argument was given; throws with its name where it is not of this type and shape.
bool is_given(const duet_const_matrix& view, const char* name, duet_dtype dtype, int64_t rows, int64_t columns,
              Need need, Look look = Look::data);
bool is_given(const duet_const_vector& view, const char* name, duet_dtype dtype, int64_t size, Need need,
              Look look = Look::data);

// Whether a view says where the next row begins; a single row or none needs no stride, and whatever it holds is not
// read.
inline bool has_stride(const duet_const_matrix& view) { return view.rows > 1 && view.columns > 0; }

// The views of the C interface that elements of T come in.
template <class T>
using MatrixView = std::conditional_t<std::is_const_v<T>, duet_const_matrix, duet_matrix>;
template <class T>
using VectorView = std::conditional_t<std::is_const_v<T>, duet_const_vector, duet_vector>;

namespace detail {
// Stands for the data of an argument of which the shape alone is looked at: present, and never reached.
template <class T>
T* somewhere() {
  return reinterpret_cast<T*>(uintptr_t{4096});
}
}  // namespace detail

// rows x columns of T, checked; without data where it is optional and was not given.
template <class T>
Matrix<T> matrix(const MatrixView<T>& view, const char* name, int64_t rows, int64_t columns, Need need = Need::required,
                 Look look = Look::data) {
  if (!is_given(view, name, dtype_of<std::remove_const_t<T>>(), rows, columns, need, look)) return {};
  T* const data = look == Look::shapes ? detail::somewhere<T>() : static_cast<T*>(view.data);
  return {data, view.rows, view.columns, has_stride(view) ? view.row_stride : view.columns};
}
template <class T>
Vector<T> vector(const VectorView<T>& view, const char* name, int64_t size, Need need = Need::required,
                 Look look = Look::data) {
  if (!is_given(view, name, dtype_of<std::remove_const_t<T>>(), size, need, look)) return {};
  return {look == Look::shapes ? detail::somewhere<T>() : static_cast<T*>(view.data), view.size};
}

// The size of a struct of the C interface in the first version that had it. A struct that has grown since specialises
// this to the end of its first version's fields.
template <class Struct>
inline constexpr size_t kFirstSize = sizeof(Struct);

namespace detail {
[[noreturn]] void refuse_struct_size(const char* name, size_t first, size_t last, size_t given);
[[noreturn]] void refuse_element_size(const char* name, size_t expected, size_t given);
}  // namespace detail

// The caller's struct, or the fields it knows of, the rest zero: a caller compiled against an older header passes a
// smaller struct_size.
template <class Struct>
Struct load(const Struct* given, const char* name) {
  require(given != nullptr, name, ": null");
  Struct value{};
  if (given->struct_size < kFirstSize<Struct> || given->struct_size > sizeof(Struct))
    detail::refuse_struct_size(name, kFirstSize<Struct>, sizeof(Struct), given->struct_size);
  std::memcpy(&value, given, given->struct_size);
  return value;
}

// An array of structs, whose size its caller tells so that a later version can add fields to them.
template <class Struct>
void check_element_size(size_t given, const char* name) {
  if (given != sizeof(Struct)) detail::refuse_element_size(name, sizeof(Struct), given);
}

// A field that a later version may give a meaning.
inline void require_reserved(int32_t given, const char* name) {
  require(given == 0, name, ": expected 0, as the struct's _INIT sets it, got ", given);
}

// What an enumeration of the C interface holds, which may be none of its values; to read such a one as an enumeration
// is undefined.
template <class Enum>
int enum_value(const Enum& given) {
  static_assert(sizeof(Enum) == sizeof(int));
  int value;
  std::memcpy(&value, &given, sizeof value);
  return value;
}
// The same, checked: one of first ... last.
template <class Enum>
Enum enumerator(const Enum& given, const char* name, Enum first, Enum last) {
  const int value = enum_value(given);
  require(value >= first && value <= last, name, ": unknown value ", value);
  return static_cast<Enum>(value);
}

// A global index of a call's first row or column, of count: at least 0, and the last one's index does not overflow.
// Named name and field together.
void check_first(int64_t first, int64_t count, const char* name, const char* field);

// Hands out aligned pieces of a workspace. Built without memory it only adds up: the same code that uses a workspace
// also sizes it.
class Workspace {
 public:
  Workspace() = default;  // measures
  explicit Workspace(const duet_workspace& given)
      : data_(static_cast<char*>(given.data)), bytes_(given.bytes), measuring_(false) {}

  // Throws DUET_STATUS_OUT_OF_MEMORY where the pieces are more than memory can hold, so that no size wraps round.
  template <class T>
  T* take(int64_t count) {
    const size_t start = used_;
    if (static_cast<size_t>(count) > kMostBytes / sizeof(T)) refuse(static_cast<double>(count), sizeof(T));
    used_ += (static_cast<size_t>(count) * sizeof(T) + 63) / 64 * 64;
    if (used_ > kMostBytes) refuse(static_cast<double>(count), sizeof(T));
    return measuring_ ? nullptr : reinterpret_cast<T*>(data_ + start);
  }
  template <class T>
  Matrix<T> take_matrix(int64_t rows, int64_t columns) {
    int64_t count = 0;
    if (__builtin_mul_overflow(rows, columns, &count))
      refuse(static_cast<double>(rows) * static_cast<double>(columns), sizeof(T));
    return {take<T>(count), rows, columns, columns};
  }
  size_t used() const { return used_; }

  // Throws DUET_STATUS_WORKSPACE_TOO_SMALL where fewer than needed bytes were given, DUET_STATUS_INVALID_ARGUMENT where
  // they are not aligned to 64.
  void check(size_t needed) const;

 private:
  static constexpr size_t kMostBytes = size_t{1} << 60;
  [[noreturn]] static void refuse(double count, size_t element_bytes);

  char* data_ = nullptr;
  size_t bytes_ = 0, used_ = 0;
  bool measuring_ = true;
};

}  // namespace duet
