#include "tests/reference/random.h"

#include <limits>

#include "kernels/core/philox.h"
#include "tests/support/arrays.h"
#include "tests/support/compare.h"
#include "tests/support/golden.h"

using namespace duet::test;

namespace {

using Words = Array<uint32_t>;

duet_random_inputs draw_of(uint64_t seed, uint32_t stream, uint32_t step, uint64_t first_element = 0) {
  duet_random_inputs draw = DUET_RANDOM_INPUTS_INIT;
  draw.seed = seed, draw.stream = stream, draw.step = step, draw.first_element = first_element;
  return draw;
}

Words words(const duet_random_inputs& draw, int64_t size, int threads) {
  Words out(size, 1);
  SUCCEED_CALL(duet_random_words(Context(threads), &draw, sized<duet_random_words_outputs>({.words = out.vector()})));
  return out;
}

}  // namespace

TEST_CASE("philox agrees with its published vectors") {
  using Block = duet::PhiloxBlock;
  const uint32_t all = 0xFFFFFFFF;
  CHECK(duet::philox({0, 0, 0, 0}, 0, 0) == Block{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  CHECK(duet::philox({all, all, all, all}, all, all) == Block{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
  CHECK(duet::philox({0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344}, 0xA4093822, 0x299F31D0) ==
        Block{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
  CHECK(duet::reference::philox({{0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344}}, 0xA4093822, 0x299F31D0).word[3] ==
        0x24126ea1);
}

TEST_CASE("random words agree with the golden ones") {
  const auto path = shared_dir() / "reference" / "golden" / "random_words.npy";
  if (!std::filesystem::exists(path)) {
    report_absent(path);
    return;
  }
  const GoldenArray golden = load_golden(path);
  REQUIRE(golden.rows == 72);
  Doubles drawn = words(draw_of(0x0123456789ABCDEF, 5, 3), 64, 2).values();
  const Doubles far = words(draw_of(0x0123456789ABCDEF, 5, 3, uint64_t{1} << 34), 8, 2).values();
  drawn.insert(drawn.end(), far.begin(), far.end());
  check_close(drawn, golden.values, 0, "words");
}

TEST_CASE("random words are those of the definition, from any element, with any number of threads") {
  for (const int64_t size : {0, 1, 3, 67, 4096, 9001})
    for (const uint64_t first : {uint64_t{0}, uint64_t{1}, uint64_t{4095}, (uint64_t{1} << 34) - 3, ~uint64_t{0} - 1}) {
      CAPTURE(size);
      CAPTURE(first);
      const auto draw = draw_of(0xFEDCBA9876543210, 6 + 256 * 3, 17, first);
      const Words drawn = words(draw, size, 1);
      int64_t wrong = 0;
      for (int64_t e = 0; e < size; ++e)
        wrong += drawn.at(e) !=
                 duet::reference::random_word(draw.seed, draw.stream, draw.step, first + static_cast<uint64_t>(e));
      CHECK(wrong == 0);
      for (const int threads : other_thread_counts()) CHECK(words(draw, size, threads).same_bits(drawn));
    }
}

TEST_CASE("random uniforms are rounded once") {
  auto draw = draw_of(42, 1, 2, 5);
  const float low = -0.3f, high = 1.7f;
  draw.low = low, draw.high = high;
  Floats values(5003, 1);
  SUCCEED_CALL(duet_random_uniform(Context(1), &draw, sized<duet_random_uniform_outputs>({.values = values.vector()})));
  int64_t wrong = 0;
  double sum = 0;
  for (int64_t e = 0; e < values.rows(); ++e) {
    const double u = (duet::reference::random_word(42, 1, 2, 5 + static_cast<uint64_t>(e)) + 0.5) / 4294967296.0;
    wrong += values.at(e) != static_cast<float>(double{low} + (double{high} - double{low}) * u);
    sum += values.at(e);
  }
  CHECK(wrong == 0);
  CHECK(std::abs(sum / 5003 - 0.7) < 4 * 2 / std::sqrt(12.0 * 5003));  // four deviations of the mean of U(-0.3, 1.7)
  for (const int threads : other_thread_counts()) {
    Floats again(5003, 1);
    SUCCEED_CALL(
        duet_random_uniform(Context(threads), &draw, sized<duet_random_uniform_outputs>({.values = again.vector()})));
    CHECK(again.same_bits(values));
  }
}

TEST_CASE("random coins") {
  CHECK(duet::coin_threshold(0) == 0);
  CHECK(duet::coin_threshold(1) == uint64_t{1} << 32);
  CHECK(duet::coin_threshold(-0.25) == 0);
  CHECK(duet::coin_threshold(1e300) == uint64_t{1} << 32);
  CHECK(duet::coin_threshold(std::numeric_limits<double>::quiet_NaN()) == 0);
  CHECK(duet::coin_threshold(0.5) == uint64_t{1} << 31);
}

TEST_CASE("random refuses misuse") {
  Context context;
  auto draw = draw_of(1, 1, 1);
  Words out(4, 1);
  Floats values(4, 1);
  FAIL_CALL(duet_random_words(context, nullptr, sized<duet_random_words_outputs>({.words = out.vector()})),
            DUET_STATUS_INVALID_ARGUMENT, "inputs: null");
  FAIL_CALL(duet_random_words(context, &draw, sized<duet_random_words_outputs>({.words = values.vector()})),
            DUET_STATUS_INVALID_ARGUMENT, "words: expected dtype u32, got f32");
  FAIL_CALL(duet_random_words(nullptr, &draw, sized<duet_random_words_outputs>({.words = out.vector()})),
            DUET_STATUS_INVALID_ARGUMENT, "context: null");
  draw.low = 1;
  FAIL_CALL(duet_random_uniform(context, &draw, sized<duet_random_uniform_outputs>({.values = values.vector()})),
            DUET_STATUS_INVALID_ARGUMENT, "inputs.low, inputs.high: expected finite bounds");
  draw.low = 0, draw.high = std::numeric_limits<float>::quiet_NaN();
  FAIL_CALL(duet_random_uniform(context, &draw, sized<duet_random_uniform_outputs>({.values = values.vector()})),
            DUET_STATUS_INVALID_ARGUMENT, "inputs.low, inputs.high");
}
