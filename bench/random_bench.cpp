#include "bench/bench.h"
#include "bench/verify.h"
#include "kernels/core/philox.h"

namespace duet::bench {
namespace {

enum class Kind { words, uniform };

constexpr uint64_t kSeed = 7;

struct Set {
  Words words;
  Floats values;
};

// n x d elements of a draw.
class Random : public Rotating<Set> {
 public:
  Random(const Setting& setting, Kind kind) : context_(setting.context), kind_(kind) {
    const int64_t size = setting.shape.n * setting.shape.d;
    draw_sets(
        [&](Draw&) {
          return Set{Words(kind == Kind::words ? size : 0), Floats(kind == Kind::uniform ? size : 0)};
        },
        [](const Set& s) { return bytes_of(s.words, s.values); });
    // A Philox block is ten rounds of two products and four exclusive ors, and its key's two sums, for four elements.
    const double elements = static_cast<double>(size);
    forward_cost = {(kind == Kind::words ? 20 : 23) * elements, bytes_of(set(0).words, set(0).values), 0};
  }

  void forward(int k) override {
    duet_random_inputs draw = parameters();
    draw.low = -1, draw.high = 1;
    if (kind_ == Kind::words)
      succeed(duet_random_words(context_, &draw, sized<duet_random_words_outputs>({.words = set(k).words.vector()})));
    else
      succeed(
          duet_random_uniform(context_, &draw, sized<duet_random_uniform_outputs>({.values = set(k).values.vector()})));
  }

  void verify_forward() override {
    const Set& s = set(0);
    for (const int64_t e : spots(std::max(s.words.size(), s.values.size()))) {
      const uint32_t word = random_word(kSeed, kStreamInitialisation, 1, static_cast<uint64_t>(e));
      if (kind_ == Kind::words)
        expect(s.words[e] == word, "words", e);
      else
        expect(s.values[e] == static_cast<float>(-1 + 2 * uniform(word)), "values", e);
    }
  }

 private:
  static duet_random_inputs parameters() {
    duet_random_inputs draw = DUET_RANDOM_INPUTS_INIT;
    draw.seed = kSeed, draw.stream = kStreamInitialisation, draw.step = 1;
    return draw;
  }

  duet_context* context_;
  Kind kind_;
};

Registration variant(const char* name, Kind kind) {
  return {"random", name, Passes::forward_only,
          [kind](const Setting& setting) { return std::make_unique<Random>(setting, kind); }};
}
const Registration kVariants[] = {variant("words", Kind::words), variant("uniform", Kind::uniform)};

}  // namespace
}  // namespace duet::bench
