// METHOD.md 3's losses, every triplet by itself, in double, for tests alone. They take distances and give dL/dD;
// distance.h has the rest.
#pragma once

#include <cmath>
#include <utility>

#include "tests/reference/agreement.h"
#include "tests/reference/mining.h"

namespace duet::reference {

struct TripletSums {
  Doubles loss, active;  // of rows
  Doubles slack;         // of rows: the weight of triplets within 4e-6 of the hinge
  Doubles grad;          // n x m: d sum(loss) / dD, active being constant
};

inline void take_triplet(TripletSums& sums, const Doubles& distances, size_t m, size_t i, size_t p, size_t q,
                         double weight, double margin) {
  const double t = distances[i * m + p] + margin - distances[i * m + q];
  if (std::abs(t) <= 4e-6) sums.slack[i] += weight;
  // Active where D_in < fl(D_ip + margin), in the precision of the distances: of large ones the margin is rounded away.
  if (!(static_cast<float>(distances[i * m + q]) <
        static_cast<float>(distances[i * m + p]) + static_cast<float>(margin)))
    return;
  sums.loss[i] += weight * t;
  sums.active[i] += weight;
  sums.grad[i * m + p] += weight;
  sums.grad[i * m + q] -= weight;
}

inline TripletSums empty_sums(size_t n, size_t m) { return {Doubles(n), Doubles(n), Doubles(n), Doubles(n * m)}; }

inline TripletSums triplets_all(const Doubles& distances, const Weights& weights, const Doubles& trust, double margin) {
  const size_t n = trust.size(), m = n ? distances.size() / n : 0;
  TripletSums sums = empty_sums(n, m);
  for (size_t i = 0; i < n; ++i)
    for (size_t p = 0; p < m; ++p) {
      if (weights.positive[i * m + p] == 0) continue;
      for (size_t q = 0; q < m; ++q)
        take_triplet(sums, distances, m, i, p, q, trust[i] * weights.positive[i * m + p] * weights.negative[i * m + q],
                     margin);
    }
  return sums;
}

inline TripletSums triplets_mined(const Doubles& distances, size_t n, const std::vector<Triplet>& triplets,
                                  double margin) {
  const size_t m = n ? distances.size() / n : 0;
  TripletSums sums = empty_sums(n, m);
  for (const Triplet& t : triplets)
    if (t.positive >= 0 && t.negative >= 0)
      take_triplet(sums, distances, m, static_cast<size_t>(t.anchor), static_cast<size_t>(t.positive),
                   static_cast<size_t>(t.negative), 1, margin);
  return sums;
}

inline std::vector<Triplet> hard_triplets(const Doubles& distances, const Weights& pairs, size_t n) {
  const Hard hard = mine_hard(distances, pairs, n);
  std::vector<Triplet> out;
  for (size_t i = 0; i < n; ++i) out.push_back({static_cast<int>(i), hard.positive[i], hard.negative[i]});
  return out;
}

// Every positive of the anchor with each drawn negative (n x slots).
inline std::vector<Triplet> drawn_triplets(const std::vector<int>& negatives, const Weights& pairs, size_t n) {
  const size_t slots = n ? negatives.size() / n : 0, m = n ? pairs.positive.size() / n : 0;
  std::vector<Triplet> out;
  for (size_t i = 0; i < n; ++i)
    for (size_t slot = 0; slot < slots; ++slot)
      for (size_t p = 0; p < m; ++p)
        if (pairs.positive[i * m + p] > 0)
          out.push_back({static_cast<int>(i), static_cast<int>(p), negatives[i * slots + slot]});
  return out;
}

inline double total(const Doubles& values) {
  double sum = 0;
  for (const double value : values) sum += value;
  return sum;
}

}  // namespace duet::reference
