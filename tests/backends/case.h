// A random call of one operation, fixed by (operation, seed): its inputs, the same call on the CPU and on the emulated
// CUDA backend, the double reference, and their comparison. An operation's file draws inputs, says the calls once, and
// says what the reference makes of them.
#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <string>
#include <vector>

#include "kernels/core/error.h"
#include "tests/support/arrays.h"

namespace duet::test::backends {

// What is special about a case's values. ties: few small integers and repeated rows, exact in every precision.
enum class Kind { plain, ties, huge, tiny, infinite, nan };
const char* name_of(Kind kind);

// What a call left in one output.
struct Result {
  std::string name;
  Doubles values, before;  // before: of a gradient, what it arrived with; else empty
  bool whole = false;      // integers: compared for equality
};

// One backend's turn. Every draw that a turn takes is the same in the other's.
class Run {
 public:
  Run(duet_context* run_context, uint64_t seed, bool on_cuda) : context(run_context), cuda(on_cuda), draw_(seed) {}

  duet_context* const context;
  const bool cuda;

  // An output arrives filled with NaN, a gradient with numbers (in half the cases zeros); rows may be padded. A
  // gradient is left out, a null view, in one case of five, an optional output likewise.
  duet_matrix output(const std::string& name, int64_t rows, int64_t columns);
  duet_vector output(const std::string& name, int64_t size);
  duet_matrix optional(const std::string& name, int64_t rows, int64_t columns);
  duet_vector optional(const std::string& name, int64_t size);
  duet_matrix gradient(const std::string& name, int64_t rows, int64_t columns);
  duet_vector gradient(const std::string& name, int64_t size);
  duet_vector integers(const std::string& name, int64_t size);
  duet_matrix integers(const std::string& name, int64_t rows, int64_t columns);
  duet_vector longs(const std::string& name, int64_t size);
  duet_vector words(const std::string& name, int64_t size);
  // An output that arrives with these numbers, as a state does.
  duet_vector state(const std::string& name, const Floats& values);
  // Of the calls that follow: exactly the bytes that the operation asks for.
  duet_workspace workspace(const std::function<duet_status(size_t* bytes)>& ask);
  bool coin(double probability) { return draw_.uniform(0, 1) < probability; }
  // The case fails where a call does.
  void call(duet_status status);

  const std::vector<std::string>& failures() const { return failures_; }
  std::vector<Result> results() const;

 private:
  Floats& add(const std::string& name, int64_t rows, int64_t columns, int64_t padding);
  int64_t padding() { return draw_.integer(0, 3) == 0 ? draw_.integer(1, 3) : 0; }

  struct Output {
    std::string name;
    bool whole;
    Doubles before;
    std::function<Doubles()> read;
  };
  Draw draw_;
  std::list<Floats> floats_;
  std::list<Ints> ints_;
  std::list<Longs> longs_;
  std::list<Array<uint32_t>> words_;
  std::list<Scratch> scratch_;
  std::vector<Output> outputs_;
  std::vector<std::string> failures_;
};

// The inputs as the reference takes them: as they are, or each moved by a small relative error. What that does to a
// result is the sum of its terms' sizes times that error, whatever the formula: the bound that the backends are held
// to. Equal values move alike, so that ties stay ties.
class Values {
 public:
  Values(double size, uint64_t seed) : size_(size), seed_(seed) {}
  Doubles operator()(const Floats& x) const;
  double operator()(float x) const { return moved(x, std::abs(double{x})); }
  // An intermediate value whose error the method states by another size than its own: a squared distance by the squared
  // norms. key: values with one key and one size move alike.
  double moved(double value, double error_size, uint64_t key) const;
  double moved(double value, double error_size) const;
  bool exact() const { return size_ == 0 && !rounds_; }
  bool rounds() const { return rounds_; }
  // Rounds to float32 what it has moved, if at all: values that only float32 makes equal are ties then.
  static Values rounded(double size = 0, uint64_t seed = 0) {
    Values out(size, seed);
    out.rounds_ = true;
    return out;
  }

 private:
  double size_;
  uint64_t seed_;
  bool rounds_ = false;
};

// Added to an error's size, in units of the relative error 1e-6: the least float32, which what underflows is off by.
inline constexpr double kLeast = 1.5e-45 / 1e-6;

// What the reference says of one output. floor: added to the bound of every element, floors of each.
struct Expected {
  std::string name;
  Doubles values;
  double floor = 0;
  Doubles floors = {};
  double low = -INFINITY, high = INFINITY;  // the range that no rounding leaves
  Doubles cuda = {};          // where the two made different choices that are as good: what follows of CUDA's
  bool any_infinite = false;  // of infinite inputs NaN is as good as an infinity (METHOD.md 4)
};
using Reference = std::function<std::vector<Expected>(const Values&)>;

class Case {
 public:
  Case(const std::string& operation, uint64_t seed);

  Draw draw;
  Kind kind;
  duet_precision precision;  // of the CUDA context: fp32 or tf32x3

  // 0 to 40; one in 50 past a tile of 128.
  int64_t extent(int64_t least = 0);
  bool coin(double probability = 0.5) { return draw.uniform(0, 1) < probability; }
  int64_t padding() { return coin(0.25) ? draw.integer(1, 3) : 0; }
  template <class T>
  T one_of(std::initializer_list<T> values) {
    return values.begin()[draw.integer(0, static_cast<int64_t>(values.size()) - 1)];
  }

  // Rows of this case's kind. operands: those that tile products take, of which a precision speaks.
  Floats& rows(int64_t count, int64_t columns);
  Floats& operands(int64_t count, int64_t columns);
  // Operands as a call takes them, in one case of four as float16 or bfloat16: then x holds, from here on, the values
  // to which these cut it off, bfloat16 alone of kinds huge and tiny, whose range float16 lacks.
  duet_const_matrix features(Floats& x);
  // Upstream weights and gradients: normal numbers, a few of them 0; one case in five of kind inf or NaN has one such
  // here instead of in its rows.
  Floats& weights(int64_t count, int64_t columns = 1);
  Floats& constant(double value);
  Floats& keep(Floats values);
  Ints& labels(int64_t size, int64_t classes);

  // The calls, on either backend; then results of both are there.
  void run(const std::function<void(Run&)>& calls);
  // Mined choices may differ where this says of an element and two choices that they are as good.
  using AsGood = std::function<bool(size_t element, int64_t x, int64_t y)>;
  void allow(const std::string& name, AsGood as_good) { as_good_.emplace_back(name, std::move(as_good)); }
  // What a run left in an output; of another size where it was left out.
  Doubles left(const std::string& name, bool cuda) const;
  // The choices that the reference makes as its inputs move, for allow(): each is as good as any other of its element.
  static AsGood choices(const std::function<std::vector<int>(const Values&)>& reference, double error = 1e-6);
  // error: relative, of a product in float32 (METHOD.md 1); the bound is 10 times what 8 moves of the inputs by it do
  // (32 where that is exceeded), and 8 ulp of the result.
  // jumps: the result jumps where two values change their order. Then rounding to float32, which makes more of them
  // equal, is a move too, and what differs is compared again under more moves, large and small, which find rarer
  // orders.
  void expect(const Reference& reference, double error = 1e-6, bool jumps = false);

  // The case fails where a check of its own does.
  void check(bool holds, const char* otherwise) {
    if (!holds && difference.empty()) difference = otherwise;
  }

  // Whether the runs and the reference agree; else what differs first, in one line.
  std::string difference;
  // What the calls were given: the extents in the order drawn, and what describe() added.
  std::string description;
  template <class T>
  void describe(const char* name, T value) {
    description += text(' ', name, '=', value);
  }

 private:
  void compare(const std::vector<Expected>& exact, const std::vector<Doubles>& bounds);
  void differ(const std::string& name, size_t element, double cpu, double cuda, const std::string& why);

  // A copy of values.
  struct Halved {
    Floats* values;
    int64_t stride;
    duet_dtype dtype;
    std::vector<uint16_t> halves;
    void write();
  };

  uint64_t seed_;
  Draw draw_of_features_;  // of its own, so that no other draw depends on it
  std::list<Halved> halved_;
  std::list<Floats> floats_;
  std::vector<Floats*> operands_, weights_;
  // duet_precision: three TF32 products make NaN of an infinite element, because it leaves no finite rest. CUDA may
  // give what the CPU gives of the infinite element or what it gives where NaN stands for it: there the tile product
  // alone decides.
  std::vector<Result> cpu_of_nan_;
  std::list<Ints> ints_;
  std::vector<Result> cpu_, cuda_;
  std::vector<std::pair<std::string, AsGood>> as_good_;
};

struct Operation {
  const char* name;
  void (*run)(Case&);
};
const std::vector<Operation>& operations();

// Runs one case; what differs first and what the case was, or "".
std::string run_case(const Operation& operation, uint64_t seed);

}  // namespace duet::test::backends
