// The sections of a run's page. Each adds what it plots to the page's data under its own id.
#pragma once

#include <array>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "trainer/report/alignment.h"
#include "trainer/report/history.h"
#include "trainer/report/html.h"
#include "trainer/report/measures.h"
#include "trainer/report/svg.h"

namespace duet::report {

struct DataFacts {
  std::string name;
  int64_t train_rows = 0, labelled = 0, test_rows = 0, classes = 0;
  std::array<int64_t, data::kModalities> widths = {0, 0};
  std::array<std::string, data::kModalities> scaling;  // how each modality is scaled, and why
};

// Of a batch, before training and now; before: none where the run's folder has none.
struct AlignmentViews {
  AlignmentBatch batch;
  std::optional<Alignment> before;
  Alignment now;
};

// What a page says of a run.
struct RunPage {
  std::string name, note;  // note: what is missing, and why; may be empty
  RunHistory history;
  std::array<std::string, data::kModalities> modalities;
  DataFacts data;
  std::function<std::string(int32_t)> class_name;  // of an id; of -1 "unlabelled"
  data::LabelSets train_sets, test_sets;           // what labels of the splits stand for; not given: classes
  std::optional<SplitMeasures> test;               // none: it was not measured
  std::vector<int32_t> labels;                     // of the test split
  std::optional<AlignmentViews> alignment;

  // Of a label of the split that sets are of: its classes, "unlabelled" where it is -1.
  std::string label_name(int32_t label, const data::LabelSets& sets) const {
    if (label < 0) return class_name(label);
    std::string out;
    for (const int32_t c : data::classes_of(sets, label)) out += (out.empty() ? "" : ", ") + class_name(c);
    return out;
  }
  // "audio to visual" of direction 0.
  std::string direction(size_t number) const { return modalities[number] + " to " + modalities[1 - number]; }
};

inline constexpr std::array<const char*, 2> kDirections = {"a_to_v", "v_to_a"};

// Whether any number of a series tells something: it is there, and not 0.
bool tells(const std::vector<double>& values);
// MAP of both directions and their mean over the epochs, of each split that was evaluated.
std::vector<Series> map_series(const RunHistory& history, const std::array<std::string, 2>& directions);

Section training_section(const RunPage& page, nlohmann::ordered_json& data);
Section retrieval_section(const RunPage& page, nlohmann::ordered_json& data);
Section confusion_section(const RunPage& page, nlohmann::ordered_json& data);
Section space_section(const RunPage& page, nlohmann::ordered_json& data);
Section alignment_section(const RunPage& page, nlohmann::ordered_json& data);
Section examples_section(const RunPage& page, nlohmann::ordered_json& data);
Section setup_section(const RunPage& page);
// The figures at the head of the page.
std::string tiles(const RunPage& page);

}  // namespace duet::report
