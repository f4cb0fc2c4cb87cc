// The arguments of one call: each is checked, then all against each other. What a call writes shares no memory with
// anything else, so that no result depends on the order in which a kernel reads and writes.
//   Arguments arguments;
//   const auto x = arguments.matrix<const float>(x_view, "x", kAny, kAny);            // const: an input
//   const auto y = arguments.matrix<float>(y_view, "y", x.rows, x.columns);           // else an output
//   arguments.check(workspace, bytes needed);                                         // or arguments.check()
// Sides of float16 or bfloat16 are converted once, for all operations alike: an Arguments made with the workspace
// reserves their place as float32 at its front, and widen() fills it.
//   Arguments arguments(workspace);
//   const auto x = arguments.side(x_view, "x", kAny);
//   arguments.check(workspace, bytes needed);          // and what is reserved; a size query adds arguments.reserved()
//   workspace = widen(context, arguments, workspace);  // the rest is the operation's
#pragma once

#include <span>
#include <type_traits>

#include "kernels/core/check.h"
#include "kernels/core/halves.h"

namespace duet {

// Where an argument lies: rows of so many bytes, stride bytes apart; from first to end.
struct Region {
  const char* name;
  bool written;
  uintptr_t first, end;
  int64_t rows, bytes, stride;
};
// Whether some byte belongs to both.
bool share_memory(const Region& a, const Region& b);

// Names are kept as pointers: they must live as long as this does.
class Arguments {
 public:
  // Look::shapes: of a call that asks for a workspace's size. Data may be null, and what is returned for an argument
  // whose shape is not empty has data that must not be reached.
  explicit Arguments(Look look = Look::data) : look_(look), takes_halves_(look == Look::shapes) {}
  // Of a call with a workspace, whose sides may be float16 or bfloat16.
  explicit Arguments(const duet_workspace& workspace)
      : look_(Look::data), takes_halves_(true), front_(reinterpret_cast<uintptr_t>(workspace.data)) {}

  Look look() const { return look_; }
  template <class T>
  Matrix<T> matrix(const MatrixView<T>& view, const char* name, int64_t rows, int64_t columns,
                   Need need = Need::required) {
    const Matrix<T> given = duet::matrix<T>(view, name, rows, columns, need, look_);
    add(name, given);
    return given;
  }
  template <class T>
  Vector<T> vector(const VectorView<T>& view, const char* name, int64_t size, Need need = Need::required) {
    const Vector<T> given = duet::vector<T>(view, name, size, need, look_);
    add(name, given);
    return given;
  }
  // One side of an operation on pairs of rows: the numbers of its rows are int32 in tiles and results. A half lies
  // where it is reserved, at an address that is not reached before widen() has filled it.
  Matrix<const float> side(const duet_const_matrix& view, const char* name, int64_t columns, int64_t rows = kAny);
  // An output that may be the input of the same shape itself, but no part of it.
  template <class T>
  Matrix<T> in_place(const duet_matrix& view, const char* name, Matrix<const T> input) {
    const Matrix<T> given = duet::matrix<T>(view, name, input.rows, input.columns);
    if (given.data == input.data && given.stride == input.stride)
      become_output(input.data, name);
    else
      add(name, given);
    return given;
  }

  template <class T>
  void add(const char* name, Matrix<T> given) {
    if (given.rows > 0 && given.columns > 0)
      add(name, !std::is_const_v<T>, given.data, given.rows, given.columns * kBytes<T>, given.stride * kBytes<T>);
  }
  template <class T>
  void add(const char* name, Vector<T> given) {
    if (given.size > 0) add(name, !std::is_const_v<T>, given.data, 1, given.size * kBytes<T>, given.size * kBytes<T>);
  }

  // Throws DUET_STATUS_INVALID_ARGUMENT, naming both, where an output shares memory with another argument.
  void check() const {
    if (const Clash found = clash(); found.output) refuse(found);
  }
  // The same, after a workspace that is too small for needed and reserved() bytes or misaligned; these bytes are an
  // output too.
  void check(const duet_workspace& workspace, size_t needed);

  std::span<const Region> regions() const { return {regions_, static_cast<size_t>(count_)}; }
  // The sides to convert, none of them empty, and the bytes that they take of the workspace: a multiple of 64.
  std::span<const Half> halves() const { return {halves_, static_cast<size_t>(half_count_)}; }
  size_t reserved() const { return reserved_.used(); }

 private:
  struct Clash {
    const Region *output, *other;  // null: none
  };
  template <class T>
  static constexpr int64_t kBytes = static_cast<int64_t>(sizeof(T));
  static constexpr int kMost = 32;  // arguments of a call

  void add(const char* name, bool written, const void* data, int64_t rows, int64_t bytes, int64_t stride) {
    if (count_ == kMost) throw Error(DUET_STATUS_INTERNAL_ERROR, text(name, ": more than ", kMost, " arguments"));
    if (bytes == stride) bytes = stride *= rows, rows = 1;
    const auto first = reinterpret_cast<uintptr_t>(data);
    regions_[count_++] = {name, written, first, first + static_cast<uintptr_t>((rows - 1) * stride + bytes),
                          rows, bytes,   stride};
  }
  void become_output(const void* data, const char* name);
  Matrix<const float> half(const duet_const_matrix& view, const char* name, int64_t rows, int64_t columns);
  Clash clash() const;
  [[noreturn]] static void refuse(const Clash& clash);

  Look look_;
  bool takes_halves_;
  uintptr_t front_ = 0;  // of the workspace
  int count_ = 0, half_count_ = 0;
  Region regions_[kMost];
  Half halves_[kMostHalves];
  Workspace reserved_;  // measures
};

// After check(): converts the sides that are halves, and returns the workspace behind them.
duet_workspace widen(const duet_context* context, const Arguments& arguments, const duet_workspace& workspace);

// Whether a view was given at all.
inline bool is_there(const duet_const_matrix& view) {
  return view.data != nullptr || (view.rows != 0 && view.columns != 0);
}

// For an argument that another one, which is not there, would give its meaning: without it, it would be ignored.
inline void require_absent(const duet_const_matrix& view, const char* name, const char* without) {
  require(view.rows == 0 || view.columns == 0, name, ": expected null ", without);
}
inline void require_absent(const duet_const_vector& view, const char* name, const char* without) {
  require(view.size == 0, name, ": expected null ", without);
}

// Of a side of a loss over pairs a call writes sums, or losses and statistics. Whether sums are asked for: a view of 0
// rows asks for them too.
inline bool wants_sums(const duet_matrix& sums) { return sums.data != nullptr || sums.rows != 0 || sums.columns != 0; }
// The sums, where they are asked for; else none.
Matrix<double> sums_or_none(Arguments& arguments, const duet_matrix& sums, const char* name, int64_t rows,
                            int64_t columns);
// The losses, where no sums are asked for; else none, and it is an error to give them. Likewise the statistics.
Vector<float> vector_or_sums(Arguments& arguments, const duet_vector& view, const char* name, int64_t size,
                             const duet_matrix& sums);
Matrix<float> matrix_or_sums(Arguments& arguments, const duet_matrix& view, const char* name, int64_t rows,
                             int64_t columns, const duet_matrix& sums);

// Of a backend that has no sums.
[[noreturn]] void refuse_sums();
inline void refuse_sums(const Matrix<double>& sums) {
  if (sums.columns > 0) refuse_sums();
}

}  // namespace duet
