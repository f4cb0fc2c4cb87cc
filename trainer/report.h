// The tables that a run, an evaluation and the demo print.
#pragma once

#include <string>
#include <vector>

#include "trainer/confidence.h"
#include "trainer/evaluation.h"

namespace duet {

struct ReportRow {
  std::string name;
  Evaluation evaluation;
  double seconds = 0;
};

// One row a run: MAP in both directions and their mean, recall at 1, seconds.
std::string report_table(const std::vector<ReportRow>& rows, const std::string& modality_a,
                         const std::string& modality_v);

// "audio to visual" and, of both directions, the other way.
std::vector<std::string> direction_names(const std::string& from, const std::string& to, size_t directions);
// Every measure of one evaluation, a row each; of both directions also their mean. Measures of pairs are left out of
// one direction that has none. confidence: null, or of these directions; then MAP and recall@1 show their intervals.
std::string evaluation_table(const Directions& directions, const std::vector<std::string>& names,
                             const Confidence* confidence = nullptr);
// A row each class with a query that counts: its queries, its MAP and, of both directions, their mean. called: what the
// classes' ids stand for.
std::string class_table(const Directions& directions, const std::vector<std::string>& names,
                        const data::Classes& called);

// A line where over 1 % of the embeddings coincide, else empty. which: "audio", the embeddings' name.
std::string coincidence_warning(const std::string& which, double share);
// Of both sides.
std::string coincidence_warning(const Evaluation& evaluation, const std::string& modality_a,
                                const std::string& modality_v);

}  // namespace duet
