#include "data/label_hiding.h"

#include <algorithm>
#include <cmath>

#include "kernels/core/error.h"
#include "kernels/core/philox.h"

namespace duet::data {
namespace {

struct Sample {
  int32_t label;
  uint32_t word;
  int64_t row;
};

}  // namespace

int64_t round_half_even(double value) {
  const double below = std::floor(value), rest = value - below;
  const auto whole = static_cast<int64_t>(below);
  if (rest != 0.5) return whole + (rest > 0.5);
  return whole + whole % 2;
}

std::vector<int32_t> hide_labels(std::span<const int32_t> labels, double share, uint64_t seed) {
  require(share >= 0 && share <= 1, "labelled share: expected 0 to 1, got ", share);
  std::vector<Sample> samples;
  for (size_t i = 0; i < labels.size(); ++i)
    if (labels[i] >= 0)
      samples.push_back({labels[i], random_word(seed, kStreamLabelHiding, 0, i), static_cast<int64_t>(i)});
  std::sort(samples.begin(), samples.end(), [](const Sample& a, const Sample& b) {
    return a.label != b.label ? a.label < b.label : a.word != b.word ? a.word < b.word : a.row < b.row;
  });
  std::vector<int32_t> out(labels.size(), -1);
  for (size_t first = 0, next = 0; share > 0 && first < samples.size(); first = next) {
    while (next < samples.size() && samples[next].label == samples[first].label) ++next;
    const auto count = static_cast<int64_t>(next - first);
    const int64_t kept = std::max<int64_t>(1, round_half_even(share * static_cast<double>(count)));
    for (size_t k = first; k < first + static_cast<size_t>(kept); ++k)
      out[static_cast<size_t>(samples[k].row)] = samples[k].label;
  }
  return out;
}

std::vector<int32_t> hide_labels(std::span<const int32_t> labels, const LabelSets& sets, double share, uint64_t seed) {
  std::vector<int32_t> out = hide_labels(strata_of(labels, sets), share, seed);
  for (size_t i = 0; i < out.size(); ++i)
    if (out[i] >= 0) out[i] = labels[i];
  return out;
}

}  // namespace duet::data
