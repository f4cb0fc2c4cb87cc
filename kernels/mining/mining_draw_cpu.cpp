#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/mining/mining_draw_cpu.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>
// after highway.h
#include <hwy/contrib/math/math-inl.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/core/philox.h"
#include "kernels/cpu/philox-inl.h"
#include "kernels/cpu/vector-inl.h"
#include "kernels/mining/mining_rows_cpu.h"

HWY_BEFORE_NAMESPACE();
namespace duet::cpu::HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

// A draw takes the largest log p - log(-log u), three logarithms in float64 a column. All but a few columns are ruled
// out by a bound from above: log p in float32, and -log(-log u) <= -log(1 - u), whose logarithm is at least its
// exponent plus its fraction, log2(1 + f) >= f. The bound is looser than the value by 0.06 where u is near 1, as it is
// for whoever wins, so that the values of one or two columns a draw are formed.

// The bounds of log p, -inf for a column that may not be drawn, for whole vectors. Returns whether there is one that
// may.
bool bound_log_weights(const float* euclidean, int32_t label, const int32_t* labels, int64_t m, int64_t dimension,
                       float* out) {
  const FloatTag tag;
  const hn::RebindToSigned<FloatTag> integers;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(tag));
  const auto a = hn::Set(tag, static_cast<float>(2 - dimension)),
             b = hn::Set(tag, 0.5f * static_cast<float>(dimension - 3));
  const auto none = hn::Set(tag, -std::numeric_limits<float>::infinity());
  const auto own = hn::Set(integers, label), unknown = hn::Set(integers, -1);
  auto any = hn::FirstN(tag, 0);
  const auto weigh = [&](const float* distances, const int32_t* their_labels, float* to) HWY_ATTR {
    const auto e = hn::LoadU(tag, distances);
    const auto other = hn::LoadU(integers, their_labels);
    const auto negative = hn::AndNot(hn::Eq(other, own), hn::Gt(other, unknown));
    const auto candidate = hn::And(hn::RebindMask(tag, negative), hn::Lt(e, hn::Set(tag, 1.4f)));
    const auto raised = hn::Max(hn::IfThenElseZero(candidate, e), hn::Set(tag, 0.5f));
    const auto rest = hn::NegMulAdd(hn::Mul(raised, hn::Set(tag, 0.25f)), raised, hn::Set(tag, 1.0f));
    const auto weight = hn::NegMulAdd(b, log(tag, rest), hn::Mul(a, log(tag, raised)));
    hn::StoreU(hn::IfThenElse(candidate, weight, none), tag, to);
    any = hn::Or(any, candidate);
  };
  int64_t j = 0;
  for (; j + lanes <= m; j += lanes) weigh(euclidean + j, labels + j, out + j);
  if (j < m) {
    HWY_ALIGN float distances[HWY_MAX_BYTES / sizeof(float)] = {};
    HWY_ALIGN int32_t their_labels[HWY_MAX_BYTES / sizeof(int32_t)];
    std::fill_n(their_labels, lanes, -1);
    std::copy(euclidean + j, euclidean + m, distances);
    std::copy(labels + j, labels + m, their_labels);
    weigh(distances, their_labels, out + j);
  }
  return !hn::AllFalse(tag, any);
}

// What float32 may take off a bound: 1.5 ulp a logarithm, of which none is larger than 0.7, and the rounding of 1 -
// E^2/4 >= 0.5 before the second, of the products and the sum; the exponent and fraction of 1 - u as one float32, below
// 160.
float bound_slack(int64_t dimension) { return 4e-7f * static_cast<float>(2 * dimension + 3) + 3e-5f; }

// The bounds of a slot's values, -inf where log p's are, for whole vectors; returns the largest.
float bound_scores(const float* log_weight, const uint32_t* words, int64_t m, float* out) {
  const FloatTag tag;
  const hn::RebindToSigned<FloatTag> integers;
  const hn::RebindToUnsigned<FloatTag> bits;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(tag));
  constexpr float kLogOfTwo = static_cast<float>(kLn2);
  auto largest = hn::Set(tag, -std::numeric_limits<float>::infinity());
  for (int64_t j = 0; j < m; j += lanes) {
    // 1 - u = (not word + 0.5) / 2^32 >= (half + 0.25) / 2^31
    const auto half = hn::BitCast(integers, hn::ShiftRight<1>(hn::Not(hn::LoadU(bits, words + j))));
    const auto rest = hn::Add(hn::ConvertTo(tag, half), hn::Set(tag, 0.25f));
    const auto exponent_and_fraction = hn::ConvertTo(tag, hn::BitCast(integers, rest));
    const auto gumbel =
        hn::NegMulAdd(exponent_and_fraction, hn::Set(tag, kLogOfTwo / 8388608), hn::Set(tag, kLogOfTwo * (31 + 127)));
    const auto bound = hn::Add(hn::LoadU(tag, log_weight + j), gumbel);
    hn::StoreU(bound, tag, out + j);
    largest = hn::Max(largest, bound);
  }
  return hn::GetLane(hn::MaxOfLanes(tag, largest));
}

// log p - log(-log u) of METHOD.md 3.
double gumbel_score(float euclidean, uint32_t word, int64_t dimension) {
  const hn::ScalableTag<double> tag;
  const double a = 2.0 - static_cast<double>(dimension), b = 0.5 * (static_cast<double>(dimension) - 3);
  const auto e = hn::Set(tag, std::max(0.5, static_cast<double>(euclidean)));
  const auto rest = hn::Max(hn::NegMulAdd(hn::Mul(e, hn::Set(tag, 0.25)), e, hn::Set(tag, 1.0)), hn::Set(tag, 1e-8));
  const auto weight = hn::Sub(hn::Mul(hn::Set(tag, a), hn::Log(tag, e)), hn::Mul(hn::Set(tag, b), hn::Log(tag, rest)));
  const auto gumbel = hn::Log(tag, hn::Neg(hn::Log(tag, hn::Set(tag, uniform(word)))));
  return hn::GetLane(hn::Sub(weight, gumbel));
}

// The column of the largest value, the first of equals.
int64_t largest_gumbel(const float* euclidean, const DrawScratch& scratch, const uint32_t* words, int64_t m,
                       int64_t dimension) {
  const FloatTag tag;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(tag));
  const float largest = bound_scores(scratch.log_weight, words, m, scratch.bound);
  int64_t where = 0;
  while (scratch.bound[where] != largest) ++where;
  double best = gumbel_score(euclidean[where], words[where], dimension);
  const auto enough =
      hn::Set(tag, static_cast<float>(best) - (bound_slack(dimension) + 1e-6f * std::abs(static_cast<float>(best))));
  for (int64_t j = 0; j < m; j += lanes) {
    if (HWY_LIKELY(hn::AllFalse(tag, hn::Ge(hn::LoadU(tag, scratch.bound + j), enough)))) continue;
    for (int64_t k = j; k < std::min(m, j + lanes); ++k) {
      if (!(scratch.bound[k] >= hn::GetLane(enough)) || k == where) continue;
      const double value = gumbel_score(euclidean[k], words[k], dimension);
      if (value > best || (value == best && k < where)) best = value, where = k;
    }
  }
  return where;
}

void draw_words(uint64_t seed, uint32_t stream, uint32_t step, uint64_t first_block, int64_t blocks, uint32_t* words) {
  philox_blocks(seed, stream, step, first_block, blocks, words);
}

}  // namespace
}  // namespace duet::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace duet::cpu {
namespace {
HWY_EXPORT(bound_log_weights);
HWY_EXPORT(largest_gumbel);
HWY_EXPORT(draw_words);

constexpr int64_t kPhiloxPadding = HWY_STATIC_DISPATCH(kPhiloxGroup);  // blocks
constexpr int64_t kLanes = 16;                                         // of the widest vector: whole ones are written
}  // namespace

DrawScratch::DrawScratch(Workspace& workspace, int64_t m)
    : log_weight(workspace.take<float>(m + kLanes)),
      bound(workspace.take<float>(m + kLanes)),
      words(workspace.take<uint32_t>(m + 8 * kPhiloxPadding)) {}

void draw_negatives(const float* euclidean, int32_t label, const int32_t* labels_y, int64_t m, const RowDraw& draw,
                    const DrawScratch& scratch, int32_t* negatives) {
  std::fill_n(negatives, draw.slots, -1);
  if (label < 0 ||
      !HWY_DYNAMIC_DISPATCH(bound_log_weights)(euclidean, label, labels_y, m, draw.dimension, scratch.log_weight))
    return;
  for (int64_t slot = 0; slot < draw.slots; ++slot) {
    const auto stream = kStreamDistanceWeighted + 256 * static_cast<uint32_t>(slot);
    const int64_t skip = static_cast<int64_t>(draw.first_element % 4);
    HWY_DYNAMIC_DISPATCH(draw_words)
    (draw.seed, stream, draw.step, draw.first_element / 4, (skip + m + 3) / 4, scratch.words);
    negatives[slot] = static_cast<int32_t>(
        HWY_DYNAMIC_DISPATCH(largest_gumbel)(euclidean, scratch, scratch.words + skip, m, draw.dimension));
  }
}

}  // namespace duet::cpu
#endif
