// Takes labels away for a run, so that a method can be judged by the share of labels it needs.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "data/label_sets.h"

namespace duet::data {

// To the nearest whole number, halves to even, whatever the host's rounding mode.
int64_t round_half_even(double value);

// Labelled share s in (0, 1] (METHOD.md 6): of each class max(1, round(s count)) samples keep their label, halves to
// even; those whose words of stream 3 are smallest, so the rows kept at a smaller share are among those kept at a
// larger one. The others become -1. s = 0 takes every label away. Errors: DUET_STATUS_INVALID_ARGUMENT (s outside 0 to
// 1).
std::vector<int32_t> hide_labels(std::span<const int32_t> labels, double share, uint64_t seed);
// The same of labels that are sets of classes: a row's stratum (strata_of) stands for its class.
std::vector<int32_t> hide_labels(std::span<const int32_t> labels, const LabelSets& sets, double share, uint64_t seed);

}  // namespace duet::data
