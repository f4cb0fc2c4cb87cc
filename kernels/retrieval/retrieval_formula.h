// METHOD.md 7 on groups of equal scores, for host and device: the expectation over all orders of such a group (McSherry
// and Najork 2008).
#pragma once

#include <cstdint>

#include "kernels/core/host_device.h"
#include "kernels/core/norm.h"

namespace duet {

inline constexpr int64_t kRecallPoints = 11;  // recall 0, 0.1, ... 1

// Rounding leaves a score up to 1e-6 outside of what a cosine may be. -0 becomes 0, which it ties with; NaN stays.
DUET_HOST_DEVICE inline float cosine_score(float score) { return score > 1 ? 1.0f : score < -1 ? -1.0f : score + 0.0f; }

// The items of one score, relevant ones among them, in a ranking whose equal scores stand in random order.
struct TieGroup {
  int64_t before, hits_before;  // items, relevant items of higher score
  int64_t size, relevant;       // items, relevant items of this score, at least one of each

  // For i = 1 to size, at rank before + i: the expected number of relevant items up to there, over all orders,
  DUET_HOST_DEVICE double hits(int64_t i) const {
    return static_cast<double>(hits_before) +
           static_cast<double>(i) * static_cast<double>(relevant) / static_cast<double>(size);
  }
  // that number divided by the rank,
  DUET_HOST_DEVICE double precision(int64_t i) const { return hits(i) / static_cast<double>(before + i); }
  // and the expectation of P@k rel_k: the item is relevant with probability relevant / size, and each of the i - 1
  // items before it in the group is so, given that, with probability (relevant - 1) / (size - 1).
  DUET_HOST_DEVICE double gain(int64_t i) const {
    const double share = static_cast<double>(relevant) / static_cast<double>(size);
    const double of_others = size > 1 ? static_cast<double>(relevant - 1) / static_cast<double>(size - 1) : 0;
    return share * (static_cast<double>(hits_before + 1) + static_cast<double>(i - 1) * of_others) /
           static_cast<double>(before + i);
  }

  // The probability that a relevant item of this group is among the first `cutoff` of the ranking.
  DUET_HOST_DEVICE double found(int64_t cutoff) const {
    if (cutoff <= before) return 0;
    const int64_t inside = cutoff - before < size ? cutoff - before : size;
    if (inside > size - relevant) return 1;
    // None of them is: C(size - inside, relevant) / C(size, relevant), which stays the same with `inside` and
    // `relevant` exchanged.
    const int64_t fewer = inside < relevant ? inside : relevant, more = inside + relevant - fewer;
    double none = 1;
    for (int64_t t = 0; t < fewer && none > 0; ++t)
      none *= static_cast<double>(size - more - t) / static_cast<double>(size - t);
    return 1 - none;
  }

  // The largest of precision(i): it only rises or only falls with i.
  DUET_HOST_DEVICE double peak() const {
    const double first = precision(1), last = precision(size);
    return first > last ? first : last;
  }
  // Whether the expected recall, of `total` relevant items, is at least point / 10 at the last rank,
  DUET_HOST_DEVICE bool reaches(int64_t total, int64_t point) const {
    return (hits_before + relevant) * (kRecallPoints - 1) >= total * point;
  }
  // and then the largest of precision(i) over the ranks where it is.
  DUET_HOST_DEVICE double peak(int64_t total, int64_t point) const {
    const int64_t missing = total * point - hits_before * (kRecallPoints - 1);
    // hits(i) reaches its mark where i does size missing / (10 relevant): exact in float64 up to 3e7 items.
    const double mark =
        static_cast<double>(size) * static_cast<double>(missing) / static_cast<double>(relevant * (kRecallPoints - 1));
    int64_t first = mark > 1 ? static_cast<int64_t>(mark) : 1;
    if (static_cast<double>(first) < mark) ++first;
    const double at_first = precision(first), at_last = precision(size);
    return at_first > at_last ? at_first : at_last;
  }
};

}  // namespace duet
