#include "data/synthetic.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "tests/data/npy_files.h"
#include "tests/data/write_files.h"

using namespace duet::data;
using namespace duet::test;

namespace {

double square_distance(const Features& x, int64_t i, int64_t j) {
  double sum = 0;
  for (int64_t k = 0; k < x.columns; ++k) sum += std::pow(static_cast<double>(x.row(i)[k]) - x.row(j)[k], 2);
  return sum;
}

}  // namespace

TEST_CASE("synthetic data: the same seed gives the same bits, and rows do not depend on their number") {
  SyntheticOptions options;
  options.train_rows = 100, options.test_rows = 40, options.widths = {7, 13}, options.unlabelled = 0.3;
  const Dataset one = synthetic_dataset(options), two = synthetic_dataset(options);
  options.train_rows = 57;
  const Dataset shorter = synthetic_dataset(options);
  options.seed = 1;
  const Dataset other = synthetic_dataset(options);
  for (const size_t side : {0, 1}) {
    const Features& x = one.train.features[side];
    CHECK(x.rows == 100);
    CHECK(x.columns == (side == 0 ? 7 : 13));
    CHECK(x.values == two.train.features[side].values);
    CHECK(std::equal(shorter.train.features[side].values.begin(), shorter.train.features[side].values.end(),
                     x.values.begin()));
    CHECK(one.test.features[side].values == shorter.test.features[side].values);
    CHECK(shorter.train.features[side].values != other.train.features[side].values);
    CHECK(!std::equal(x.values.begin(), x.values.begin() + 40, one.test.features[side].values.begin()));
    for (const float value : x.values) REQUIRE(std::isfinite(value));
  }
  CHECK(one.train.labels == two.train.labels);
  const auto hidden = std::count(one.train.labels.begin(), one.train.labels.end(), -1);
  CHECK(hidden > 15);
  CHECK(hidden < 45);
  for (int64_t i = 0; i < 100; ++i)
    CHECK((one.train.labels[static_cast<size_t>(i)] == i % 10 || one.train.labels[static_cast<size_t>(i)] == -1));
  CHECK(std::count(one.test.labels.begin(), one.test.labels.end(), -1) == 0);
  CHECK(one.classes == 10);
}

TEST_CASE("synthetic data: classes and pairs are there to be found in both modalities") {
  SyntheticOptions options;
  options.train_rows = 300, options.test_rows = 1;
  const Dataset dataset = synthetic_dataset(options);
  for (const Features& x : dataset.train.features) {
    double same = 0, different = 0;
    int64_t same_count = 0, different_count = 0;
    for (int64_t i = 0; i < 300; ++i)
      for (int64_t j = 0; j < i; ++j) {
        const bool equal = i % 10 == j % 10;
        (equal ? same : different) += square_distance(x, i, j);
        ++(equal ? same_count : different_count);
      }
    CHECK(same / static_cast<double>(same_count) < 0.8 * different / static_cast<double>(different_count));
  }
  // Within a class distances correlate across the modalities: the pair's own deviation is seen by both.
  double sum_a = 0, sum_v = 0, sum_aa = 0, sum_vv = 0, sum_av = 0, count = 0;
  for (int64_t i = 0; i < 300; ++i)
    for (int64_t j = i % 10; j < i; j += 10) {
      const double a = square_distance(dataset.train.features[0], i, j),
                   v = square_distance(dataset.train.features[1], i, j);
      sum_a += a, sum_v += v, sum_aa += a * a, sum_vv += v * v, sum_av += a * v, ++count;
    }
  const double covariance = sum_av / count - sum_a / count * sum_v / count;
  const double correlation = covariance / std::sqrt((sum_aa / count - std::pow(sum_a / count, 2)) *
                                                    (sum_vv / count - std::pow(sum_v / count, 2)));
  CHECK(correlation > 0.1);
}

TEST_CASE("synthetic data as a folder") {
  const Folder folder;
  SyntheticOptions options;
  options.train_rows = 33, options.test_rows = 9, options.own_factors = 0;
  const Dataset dataset = synthetic_dataset(options);
  write_dataset(folder.path() / "made", dataset);
  const Dataset back = load_dataset(FolderFiles(folder.path() / "made"), {}, kUnscaled);
  CHECK(back.modalities == dataset.modalities);
  CHECK(back.train.labels == dataset.train.labels);
  CHECK(back.train.features[0].values == dataset.train.features[0].values);
  CHECK(back.test.features[1].values == dataset.test.features[1].values);
}

TEST_CASE("synthetic data refuses what makes none") {
  const auto refused = [](auto change, const std::string& part) {
    SyntheticOptions options;
    change(options);
    check_refused([&] { synthetic_dataset(options); }, DUET_STATUS_INVALID_ARGUMENT, {part});
  };
  refused([](SyntheticOptions& o) { o.train_rows = 0; }, "train_rows: expected at least 1, got 0");
  refused([](SyntheticOptions& o) { o.widths[1] = 0; }, "widths: expected at least 1, got 0");
  refused([](SyntheticOptions& o) { o.classes = 0; }, "classes: expected at least 1, got 0");
  refused([](SyntheticOptions& o) { o.noise = -1; }, "noise of at least 0, got -1");
  refused([](SyntheticOptions& o) { o.unlabelled = std::numeric_limits<double>::quiet_NaN(); },
          "unlabelled: expected 0 to 1");
}
