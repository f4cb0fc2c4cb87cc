#include "data/preprocessing.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "data/dataset.h"
#include "tests/data/npy_files.h"
#include "tests/data/sources.h"
#include "tests/support/golden.h"

using namespace duet::data;
using namespace duet::test;

namespace {

// rows x columns values of type T, mean + deviation x standard normal, rounded to T.
template <class T>
std::vector<T> draw_values(int64_t rows, int64_t columns, double mean, double deviation, uint64_t seed) {
  Draw draw(seed);
  std::vector<T> out(static_cast<size_t>(rows * columns));
  for (T& value : out) value = static_cast<T>(mean + deviation * draw.normal());
  return out;
}

// METHOD.md 6, Inputs: the bare formulas in long double, from the definition.
template <class T>
Doubles reference_zscore(const std::vector<T>& train, const std::vector<T>& x, size_t columns) {
  Doubles out(x.size());
  const size_t rows = train.size() / columns;
  for (size_t k = 0; k < columns; ++k) {
    long double mean = 0, square = 0;
    for (size_t i = 0; i < rows; ++i)
      mean += static_cast<long double>(train[i * columns + k]) / static_cast<long double>(rows);
    for (size_t i = 0; i < rows; ++i) square += std::pow(static_cast<long double>(train[i * columns + k]) - mean, 2.0L);
    const long double deviation = std::sqrt(square / static_cast<long double>(rows - 1));
    for (size_t i = k; i < x.size(); i += columns)
      out[i] = static_cast<double>(std::clamp((static_cast<long double>(x[i]) - mean) / deviation, -5.0L, 5.0L));
  }
  return out;
}
template <class T>
Doubles reference_norm(const std::vector<T>& train, const std::vector<T>& x, size_t columns) {
  long double mean = 0;
  for (size_t i = 0; i < train.size(); i += columns) {
    long double square = 0;
    for (size_t k = 0; k < columns; ++k) square += std::pow(static_cast<long double>(train[i + k]), 2.0L);
    mean += std::sqrt(square) / static_cast<long double>(train.size() / columns);
  }
  Doubles out;
  for (const T value : x)
    out.push_back(static_cast<double>(std::clamp(
        static_cast<long double>(value) * std::sqrt(static_cast<long double>(columns)) / mean, -5.0L, 5.0L)));
  return out;
}

double largest_error(const Features& actual, const Doubles& expected) {
  double worst = 0;
  for (size_t k = 0; k < expected.size(); ++k) worst = std::max(worst, std::abs(actual.values[k] - expected[k]));
  return worst;
}

template <class T>
void check_reference(double mean, double deviation) {
  CAPTURE(mean);
  CAPTURE(deviation);
  const auto train = draw_values<T>(131, 17, mean, deviation, 1),
             test = draw_values<T>(29, 17, mean, 4 * deviation, 2);  // some beyond the limit
  // One rounding to float32 of values up to 5, and in float64 that of the mean and of the difference, in units of the
  // deviation.
  const double tolerance = 5 * 0x1p-24 + 2 * std::abs(mean) * 0x1p-53 / deviation;
  const Features zscore = Preprocessing::fit(source_of(train, 17), Scaling::zscore).apply(source_of(test, 17));
  CHECK(largest_error(zscore, reference_zscore(train, test, 17)) <= tolerance);
  const Features norm = Preprocessing::fit(source_of(train, 17), Scaling::norm).apply(source_of(test, 17));
  CHECK(largest_error(norm, reference_norm(train, test, 17)) <= 5 * 0x1p-24);
  const Features none = Preprocessing::fit(source_of(train, 17), Scaling::none).apply(source_of(test, 17));
  for (size_t k = 0; k < test.size(); ++k)
    REQUIRE(none.values[k] == static_cast<float>(std::clamp(static_cast<double>(test[k]), -5.0, 5.0)));
}

// One column of training values, and test values under the statistics of them.
template <class T>
std::vector<float> scaled(const std::vector<T>& train, const std::vector<T>& test, Scaling scaling = Scaling::zscore) {
  // A second column, of alternating zeros and ones, which is never constant.
  const auto pairs = [](const std::vector<T>& column) {
    std::vector<T> out;
    for (size_t i = 0; i < column.size(); ++i) out.insert(out.end(), {column[i], static_cast<T>(i % 2)});
    return out;
  };
  const std::vector<T> train_pairs = pairs(train), test_pairs = pairs(test);
  const Features out = Preprocessing::fit(source_of(train_pairs, 2), scaling).apply(source_of(test_pairs, 2));
  std::vector<float> column;
  for (size_t i = 0; i < out.values.size(); i += 2) column.push_back(out.values[i]);
  return column;
}

}  // namespace

TEST_CASE("preprocessing follows the reference from the file's own values, whatever their offset and unit") {
  for (const auto& [mean, deviation] : {std::pair{0.0, 1.0},
                                        {300.0, 1.0},
                                        {293.0, 0.7},
                                        {-1013.0, 1.5},
                                        {0.0, 1e-6},
                                        {0.0, 1e-12},
                                        {5e-30, 1e-30},
                                        {0.0, 1e30}})
    check_reference<float>(mean, deviation);
  for (const auto& [mean, deviation] :
       {std::pair{1e8, 1.0}, {-1e9, 1.0}, {0.0, 1e-12}, {0.0, 1e-200}, {1e250, 1e245}, {0.0, 1e-290}})
    check_reference<double>(mean, deviation);
  check_reference<int64_t>(1e12, 1000);
  check_reference<int64_t>(-4e15, 1e9);
  check_reference<uint8_t>(100, 12);
}

TEST_CASE("preprocessing of a few values by hand") {
  CHECK(scaled<float>({300, 301, 302}, {303, 301.5f}) == std::vector<float>{2, 0.5f});
  CHECK(scaled<double>({1e8, 1e8 + 1, 1e8 + 2}, {1e8 + 0.25}) == std::vector<float>{-0.75f});
  CHECK(scaled<int64_t>({1'000'000'000'000, 1'000'000'000'001, 1'000'000'000'002}, {1'000'000'000'003}) ==
        std::vector<float>{2});
  CHECK(scaled<float>({0x1p-40f, 0x1p-39f, 0x1.8p-39f}, {0, 1}) == std::vector<float>{-2, 5});  // no floor; clipped
  CHECK(scaled<uint16_t>({0x3C00, 0x4000, 0x4200}, {0x4400}) == std::vector<float>{2});  // float16: 1, 2, 3 and 4
  // An outlier in the first row costs the others no digits.
  const std::vector<double> outlier = {1e16, 1, 2, 3, 4};
  CHECK(largest_error(Preprocessing::fit(source_of(outlier, 1), Scaling::zscore).apply(source_of(outlier, 1)),
                      reference_zscore(outlier, outlier, 1)) <= 5 * 0x1p-24);
}

TEST_CASE("preprocessing: a column that is constant in training is 0 in every split") {
  for (const Scaling scaling : {Scaling::zscore, Scaling::norm}) {
    CHECK(scaled<float>({2023, 2023, 2023}, {2024, 0, -1e30f}, scaling) == std::vector<float>{0, 0, 0});
    CHECK(scaled<float>({0, 0, 0}, {0.5f}, scaling) == std::vector<float>{0});
    CHECK(scaled<uint8_t>({7, 7, 7}, {255}, scaling) == std::vector<float>{0});
  }
  CHECK(scaled<float>({2023, 2023}, {2024}, Scaling::none) == std::vector<float>{5});
  // std <= 4 u max|x|: two neighbours in float32 are one number that was rounded twice; the same two in float64 are
  // not, and integers are exact.
  const float next = std::nextafter(12345.678f, 1e9f);
  CHECK(scaled<float>({12345.678f, next, next}, {12346}) == std::vector<float>{0});
  CHECK(scaled<double>({12345.678f, next, next}, {12345.678f})[0] < -1);
  CHECK(scaled<double>({1, 1 + 0x1p-52, 1}, {2}) == std::vector<float>{0});
  CHECK(scaled<int64_t>({1'000'000'000'000, 1'000'000'000'001}, {1'000'000'000'002}) != std::vector<float>{0});
  CHECK(scaled<uint16_t>({0x5CB0, 0x5CB1, 0x5CB0}, {0x5CC0}) == std::vector<float>{0});  // float16: 300 and 300.25
  CHECK(scaled<uint16_t>({0x5CB0, 0x5CB8, 0x5CB0}, {0x5CC0})[0] > 1);                    // 300 and 302
  CHECK(scaled<double>({0, std::numeric_limits<double>::denorm_min(), 0}, {1}) ==
        std::vector<float>{0});  // 1 / std overflows

  std::vector<float> sparse(300 * 4);
  for (size_t i = 0; i < 300; ++i) sparse[4 * i + i % 2] = 1;
  const Preprocessing inputs = Preprocessing::fit(source_of(sparse, 4), Scaling::automatic);
  CHECK(inputs.scale[0] > 0);
  CHECK(inputs.scale[2] == 0);
  CHECK(inputs.reason == "norm (auto: no negative value, 75 % zeros; 2 of 4 columns are constant and become 0)");
  CHECK(Preprocessing::fit(source_of(sparse, 4), Scaling::zscore).reason ==
        "zscore (as configured; 2 of 4 columns are constant and become 0)");
  CHECK(Preprocessing::fit(source_of(sparse, 4), Scaling::none).reason == "none (as configured)");
}

TEST_CASE("preprocessing refuses what tells no rows apart, and what does not fit") {
  const std::vector<float> ones(12, 1.0f), single = {1, 2, 3}, zero(12);
  for (const Scaling scaling : {Scaling::automatic, Scaling::zscore, Scaling::norm, Scaling::none}) {
    check_refused([&] { Preprocessing::fit(source_of(ones, 3), scaling); }, DUET_STATUS_INVALID_ARGUMENT,
                  {"x.npy: all 3 columns are constant"});
    check_refused([&] { Preprocessing::fit(source_of(zero, 3), scaling); }, DUET_STATUS_INVALID_ARGUMENT,
                  {"x.npy: all 3 columns are constant"});
    check_refused([&] { Preprocessing::fit(source_of(single, 3), scaling); }, DUET_STATUS_INVALID_ARGUMENT,
                  {"x.npy: a single row"});
  }
  check_refused([&] { source_of(std::vector<float>(), 3); }, DUET_STATUS_INVALID_ARGUMENT, {"at least one row"});
  const std::vector<double> train = {0, 1, 2, 3};
  Preprocessing inputs = Preprocessing::fit(source_of(train, 1), Scaling::zscore);
  check_refused([&] { inputs.apply(source_of(single, 3, "visual.npy")); }, DUET_STATUS_INVALID_ARGUMENT,
                {"visual.npy: 3 columns; expected 1 as in training"});
  inputs.limit = std::numeric_limits<double>::infinity();
  const std::vector<double> huge = {0, 1e200};
  check_refused([&] { inputs.apply(source_of(huge, 1)); }, DUET_STATUS_INVALID_ARGUMENT,
                {"x.npy: row 1, column 0 is 1e+200", "finite in float32"});
  CHECK(Preprocessing::fit(source_of(train, 1), Scaling::zscore).apply(source_of(huge, 1)).row(1)[0] == 5);
}

TEST_CASE("preprocessing as duet 0.1.0 scaled, for its models: everything in float32") {
  const auto mean = draw_values<float>(1, 7, 293, 40, 3), scale = draw_values<float>(1, 7, 1.4, 0.3, 4);
  Preprocessing inputs;
  inputs.mean.assign(mean.begin(), mean.end());
  inputs.scale.assign(scale.begin(), scale.end());
  inputs.single_precision = true;
  const auto rows = draw_values<double>(50, 7, 293, 41, 5);
  const Features x = inputs.apply(source_of(rows, 7));
  for (size_t k = 0; k < rows.size(); ++k)
    REQUIRE(x.values[k] == std::clamp((static_cast<float>(rows[k]) - mean[k % 7]) * scale[k % 7], -5.0f, 5.0f));
}

TEST_CASE("preprocessing auto says what it chose and why") {
  const auto choice = [](const std::vector<float>& x, int64_t columns) {
    return Preprocessing::fit(source_of(x, columns), Scaling::automatic);
  };
  const auto normal = draw_values<float>(50, 10, 0, 1, 3), offset = draw_values<float>(50, 10, 300, 1, 3);
  CHECK(choice(normal, 10).scaling == Scaling::zscore);
  CHECK(choice(normal, 10).reason == "zscore (auto: negative values)");
  CHECK(choice(offset, 10).scaling == Scaling::zscore);  // though every row has nearly the same sum and norm
  CHECK(choice(offset, 10).reason.starts_with("zscore (auto: the smallest value is 29"));
  std::vector<float> power = normal;
  for (float& value : power) value = std::exp(0.7f * value) * 1e-7f;
  CHECK(choice(power, 10).scaling == Scaling::zscore);
  CHECK(Preprocessing::fit(source_of(normal, 10), Scaling::norm).reason == "norm (as configured)");

  // zeros of 20 values a row, the rest drawn; rows as they are, of one sum, or of one norm.
  enum class Rows { free, one_sum, one_norm };
  const auto sparse = [](size_t zeros, Rows rows) {
    Draw draw(4);
    std::vector<float> out;
    for (size_t i = 0; i < 40; ++i) {
      Doubles row(20);
      double sum = 0, square = 0;
      for (size_t k = 0; k < 20 - zeros; ++k) {
        row[(i + k) % 20] = draw.uniform(0.01, 1);
        sum += row[(i + k) % 20], square += row[(i + k) % 20] * row[(i + k) % 20];
      }
      const double by = rows == Rows::one_sum ? sum : rows == Rows::one_norm ? std::sqrt(square) : 1;
      for (const double value : row) out.push_back(static_cast<float>(value / by));
    }
    return out;
  };
  const auto check = [&](size_t zeros, Rows rows, const std::string& reason) {
    CHECK(choice(sparse(zeros, rows), 20).reason == reason);
  };
  check(11, Rows::free, "norm (auto: no negative value, 55 % zeros)");
  check(10, Rows::free, "zscore (auto: no negative value, 50 % zeros, rows of unequal sums and norms)");
  check(3, Rows::one_sum, "norm (auto: no negative value, 15 % zeros, every row has the same sum)");
  check(3, Rows::one_norm, "norm (auto: no negative value, 15 % zeros, every row has the same norm)");
  check(2, Rows::one_sum, "zscore (auto: no negative value, 10 % zeros)");
  std::vector<float> with_empty = sparse(3, Rows::one_sum);
  std::fill_n(with_empty.begin(), 20, 0.0f);  // an empty document says nothing of sums
  CHECK(choice(with_empty, 20).scaling == Scaling::norm);
  with_empty[20] = -1e-6f;
  CHECK(choice(with_empty, 20).scaling == Scaling::zscore);
}

TEST_CASE("preprocessing auto on the shared data") {
  const auto root = shared_dir() / "data";
  if (!std::filesystem::is_directory(root)) {
    report_absent(root);
    return;
  }
  // Drawn digits are 81 % background.
  for (const auto& [name, a, v] : {std::tuple{"avdigits", Scaling::zscore, Scaling::norm},
                                   std::tuple{"wikipedia", Scaling::norm, Scaling::norm}}) {
    const Dataset dataset = load_dataset(FolderFiles(root / name));
    CAPTURE(dataset.inputs[0].reason);
    CAPTURE(dataset.inputs[1].reason);
    CHECK(dataset.inputs[0].scaling == a);
    CHECK(dataset.inputs[1].scaling == v);
    for (const float value : dataset.test.features[1].values) REQUIRE(std::abs(value) <= kInputLimit);
  }
}

TEST_CASE("preprocessing words") {
  for (const Scaling scaling : {Scaling::automatic, Scaling::zscore, Scaling::norm, Scaling::none})
    CHECK(parse_scaling(scaling_name(scaling), "inputs.audio") == scaling);
  check_refused([] { parse_scaling("z-score", "inputs.audio"); }, DUET_STATUS_INVALID_ARGUMENT,
                {"inputs.audio: expected auto, zscore, norm or none, got z-score"});
}
