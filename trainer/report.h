// The tables that a run, an evaluation and the demo print.
#pragma once

#include <string>
#include <vector>

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
// Every measure of one evaluation, a row each.
std::string evaluation_table(const Evaluation& evaluation, const std::string& modality_a,
                             const std::string& modality_v);

// A row each class with a query that counts: its queries, its MAP in both directions and their mean. called: what the
// classes' ids stand for.
std::string class_table(const Evaluation& evaluation, const data::Classes& called, const std::string& modality_a,
                        const std::string& modality_v);

// A line for each side of which over 1 % of the embeddings coincide; empty where there is none.
std::string coincidence_warning(const Evaluation& evaluation, const std::string& modality_a,
                                const std::string& modality_v);

}  // namespace duet
