#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/triplet/triplet_all_cpu.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>
#include <limits>
#include <type_traits>

#include "kernels/cpu/compress-inl.h"
#include "kernels/triplet/triplet_row_cpu.h"

HWY_BEFORE_NAMESPACE();
namespace duet::cpu::HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;
using Float = hn::ScalableTag<float>;

using Integer = hn::RebindToSigned<Float>;

template <class D>
struct Weights {
  hn::Vec<D> positive, negative;
};

// What a row's weights are made of: (d, j, at) gives those of a vector of columns from j on, at being their numbers.
struct SoftWeights {
  const float *agreement, *trust;  // trust null: 1
  int32_t own;                     // -1: none

  template <class D>
  HWY_INLINE Weights<D> operator()(D d, int64_t j, hn::Vec<hn::RebindToSigned<D>> at) const {
    const auto w = hn::LoadU(d, agreement + j), one = hn::Set(d, 1.0f), rest = hn::Sub(one, w);
    // A sum of products of float32 may pass 1 by an ulp: that is no negative weight.
    const auto others = hn::IfThenZeroElse(hn::Lt(rest, hn::Zero(d)), rest), t = trust ? hn::LoadU(d, trust + j) : one;
    const auto is_own = hn::RebindMask(d, hn::Eq(at, hn::Set(hn::RebindToSigned<D>(), own)));
    return {hn::IfThenElse(is_own, one, hn::Mul(w, t)), hn::IfThenZeroElse(is_own, hn::Mul(others, t))};
  }
};

struct RelatedWeights {
  SoftWeights soft;
  const int32_t* relation;

  template <class D>
  HWY_INLINE Weights<D> operator()(D d, int64_t j, hn::Vec<hn::RebindToSigned<D>> at) const {
    const hn::RebindToSigned<D> integers;
    const auto kind = hn::LoadU(integers, relation + j);
    const auto is = [&](int32_t which) HWY_ATTR { return hn::RebindMask(d, hn::Eq(kind, hn::Set(integers, which))); };
    const Weights<D> agreed = soft(d, j, at);
    const auto by_agreement = is(kDifferent), alike = is(kAlike);
    return {hn::IfThenElse(alike, hn::Set(d, 1.0f), hn::IfThenElseZero(by_agreement, agreed.positive)),
            hn::IfThenElseZero(by_agreement, agreed.negative)};
  }
};

struct LabelWeights {
  int32_t label;  // is no -1
  const int32_t* labels;

  template <class D>
  HWY_INLINE Weights<D> operator()(D d, int64_t j, hn::Vec<hn::RebindToSigned<D>>) const {
    const hn::RebindToSigned<D> integers;
    const auto other = hn::LoadU(integers, labels + j), own = hn::Set(integers, label);
    const auto same = hn::Eq(other, own), different = hn::AndNot(same, hn::Gt(other, hn::Set(integers, -1)));
    const auto one = hn::Set(d, 1.0f);
    return {hn::IfThenElseZero(hn::RebindMask(d, same), one), hn::IfThenElseZero(hn::RebindMask(d, different), one)};
  }
};

// A column weighs unless both its weights are 0; NaN is not 0.
template <class D, class Of>
struct Column {
  Weights<D> weights;
  hn::Vec<D> distance;
  hn::Mask<D> idle, nan;

  HWY_INLINE Column(D d, int64_t j, const Of& of, hn::Vec<hn::RebindToSigned<D>> at, const float* distances)
      : weights(of(d, j, at)), distance(hn::LoadU(d, distances + j)) {
    idle = hn::And(hn::Eq(weights.positive, hn::Zero(d)), hn::Eq(weights.negative, hn::Zero(d)));
    nan =
        hn::Or(hn::Or(hn::IsNaN(weights.positive), hn::IsNaN(weights.negative)), hn::AndNot(idle, hn::IsNaN(distance)));
  }
};

// Vectors are written whole, the next overwrites what is too much.
template <class Of>
int64_t gather(const float* distances, const Of& of, int64_t m, const TripletRowScratch& scratch) {
  const Float tag;
  const Integer integers;
  const hn::CappedTag<float, 1> one;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(tag));
  int64_t count = 0, j = 0;
  auto at = hn::Iota(integers, 0);
  auto nan = hn::FirstN(tag, 0);
  for (; j + lanes <= m; j += lanes, at = hn::Add(at, hn::Set(integers, static_cast<int32_t>(lanes)))) {
    const Column<Float, Of> columns(tag, j, of, at, distances);
    nan = hn::Or(nan, columns.nan);
    const Compressor front(hn::Not(columns.idle));
    front.store(columns.distance, scratch.distance + count);
    front.store(columns.weights.positive, scratch.positive + count);
    front.store(columns.weights.negative, scratch.negative + count);
    front.store(at, scratch.column + count);
    count += front.count();
  }
  bool any_nan = !hn::AllFalse(tag, nan);
  for (; j < m; ++j) {
    const Column<hn::CappedTag<float, 1>, Of> column(
        one, j, of, hn::Set(hn::CappedTag<int32_t, 1>(), static_cast<int32_t>(j)), distances);
    any_nan |= !hn::AllFalse(one, column.nan);
    scratch.distance[count] = distances[j];
    scratch.positive[count] = hn::GetLane(column.weights.positive);
    scratch.negative[count] = hn::GetLane(column.weights.negative);
    scratch.column[count] = static_cast<int32_t>(j);
    count += hn::AllFalse(one, column.idle);
  }
  return any_nan ? -1 : count;
}

int64_t gather_soft_of(const float* distances, const float* agreement, const float* trust, int64_t own, int64_t m,
                       const TripletRowScratch& scratch) {
  return gather(distances, SoftWeights{agreement, trust, static_cast<int32_t>(own)}, m, scratch);
}

int64_t gather_related_of(const float* distances, const float* agreement, const float* trust, const int32_t* relation,
                          int64_t m, const TripletRowScratch& scratch) {
  return gather(distances, RelatedWeights{{agreement, trust, -1}, relation}, m, scratch);
}

int64_t gather_labelled_of(const float* distances, int32_t label, const int32_t* labels, int64_t m,
                           const TripletRowScratch& scratch) {
  return gather(distances, LabelWeights{label, labels}, m, scratch);
}

bool any_nan_labelled(const float* distances, const int32_t* labels, int64_t m) {
  const Float tag;
  const Integer integers;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(tag));
  auto nan = hn::FirstN(tag, 0);
  int64_t j = 0;
  for (; j + lanes <= m; j += lanes) {
    const auto labelled = hn::Gt(hn::LoadU(integers, labels + j), hn::Set(integers, -1));
    nan = hn::Or(nan, hn::And(hn::IsNaN(hn::LoadU(tag, distances + j)), hn::RebindMask(tag, labelled)));
  }
  bool any = !hn::AllFalse(tag, nan);
  for (; j < m; ++j) any |= (labels[j] >= 0) & (distances[j] != distances[j]);
  return any;
}

// Searches that walk side by side: each step waits for the last one's comparison, so one walk alone leaves the
// processor idle.
constexpr int64_t kWalks = 8;

// reached[r] = #{k: d[k] < fl(d[r] + margin)} of d ascending. It does not fall from r to r + 1, so the search goes on
// from the last place, a vector at a time. Behind d[count] stand NaN, a vector and kWalks of them: they compare false.
void find_reached(const float* d, int64_t count, float margin, int32_t* reached) {
  const Float tag;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(tag));
  const int64_t length = (count + kWalks - 1) / kWalks;
  int64_t k[kWalks];
  for (int64_t w = 0; w < kWalks; ++w)
    k[w] = std::lower_bound(d, d + count, d[std::min(w * length, count - 1)] + margin) - d;
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

// passed[r] = #{k: fl(d[k] + margin) <= d[r]} = #{k: reached[k] <= r}: k + 1 from reached[k] to reached[k + 1]. Vectors
// are written whole, the next k overwrites what is too much.
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

// neg and neg d of each column that weighs: what S0 and S1 are sums of. The product of two floats is exact.
void write_terms(const TripletRowScratch& scratch, int64_t count) {
  const hn::ScalableTag<double> wide;
  const hn::Rebind<float, decltype(wide)> narrow;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(wide));
  int64_t k = 0;
  for (; k + lanes <= count; k += lanes) {
    const auto weight = hn::PromoteTo(wide, hn::LoadU(narrow, scratch.negative + k));
    const auto distance = hn::PromoteTo(wide, hn::LoadU(narrow, scratch.distance + k));
    hn::StoreInterleaved2(weight, hn::Mul(weight, distance), wide, scratch.term + 2 * k);
  }
  for (; k < count; ++k) {
    scratch.term[2 * k] = scratch.negative[k];
    scratch.term[2 * k + 1] = static_cast<double>(scratch.negative[k]) * scratch.distance[k];
  }
}

// Distances, weights and prefix sums in the order of keys; what the gradient alone reads where it is wanted.
template <bool kGradient>
void unpack(const TripletRowScratch& scratch, int64_t count) {
  const hn::CappedTag<double, 2> pair;  // S0 and S1
  static_assert(hn::MaxLanes(pair) == 2);
  auto sums = hn::Zero(pair);
  double positive = 0;
  // One addition in four waits for the last.
  constexpr int64_t kSums = 4;
  const auto take = [&](int64_t r, auto size) HWY_ATTR {
    auto of_group = hn::Zero(pair);
    double of_positives = 0;
    for (int64_t t = 0; t < size; ++t) {
      const int64_t k = key_column(scratch.keys[r + t]);
      const float of_positive = scratch.positive[k];
      scratch.sorted_distance[r + t] = key_distance(scratch.keys[r + t]);
      scratch.sorted_positive[r + t] = of_positive;
      hn::StoreU(hn::Add(sums, of_group), pair, scratch.negatives_below + 2 * (r + t));
      of_group = hn::Add(of_group, hn::LoadU(pair, scratch.term + 2 * k));
      if (!kGradient) continue;
      scratch.positives_below[r + t] = positive + of_positives;
      of_positives += of_positive;
    }
    sums = hn::Add(sums, of_group);
    positive += of_positives;
  };
  int64_t r = 0;
  for (; r + kSums <= count; r += kSums) take(r, std::integral_constant<int64_t, kSums>());
  for (; r < count; ++r) take(r, std::integral_constant<int64_t, 1>());
  hn::StoreU(sums, pair, scratch.negatives_below + 2 * count);
  if (kGradient) scratch.positives_below[count] = positive;
  std::fill_n(scratch.sorted_distance + count, TripletRowScratch::kPadding, std::numeric_limits<float>::quiet_NaN());
}

// Four chains of additions. An infinite distance reaches infinitely far: times no weight that must not become NaN, so
// kFinite leaves out the test.
template <bool kFinite>
RowSums sum_up(const TripletRowScratch& scratch, int64_t count, float margin) {
  constexpr int64_t kSums = 4;
  double loss[kSums] = {}, active[kSums] = {};
  const auto add = [&](int64_t r, int64_t to) HWY_ATTR {
    const double* below = scratch.negatives_below + 2 * scratch.reached[r];
    const double weight = below[0], positive = scratch.sorted_positive[r];
    const float reach = scratch.sorted_distance[r] + margin;
    if (!kFinite && (positive == 0 || weight == 0)) return;
    loss[to] += positive * (reach * weight - below[1]);
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

RowSums all_of_row(int64_t m, int64_t count, float margin, double trust, double scale, float* grad,
                   const TripletRowScratch& scratch) {
  if (grad && (count < m || trust == 0)) std::fill_n(grad, m, 0.0f);
  if (trust == 0 || count == 0) return {};
  scratch.sorter.sort(scratch.distance, nullptr, count, scratch.keys);
  write_terms(scratch, count);
  grad ? unpack<true>(scratch, count) : unpack<false>(scratch, count);
  find_reached(scratch.sorted_distance, count, margin, scratch.reached);
  const bool finite = scratch.sorted_distance[count - 1] + margin < std::numeric_limits<float>::infinity();
  RowSums sums = finite ? sum_up<true>(scratch, count, margin) : sum_up<false>(scratch, count, margin);
  sums.loss *= trust;
  sums.active *= trust;
  if (!grad) return sums;
  find_passed(scratch.reached, count, scratch.passed);
  const double factor = scale * trust, all_positive = scratch.positives_below[count];
  for (int64_t r = 0; r < count; ++r) {
    const int64_t k = key_column(scratch.keys[r]);
    const double within = scratch.negatives_below[2 * scratch.reached[r]],
                 beyond = all_positive - scratch.positives_below[scratch.passed[r]];
    grad[scratch.column[k]] =
        static_cast<float>(factor * (scratch.sorted_positive[r] * within - scratch.negative[k] * beyond));
  }
  return sums;
}

}  // namespace
}  // namespace duet::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace duet::cpu {
HWY_EXPORT(gather_soft_of);
HWY_EXPORT(gather_related_of);
HWY_EXPORT(gather_labelled_of);
HWY_EXPORT(any_nan_labelled);
HWY_EXPORT(all_of_row);

int64_t gather_soft(const float* distances, const float* agreement, Vector<const float> trust, int64_t own, int64_t m,
                    const TripletRowScratch& scratch) {
  return HWY_DYNAMIC_DISPATCH(gather_soft_of)(distances, agreement, trust.data, own, m, scratch);
}

int64_t gather_related(const float* distances, const float* agreement, Vector<const float> trust,
                       const int32_t* relation, int64_t m, const TripletRowScratch& scratch) {
  return HWY_DYNAMIC_DISPATCH(gather_related_of)(distances, agreement, trust.data, relation, m, scratch);
}

int64_t gather_labelled(const float* distances, int32_t label, const int32_t* labels, int64_t m,
                        const TripletRowScratch& scratch) {
  return label < 0 ? 0 : HWY_DYNAMIC_DISPATCH(gather_labelled_of)(distances, label, labels, m, scratch);
}

bool nan_decides(const float* distances, int32_t label, const int32_t* labels, int64_t m) {
  return label >= 0 && HWY_DYNAMIC_DISPATCH(any_nan_labelled)(distances, labels, m);
}

RowSums triplets_all(int64_t m, int64_t count, float margin, double trust, double scale, float* grad,
                     const TripletRowScratch& scratch) {
  return HWY_DYNAMIC_DISPATCH(all_of_row)(m, count, margin, trust, scale, grad, scratch);
}

}  // namespace duet::cpu
#endif
