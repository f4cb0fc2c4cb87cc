#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/triplet/triplet_all.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>
#include <limits>
#include <type_traits>

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

// reached[r] = #{k: d[k] < fl(d[r] + margin)} of d ascending. It does not fall from r to r + 1, so the search goes on from the last place, a vector
// at a time. Behind d[count] stand NaN, a vector and kWalks of them: they compare false.
void find_reached(const float* d, int64_t count, float margin, int32_t* reached) {
  const Float tag;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(tag));
  const int64_t length = (count + kWalks - 1) / kWalks;
  int64_t k[kWalks];
  for (int64_t w = 0; w < kWalks; ++w) k[w] = std::lower_bound(d, d + count, d[std::min(w * length, count - 1)] + margin) - d;
  for (int64_t t = 0; t < length; ++t) {
#pragma GCC unroll 8
    for (int64_t w = 0; w < kWalks; ++w) {
      const auto reach = hn::Set(tag, d[w * length + t] + margin);
      int64_t more;
      do {
        more = static_cast<int64_t>(hn::CountTrue(tag, hn::Lt(hn::LoadU(tag, d + k[w]), reach)));
        k[w] += more;
      } while (more == lanes);
      reached[w * length + t] = static_cast<int32_t>(k[w]);
    }
  }
}

// passed[r] = #{k: fl(d[k] + margin) <= d[r]} = #{k: reached[k] <= r}: k + 1 from reached[k] to reached[k + 1]. Vectors are written whole, the next k
// overwrites what is too much.
void find_passed(const int32_t* reached, int64_t count, int32_t* passed) {
  const hn::CappedTag<int32_t, 8> tag;  // most runs are short
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(tag));
  int64_t at = 0;
  for (int64_t k = 0; k <= count; ++k) {
    const int64_t end = k < count ? reached[k] : count;
    const auto value = hn::Set(tag, static_cast<int32_t>(k));
    do {
      hn::StoreU(value, tag, passed + at);
      at += lanes;
    } while (at < end);
    at = end;
  }
}

// Distances, weights and prefix sums in the order of keys.
void unpack(const TripletRowScratch& scratch, int64_t count) {
  double weight = 0, distance = 0, positive = 0;
  // One addition in four waits for the last.
  constexpr int64_t kSums = 4;
  const auto take = [&](int64_t r, auto size) HWY_ATTR {
    double weights[kSums], distances[kSums], positives[kSums];
    for (int64_t t = 0; t < size; ++t) {
      const int64_t j = key_column(scratch.keys[r + t]);
      const float d = key_distance(scratch.keys[r + t]), of_negative = scratch.negative[j], of_positive = scratch.positive[j];
      scratch.sorted_distance[r + t] = d;
      scratch.sorted_positive[r + t] = of_positive;
      scratch.sorted_negative[r + t] = of_negative;
      weights[t] = (t ? weights[t - 1] : 0) + of_negative;
      distances[t] = (t ? distances[t - 1] : 0) + static_cast<double>(of_negative) * d;
      positives[t] = (t ? positives[t - 1] : 0) + of_positive;
    }
    for (int64_t t = 0; t < size; ++t) {
      scratch.negatives_below[r + t] = weight + (t ? weights[t - 1] : 0);
      scratch.distances_below[r + t] = distance + (t ? distances[t - 1] : 0);
      scratch.positives_below[r + t] = positive + (t ? positives[t - 1] : 0);
    }
    weight += weights[size - 1];
    distance += distances[size - 1];
    positive += positives[size - 1];
  };
  int64_t r = 0;
  for (; r + kSums <= count; r += kSums) take(r, std::integral_constant<int64_t, kSums>());
  for (; r < count; ++r) take(r, std::integral_constant<int64_t, 1>());
  scratch.negatives_below[count] = weight;
  scratch.distances_below[count] = distance;
  scratch.positives_below[count] = positive;
  std::fill_n(scratch.sorted_distance + count, TripletRowScratch::kPadding, std::numeric_limits<float>::quiet_NaN());
}

// Four chains of additions. An infinite distance reaches infinitely far: times no weight that must not become NaN, so kFinite leaves out the test.
template <bool kFinite>
RowSums sum_up(const TripletRowScratch& scratch, int64_t count, float margin) {
  constexpr int64_t kSums = 4;
  double loss[kSums] = {}, active[kSums] = {};
  const auto add = [&](int64_t r, int64_t to) HWY_ATTR {
    const int64_t below = scratch.reached[r];
    const double weight = scratch.negatives_below[below], positive = scratch.sorted_positive[r];
    const float reach = scratch.sorted_distance[r] + margin;
    if (!kFinite && (positive == 0 || weight == 0)) return;
    loss[to] += positive * (reach * weight - scratch.distances_below[below]);
    active[to] += positive * weight;
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
  find_reached(scratch.sorted_distance, count, margin, scratch.reached);
  const bool finite = scratch.sorted_distance[count - 1] + margin < std::numeric_limits<float>::infinity();
  RowSums sums = finite ? sum_up<true>(scratch, count, margin) : sum_up<false>(scratch, count, margin);
  sums.loss *= trust;
  sums.active *= trust;
  if (!grad) return sums;
  find_passed(scratch.reached, count, scratch.passed);
  const double factor = scale * trust, all_positive = scratch.positives_below[count];
  for (int64_t r = 0; r < count; ++r) {
    const double within = scratch.negatives_below[scratch.reached[r]], beyond = all_positive - scratch.positives_below[scratch.passed[r]];
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
