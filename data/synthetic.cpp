#include "data/synthetic.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <vector>

#include "kernels/core/error.h"
#include "kernels/core/philox.h"

namespace duet::data {
namespace {

enum Step : uint32_t { kMaps = 0, kTrain = 1, kTest = 2 };

// Element e of a standard normal draw (Box-Muller): a pair of words a pair of elements.
class Normals {
 public:
  Normals(uint64_t seed, uint32_t step, uint64_t first) : seed_(seed), step_(step), next_(first / 4 * 4) {}

  double operator()() {
    if (next_ % 4 == 0) {
      const PhiloxBlock words = random_block(seed_, kStreamSynthetic, step_, next_ / 4);
      for (size_t k = 0; k < 4; k += 2) {
        const double radius = std::sqrt(-2 * std::log(uniform(words[k]))),
                     angle = 2 * std::numbers::pi * uniform(words[k + 1]);
        values_[k] = radius * std::cos(angle);
        values_[k + 1] = radius * std::sin(angle);
      }
    }
    return values_[next_++ % 4];
  }
  // Moves to the next block: whatever is drawn next starts at an element that is a multiple of four.
  void align() { next_ = (next_ + 3) / 4 * 4; }

 private:
  uint64_t seed_;
  uint32_t step_;
  uint64_t next_;
  double values_[4] = {};
};

std::vector<double> normals(Normals& draw, int64_t count, double deviation) {
  std::vector<double> out(static_cast<size_t>(count));
  for (double& value : out) value = deviation * draw();
  draw.align();
  return out;
}

// x (1 x rows) times map (rows x columns), added to out.
void multiply_add(const std::vector<double>& x, const std::vector<double>& map, std::vector<double>& out) {
  for (size_t i = 0; i < x.size(); ++i)
    for (size_t k = 0; k < out.size(); ++k) out[k] += x[i] * map[i * out.size() + k];
}

// How one modality shows the factors: tanh of a random map of all its factors, then another random map to its width.
struct View {
  std::vector<double> first, second;  // (factors + own_factors) x hidden, hidden x width
  int64_t hidden, width;
};

class Generator {
 public:
  explicit Generator(const SyntheticOptions& options) : options_(options) {
    Normals draw(options.seed, kMaps, 0);
    centres_ = normals(draw, options.classes * options.factors, options.class_spread);
    for (size_t side = 0; side < kModalities; ++side) {
      View& view = views_[side];
      const int64_t all = options.factors + options.own_factors;
      view.width = options.widths[side];
      view.hidden = 2 * all;
      // The first map's deviation keeps tanh between its linear part and its ends, where the view would be linear or a
      // pattern of signs.
      view.first = normals(draw, all * view.hidden, 1.2 / std::sqrt(static_cast<double>(all)));
      view.second = normals(draw, view.hidden * view.width, 1 / std::sqrt(static_cast<double>(view.hidden)));
    }
  }

  Split split(Step step, int64_t rows) const {
    Split out;
    out.labels.resize(static_cast<size_t>(rows));
    for (size_t side = 0; side < kModalities; ++side) out.features[side] = Features(rows, views_[side].width);
    for (int64_t i = 0; i < rows; ++i) fill(step, i, out);
    return out;
  }

 private:
  // Elements of the draw that a row takes, rounded up for each part to whole blocks.
  uint64_t row_elements() const {
    const auto blocks = [](int64_t count) { return static_cast<uint64_t>((count + 3) / 4 * 4); };
    uint64_t total = 4 + blocks(options_.factors);
    for (const int64_t width : options_.widths) total += blocks(options_.own_factors) + blocks(width);
    return total;
  }

  void fill(Step step, int64_t row, Split& out) const {
    const uint64_t start = static_cast<uint64_t>(row) * row_elements();
    const auto label = static_cast<int32_t>(row % options_.classes);
    const bool hidden = step == kTrain &&
                        random_word(options_.seed, kStreamSynthetic, step, start) < coin_threshold(options_.unlabelled);
    out.labels[static_cast<size_t>(row)] = hidden ? -1 : label;
    Normals draw(options_.seed, step, start + 4);
    std::vector<double> pair = normals(draw, options_.factors, options_.pair_spread);
    for (int64_t k = 0; k < options_.factors; ++k)
      pair[static_cast<size_t>(k)] += centres_[static_cast<size_t>(label * options_.factors + k)];
    for (size_t side = 0; side < kModalities; ++side) {
      const View& view = views_[side];
      std::vector<double> factors = pair;
      const std::vector<double> own = normals(draw, options_.own_factors, options_.own_spread);
      factors.insert(factors.end(), own.begin(), own.end());
      std::vector<double> inner(static_cast<size_t>(view.hidden), 0.0),
          values = normals(draw, view.width, options_.noise);
      multiply_add(factors, view.first, inner);
      for (double& value : inner) value = std::tanh(value);
      multiply_add(inner, view.second, values);
      for (int64_t k = 0; k < view.width; ++k)
        out.features[side].row(row)[k] = static_cast<float>(values[static_cast<size_t>(k)]);
    }
  }

  SyntheticOptions options_;
  std::vector<double> centres_;  // classes x factors
  std::array<View, kModalities> views_;
};

void check(const SyntheticOptions& options) {
  const auto at_least = [](const char* name, int64_t value, int64_t low) {
    require(value >= low, "synthetic data, ", name, ": expected at least ", low, ", got ", value);
  };
  at_least("train_rows", options.train_rows, 1);
  at_least("test_rows", options.test_rows, 1);
  at_least("classes", options.classes, 1);
  at_least("widths", std::min(options.widths[0], options.widths[1]), 1);
  at_least("factors", options.factors, 1);
  at_least("own_factors", options.own_factors, 0);
  for (const double spread : {options.class_spread, options.pair_spread, options.own_spread, options.noise})
    require(spread >= 0 && std::isfinite(spread), "synthetic data: expected spreads and noise of at least 0, got ",
            spread);
  require(options.unlabelled >= 0 && options.unlabelled <= 1, "synthetic data, unlabelled: expected 0 to 1, got ",
          options.unlabelled);
}

}  // namespace

Dataset synthetic_dataset(const SyntheticOptions& options) {
  check(options);
  const Generator generator(options);
  Dataset dataset;
  dataset.name = "synthetic";
  dataset.modalities = {"audio", "visual"};
  dataset.train = generator.split(kTrain, options.train_rows);
  dataset.test = generator.split(kTest, options.test_rows);
  const auto values = [](const Split& split) { return std::vector<int64_t>(split.labels.begin(), split.labels.end()); };
  set_labels(dataset, values(dataset.train), values(dataset.test));
  return dataset;
}

}  // namespace duet::data
