// What the calls of every family of operations have in common, so that a test can spoil any one's arguments alike.
// Values are drawn, results are all that the calls wrote.
#pragma once

#include <functional>
#include <initializer_list>
#include <memory>
#include <vector>

#include "tests/support/arrays.h"
#include "tests/support/compare.h"

namespace duet::test {

// A matrix of a call: aligned and without gaps, or an element off that, with rows of an odd stride.
class Given {
 public:
  Given(const Floats& values, bool misaligned)
      : shift_(misaligned ? 1 : 0),
        columns_(values.columns()),
        storage_(values.rows(), values.columns() + shift_, misaligned ? 2 + columns_ % 2 : 0) {
    for (int64_t i = 0; i < values.rows(); ++i)
      for (int64_t j = 0; j < columns_; ++j) storage_.at(i, j + shift_) = values.at(i, j);
  }
  duet_matrix matrix() { return storage_.part(0, shift_, storage_.rows(), columns_); }
  Doubles values() const {
    Doubles out;
    for (int64_t i = 0; i < storage_.rows(); ++i)
      for (int64_t j = 0; j < columns_; ++j) out.push_back(storage_.at(i, j + shift_));
    return out;
  }

 private:
  int64_t shift_, columns_;
  Floats storage_;
};

struct Call {
  int64_t n = 9, m = 11, d = 5;
  bool misaligned = false;
  int threads = 1;
  // Changes a call's arguments before it is made; output, workspace: where its first output and its scratch lie (null:
  // it takes none).
  std::function<void(duet_const_matrix& first_input, void* output, void* workspace)> spoil = [](duet_const_matrix&,
                                                                                                void*, void*) {};
  void* stream = nullptr;  // of the context; null: the default one
  // Makes a call; null: it is just made.
  std::function<duet_status(duet_context*, const std::function<duet_status()>& call)> make;
  // What is done with each call after all have succeeded: makes it once more.
  std::function<void(const std::function<duet_status()>& call)> again;
};
struct Outcome {
  duet_status status = DUET_STATUS_OK;
  std::vector<Doubles> results;
};

// What the families' calls have in common.
class Caller {
 public:
  explicit Caller(const Call& call) : context(call.threads, DUET_PRECISION_TF32X3, call.stream), call_(call) {}

  Given given(const Floats& values) const { return {values, call_.misaligned}; }
  Given output(int64_t rows, int64_t columns) const { return given(Floats(rows, columns)); }
  Given gradient(int64_t rows, int64_t columns) const { return given(Floats(rows, columns).fill(0)); }
  duet_workspace workspace(const std::function<duet_status(size_t* bytes)>& ask) {
    size_t bytes = 0;
    SUCCEED_CALL(ask(&bytes));
    scratch_ = std::make_unique<Scratch>(bytes);
    return scratch_->view();
  }
  void spoil(duet_const_matrix& view, void* output) const {
    call_.spoil(view, output, scratch_ ? scratch_->view().data : nullptr);
  }
  // Does the calls as long as they succeed.
  Outcome finish(std::initializer_list<std::function<duet_status()>> calls,
                 const std::function<std::vector<Doubles>()>& results) const {
    for (const auto& call : calls)
      if (const duet_status status = call_.make ? call_.make(context, call) : call(); status != DUET_STATUS_OK)
        return {status, {}};
    for (const auto& call : calls)
      if (call_.again) call_.again(call);
    device.synchronize();
    return {DUET_STATUS_OK, results()};
  }

  Context context;
  Draw draw{7};

 private:
  const Call& call_;
  std::unique_ptr<Scratch> scratch_;
};

}  // namespace duet::test
