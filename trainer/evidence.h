// What the training split tells before training of labels and pairs: METHOD.md 6 "Evidence". Leave-one-out kernel ridge
// regression on the scaled inputs, from at most 256 rows, in float64.
#pragma once

#include <array>
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>

#include "data/features.h"
#include "data/label_sets.h"

namespace duet {

// Of the two modalities the first is A, the second V. As it is made, no evidence: what a run without it takes.
struct Evidence {
  std::array<double, 2> labels_read = {0, 0};  // s_a, s_v in [0, 1]: how far labels read each modality; 0 is chance
  double unread = 1;                           // 1 - max(s_a, s_v)
  double pairs_generalise = 0;  // generality: how far pairs generalise; where it was measured in [0.001, 1]
  std::array<double, 2> gradient_share = {
      1, 1};  // g_a, g_v in [0, 1], at least one of them 1: how much of the pair term reaches each modality

  bool operator==(const Evidence&) const = default;
};

// Rows of a and v are pairs; values are finite. labels: one a row, -1 for none, else below classes, or numbers of sets
// where these are given. Every number is finite for any such input:
// - fewer than 2 labelled rows, or the labelled rows taken of one label: labels read neither modality (0), and neither
// is preferred;
// - a row of every class tells as much as chance;
// - fewer than 3 rows: pairs_generalise = 0.001;
// - a class without a labelled row scores 0;
// - scores within 1e-9 count as equal, for rounding parts equal ones: those of equal rows, or of a modality whose rows
// are all equal or all 0. Takes one thread; the same inputs give the same bits. Memory beside the inputs: ten matrices
// of at most 256 x 256, whatever their widths.
// Errors: DUET_STATUS_INVALID_ARGUMENT (unequal rows, a label that is no class).
Evidence measure_evidence(const data::Features& a, const data::Features& v, std::span<const int32_t> labels,
                          int64_t classes, const data::LabelSets& sets = {});

// "labels read audio 0.21, visual 0.86; pairs generalise 0.16: audio learns from visual"
std::string evidence_note(const Evidence& evidence, const std::array<std::string, 2>& modalities);
// The same numbers by name; those of a modality under its own.
nlohmann::ordered_json evidence_facts(const Evidence& evidence, const std::array<std::string, 2>& modalities);

}  // namespace duet
