// The tables that a run, an evaluation and the demo print.
#pragma once

#include <string>
#include <vector>

#include "trainer/evaluation.h"

namespace duet {

// Columns as wide as their widest cell, two spaces apart; the first is a name, the others are numbers. rows: the head
// first, all of its length.
std::string text_table(const std::vector<std::vector<std::string>>& rows);

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

// A line for each side of which over 1 % of the embeddings coincide; empty where there is none.
std::string coincidence_warning(const Evaluation& evaluation, const std::string& modality_a,
                                const std::string& modality_v);

}  // namespace duet
