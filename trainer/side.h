// Rows of one modality in a file or folder that belongs to no data set: what a user asks with, and where it is looked
// for. Held are the file's bytes.
#pragma once

#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "data/feature_source.h"
#include "data/labels.h"
#include "trainer/model.h"

namespace duet {

struct Side {
  std::string option;          // "--gallery", for messages
  std::filesystem::path path;  // as given
  std::string array;           // the path of the features in it
  int modality = 0;
  std::optional<data::FeatureSource> features;
  std::vector<std::string> ids;  // empty: the numbers of the rows

  int64_t rows() const { return features->rows(); }
  nlohmann::ordered_json id(int64_t row) const;
  std::string shown_id(int64_t row) const;
};

// The model's modality of this name. Throws UsageError, naming option.
int modality_of(const Model& model, const std::string& option, const std::string& name);

// Of a path with one array that one, else the one that is named as the modality; ids of the ids.txt beside it. A time
// axis is pooled as the model's. Throws UsageError, naming option or file.
Side open_side(const Model& model, const std::string& option, const std::filesystem::path& path, int modality);

// A label a row: of the file given, a table or one of arrays (its only one, or the one with a name of labels, as
// data/layout.h has them); without it those that lie beside the features: an array with such a name, or labels.npy,
// .csv or .tsv in their folder. Throws UsageError where there are none, several, or not one a row.
data::LabelColumn read_labels(const Side& side, const std::optional<std::filesystem::path>& given);

// The embeddings of some rows: a block of rows after another goes through scaling and encoder.
data::Features embed(const Model& model, duet_context* context, const Side& side, int64_t first, int64_t rows);

}  // namespace duet
