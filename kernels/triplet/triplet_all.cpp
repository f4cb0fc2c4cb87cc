#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/triplet/triplet_all.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>
#include <limits>

#include "kernels/cpu/elements-inl.h"
#include "kernels/triplet/triplet_row.h"

HWY_BEFORE_NAMESPACE();
namespace duet::cpu::HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;
using Float = hn::ScalableTag<float>;

// Weights are at least 0, so that a column weighs where their sum is not 0; NaN is not 0 either.
template <class D>
void look_at(D d, const float* distances, int64_t j, const TripletRowScratch& scratch, WeightsOfRow& found) {
  const auto weight = hn::Add(hn::LoadU(d, scratch.positive + j), hn::LoadU(d, scratch.negative + j));
  const auto idle = hn::Eq(weight, hn::Zero(d)), nan = hn::Or(hn::IsNaN(weight), hn::AndNot(idle, hn::IsNaN(hn::LoadU(d, distances + j))));
  found.nan |= !hn::AllFalse(d, nan);
  found.all &= hn::AllFalse(d, idle);
}

WeightsOfRow weights_of_row(const float* distances, int64_t m, const TripletRowScratch& scratch) {
  WeightsOfRow found{false, true};
  over_elements(m, [&](auto d, int64_t j) HWY_ATTR { look_at(d, distances, j, scratch, found); });
  return found;
}

// The columns that weigh, into what is free until unpack: distances into sorted_distance, columns into reached. Their number. A vector is written
// whole, what follows its weighing lanes goes into the arrays' padding or is overwritten by the next.
int64_t gather_weighing(const float* distances, int64_t m, const TripletRowScratch& scratch) {
  const Float tag;
  const hn::RebindToSigned<Float> integers;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(tag));
  int64_t count = 0, j = 0;
  for (; j + lanes <= m; j += lanes) {
    const auto weighs = hn::Ne(hn::Add(hn::LoadU(tag, scratch.positive + j), hn::LoadU(tag, scratch.negative + j)), hn::Zero(tag));
    hn::StoreU(hn::Compress(hn::LoadU(tag, distances + j), weighs), tag, scratch.sorted_distance + count);
    hn::StoreU(hn::Compress(hn::Iota(integers, static_cast<int32_t>(j)), hn::RebindMask(integers, weighs)), integers, scratch.reached + count);
    count += static_cast<int64_t>(hn::CountTrue(tag, weighs));
  }
  for (; j < m; ++j) {
    scratch.sorted_distance[count] = distances[j];
    scratch.reached[count] = static_cast<int32_t>(j);
    count += scratch.positive[j] + scratch.negative[j] != 0;
  }
  return count;
}

// Searches that walk side by side: each step waits for the last one's comparison, so one walk alone leaves the processor idle.
constexpr int64_t kWalks = 4;

// reached[r] = #{k: d[k] < fl(d[r] + margin)}, passed[r] = #{k: fl(d[k] + margin) <= d[r]} of d ascending. Neither falls from r to r + 1, so the
// search goes on from the last place, a vector at a time. Behind d[count] stand NaN, a vector and kWalks of them: they compare false.
template <bool kPassed>
void find_ranks(const float* d, int64_t count, float margin, int32_t* reached, int32_t* passed) {
  const Float tag;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(tag));
  const auto margins = hn::Set(tag, margin);
  const int64_t length = (count + kWalks - 1) / kWalks;
  int64_t k[kWalks], q[kWalks];
  for (int64_t w = 0; w < kWalks; ++w) {
    const float first = d[std::min(w * length, count - 1)], reach = first + margin;
    k[w] = std::lower_bound(d, d + count, reach) - d;
    q[w] = !kPassed ? 0 : std::partition_point(d, d + count, [&](float x) { return x + margin <= first; }) - d;
  }
  for (int64_t t = 0; t < length; ++t) {
    for (int64_t w = 0; w < kWalks; ++w) {
      const int64_t r = w * length + t;
      const auto own = hn::Set(tag, d[r]), reach = hn::Add(own, margins);
      for (int64_t more = lanes; more == lanes; k[w] += more)
        more = static_cast<int64_t>(hn::CountTrue(tag, hn::Lt(hn::LoadU(tag, d + k[w]), reach)));
      reached[r] = static_cast<int32_t>(k[w]);
      if (!kPassed) continue;
      for (int64_t more = lanes; more == lanes; q[w] += more)
        more = static_cast<int64_t>(hn::CountTrue(tag, hn::Le(hn::Add(hn::LoadU(tag, d + q[w]), margins), own)));
      passed[r] = static_cast<int32_t>(q[w]);
    }
  }
}

// Distances, weights and prefix sums in the order of keys.
void unpack(const TripletRowScratch& scratch, int64_t count) {
  NegativeSums negatives{};
  double positives = 0;
  for (int64_t r = 0; r < count; ++r) {
    const int64_t j = key_column(scratch.keys[r]);
    const float d = key_distance(scratch.keys[r]), negative = scratch.negative[j], positive = scratch.positive[j];
    scratch.sorted_distance[r] = d;
    scratch.sorted_positive[r] = positive;
    scratch.sorted_negative[r] = negative;
    scratch.negatives_below[r] = negatives;
    scratch.positives_below[r] = positives;
    negatives.weight += negative;
    negatives.distance += static_cast<double>(negative) * d;
    positives += positive;
  }
  scratch.negatives_below[count] = negatives;
  scratch.positives_below[count] = positives;
  std::fill_n(scratch.sorted_distance + count, TripletRowScratch::kPadding, std::numeric_limits<float>::quiet_NaN());
}

// Four chains of additions. An infinite distance reaches infinitely far: times no weight that must not become NaN, so kFinite leaves out the test.
template <bool kFinite>
RowSums sum_up(const TripletRowScratch& scratch, int64_t count, float margin) {
  constexpr int64_t kSums = 4;
  double loss[kSums] = {}, active[kSums] = {};
  const auto add = [&](int64_t r, int64_t to) HWY_ATTR {
    const NegativeSums below = scratch.negatives_below[scratch.reached[r]];
    const float positive = scratch.sorted_positive[r], reach = scratch.sorted_distance[r] + margin;
    if (!kFinite && (positive == 0 || below.weight == 0)) return;
    loss[to] += positive * (reach * below.weight - below.distance);
    active[to] += positive * below.weight;
  };
  int64_t r = 0;
  for (; r + kSums <= count; r += kSums) {
    add(r, 0);
    add(r + 1, 1);
    add(r + 2, 2);
    add(r + 3, 3);
  }
  for (; r < count; ++r) add(r, 0);
  return {(loss[0] + loss[1]) + (loss[2] + loss[3]), (active[0] + active[1]) + (active[2] + active[3])};
}

RowSums all_of_row(const float* distances, int64_t m, bool all_weigh, float margin, double trust, double scale, float* grad,
                   const TripletRowScratch& scratch) {
  if (grad && !(all_weigh && trust != 0)) std::fill_n(grad, m, 0.0f);
  if (trust == 0) return {};
  int64_t count = 0;
  if (all_weigh) {
    count = m;
    scratch.sorter.sort(distances, nullptr, count, scratch.keys);
  } else {
    count = gather_weighing(distances, m, scratch);
    scratch.sorter.sort(scratch.sorted_distance, scratch.reached, count, scratch.keys);
  }
  if (count == 0) return {};
  unpack(scratch, count);
  if (grad)
    find_ranks<true>(scratch.sorted_distance, count, margin, scratch.reached, scratch.passed);
  else
    find_ranks<false>(scratch.sorted_distance, count, margin, scratch.reached, nullptr);
  const bool finite = scratch.sorted_distance[count - 1] + margin < std::numeric_limits<float>::infinity();
  RowSums sums = finite ? sum_up<true>(scratch, count, margin) : sum_up<false>(scratch, count, margin);
  sums.loss *= trust;
  sums.active *= trust;
  if (!grad) return sums;
  const double factor = scale * trust, all_positive = scratch.positives_below[count];
  for (int64_t r = 0; r < count; ++r) {
    const double within = scratch.negatives_below[scratch.reached[r]].weight, beyond = all_positive - scratch.positives_below[scratch.passed[r]];
    grad[key_column(scratch.keys[r])] = static_cast<float>(factor * (scratch.sorted_positive[r] * within - scratch.sorted_negative[r] * beyond));
  }
  return sums;
}

}  // namespace
}  // namespace duet::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace duet::cpu {
HWY_EXPORT(weights_of_row);
HWY_EXPORT(all_of_row);

WeightsOfRow look_at_weights(const float* distances, int64_t m, const TripletRowScratch& scratch) {
  return HWY_DYNAMIC_DISPATCH(weights_of_row)(distances, m, scratch);
}

RowSums triplets_all(const float* distances, int64_t m, bool all_weigh, float margin, double trust, double scale, float* grad,
                     const TripletRowScratch& scratch) {
  return HWY_DYNAMIC_DISPATCH(all_of_row)(distances, m, all_weigh, margin, trust, scale, grad, scratch);
}

}  // namespace duet::cpu
#endif
