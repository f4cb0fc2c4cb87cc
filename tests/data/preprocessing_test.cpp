#include "data/preprocessing.h"

#include <algorithm>
#include <cmath>

#include "tests/data/npy_files.h"
#include "tests/support/golden.h"

using namespace duet::data;
using namespace duet::test;

namespace {

Features draw_features(int64_t rows, int64_t columns, double mean, double deviation, uint64_t seed) {
  Draw draw(seed);
  Features x(rows, columns);
  for (float& value : x.values) value = static_cast<float>(mean + deviation * draw.normal());
  return x;
}

// METHOD.md 6, Inputs: the bare formulas in double, from the definition.
Doubles reference_zscore(const Features& train, const Features& x) {
  Doubles out(x.values.size());
  for (int64_t k = 0; k < x.columns; ++k) {
    double mean = 0, square = 0;
    for (int64_t i = 0; i < train.rows; ++i) mean += static_cast<double>(train.row(i)[k]) / static_cast<double>(train.rows);
    for (int64_t i = 0; i < train.rows; ++i) square += std::pow(train.row(i)[k] - mean, 2);
    const double deviation = std::sqrt(square / static_cast<double>(train.rows - 1));
    for (int64_t i = 0; i < x.rows; ++i)
      out[static_cast<size_t>(i * x.columns + k)] = std::clamp((x.row(i)[k] - mean) / (deviation + 1e-4), -5.0, 5.0);
  }
  return out;
}
Doubles reference_norm(const Features& train, const Features& x) {
  double mean = 0;
  for (int64_t i = 0; i < train.rows; ++i) {
    double square = 0;
    for (int64_t k = 0; k < train.columns; ++k) square += std::pow(train.row(i)[k], 2);
    mean += std::sqrt(square) / static_cast<double>(train.rows);
  }
  Doubles out;
  for (const float value : x.values) out.push_back(std::clamp(value * std::sqrt(static_cast<double>(x.columns)) / mean, -5.0, 5.0));
  return out;
}

double largest_error(const Features& actual, const Doubles& expected) {
  double worst = 0;
  for (size_t k = 0; k < expected.size(); ++k) worst = std::max(worst, std::abs(actual.values[k] - expected[k]));
  return worst;
}

}  // namespace

TEST_CASE("preprocessing follows the double reference, test rows by the training statistics") {
  for (const auto& [mean, deviation] : {std::pair{0.0, 1.0}, std::pair{100.0, 0.5}, std::pair{-3.0, 20.0}, std::pair{0.0, 1e-5}}) {
    CAPTURE(mean);
    CAPTURE(deviation);
    const Features train = draw_features(131, 17, mean, deviation, 1);
    Features test = draw_features(29, 17, mean, 4 * deviation, 2);  // some beyond the limit
    const Features before = test;
    const Preprocessing zscore = Preprocessing::fit(train, Scaling::zscore);
    zscore.apply(test, "test");
    // The mean is kept in float32: half an ulp of it in units of the deviation, besides three roundings of values up to 5.
    const double tolerance = std::abs(mean) * 0x1p-24 * 2 / (deviation + 1e-4) + 5 * 4 * 0x1p-24;
    CHECK(largest_error(test, reference_zscore(train, before)) <= tolerance);
    test = before;
    Preprocessing::fit(train, Scaling::norm).apply(test, "test");
    CHECK(largest_error(test, reference_norm(train, before)) <= 5 * 2 * 0x1p-24);
    test = before;
    Preprocessing::fit(train, Scaling::none).apply(test, "test");
    for (size_t k = 0; k < test.values.size(); ++k) CHECK(test.values[k] == std::clamp(before.values[k], -5.0f, 5.0f));
  }
}

TEST_CASE("preprocessing of constant columns, a single row, zero rows") {
  Features train(1000, 2);
  for (int64_t i = 0; i < train.rows; ++i) train.row(i)[0] = 12345.678f, train.row(i)[1] = 0.1f;
  Features copy = train;
  Preprocessing::fit(train, Scaling::zscore).apply(copy, "train");
  for (const float value : copy.values) CHECK(value == 0);
  Features single(1, 3);
  single.values = {1, 2, 3};
  copy = single;
  Preprocessing::fit(single, Scaling::zscore).apply(copy, "single");
  CHECK(copy.values == std::vector<float>{0, 0, 0});
  Features zero(4, 3);
  Preprocessing::fit(zero, Scaling::norm).apply(zero, "zero");
  CHECK(zero.values == std::vector<float>(12, 0.0f));
  check_refused([] { Preprocessing::fit(Features(), Scaling::zscore); }, DUET_INVALID_ARGUMENT, {"at least one row"});
  check_refused([&] { Preprocessing::fit(single, Scaling::norm).apply(zero = Features(1, 4), "visual"); }, DUET_INVALID_ARGUMENT,
                {"visual: 4 columns; expected 3 as in training"});
}

TEST_CASE("preprocessing auto says what it chose and why") {
  const auto choice = [](const Features& x) { return Preprocessing::fit(x, Scaling::automatic); };
  const Features normal = draw_features(50, 10, 0, 1, 3);
  CHECK(choice(normal).scaling == Scaling::zscore);
  CHECK(choice(normal).reason == "zscore (auto: negative values, 0 % zeros)");
  Draw draw(4);
  Features histogram(40, 12), bag(40, 12), counts(40, 100), picture(40, 12);
  for (int64_t i = 0; i < 40; ++i) {
    double sum = 0, square = 0;
    for (int64_t k = 0; k < 12; ++k) {
      const double value = draw.uniform(0, 1) < 0.5 ? 0 : draw.uniform(0.01, 1);
      picture.row(i)[k] = histogram.row(i)[k] = bag.row(i)[k] = static_cast<float>(value);
      sum += value, square += value * value;
    }
    for (int64_t k = 0; k < 12 && sum > 0; ++k) {
      histogram.row(i)[k] /= static_cast<float>(sum);
      bag.row(i)[k] /= static_cast<float>(std::sqrt(square));
    }
    for (int64_t k = 0; k < 3; ++k) counts.row(i)[draw.integer(0, 99)] += 1;
  }
  CHECK(choice(histogram).scaling == Scaling::norm);
  CHECK(choice(histogram).reason.find("same sum") != std::string::npos);
  CHECK(choice(bag).scaling == Scaling::norm);
  CHECK(choice(bag).reason.find("same norm") != std::string::npos);
  CHECK(choice(counts).scaling == Scaling::norm);
  CHECK(choice(picture).scaling == Scaling::zscore);
  CHECK(Preprocessing::fit(normal, Scaling::norm).reason == "norm (as configured)");
}

TEST_CASE("preprocessing auto chooses for the shared data as its known answers do") {
  const auto root = shared_dir() / "data";
  if (!std::filesystem::is_directory(root)) {
    MESSAGE("skipped: no data at " << root.string() << " (set DUET_SHARED_DIR)");
    return;
  }
  for (const auto& [name, scaling] : {std::pair{"avdigits", Scaling::zscore}, std::pair{"wikipedia", Scaling::norm}}) {
    const Folder folder;
    copy_in_c_order(root / name, folder.path());
    Dataset dataset = load_dataset(folder.path());
    for (const Preprocessing& chosen : preprocess(dataset, {Scaling::automatic, Scaling::automatic})) {
      CAPTURE(chosen.reason);
      CHECK(chosen.scaling == scaling);
    }
    for (const float value : dataset.test.features[1].values) REQUIRE(std::abs(value) <= kInputLimit);
  }
}

TEST_CASE("preprocessing words") {
  for (const Scaling scaling : {Scaling::automatic, Scaling::zscore, Scaling::norm, Scaling::none})
    CHECK(parse_scaling(scaling_name(scaling), "inputs.audio") == scaling);
  check_refused([] { parse_scaling("z-score", "inputs.audio"); }, DUET_INVALID_ARGUMENT,
                {"inputs.audio: expected auto, zscore, norm or none, got z-score"});
}
