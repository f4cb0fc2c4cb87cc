// A data set: splits train and test and, where there is one, val, each with an array a modality, labels (-1 or an empty
// string: unlabelled), one a row or several in every split, and, where several rows show one item, groups (-1: a row of
// no group). Rows with the same number are a pair.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "data/features.h"
#include "data/labels.h"
#include "data/preprocessing.h"
#include "data/residence.h"

namespace duet::data {

// The two modalities; what METHOD.md calls audio (A) is the first, visual (V) the second.
inline constexpr int kModalities = 2;

// Arrays that are no modality.
inline constexpr const char *kLabels = "labels", *kGroups = "groups";

struct Split {
  std::array<Features, kModalities> features;  // equal rows
  // Class ids (METHOD.md 6 "Classes"): -1 unlabelled, 0 to C - 1 a class of the training split, C and above a label
  // that the training split lacks. Where rows may have several classes, numbers of sets.
  std::vector<int32_t> labels;
  LabelSets sets;  // the classes that a label stands for; not given: itself
  // Rows of one number show one item: 0, 1, ... for the values of groups.npy in ascending order, -1: of no group.
  // Empty: every row is an item of its own.
  std::vector<int32_t> groups;
  // What the ids of labels stand for, as Dataset's label_values and label_names; of a split of load_split alone, since
  // a Dataset says it for its other splits.
  std::vector<int64_t> label_values;
  std::vector<std::string> label_names;

  int64_t rows() const { return static_cast<int64_t>(labels.size()); }
  int64_t labelled() const;  // rows with a label
};

// How many have a label that is none of the training split's classes.
int64_t rows_beyond(std::span<const int32_t> labels, int64_t classes);

struct Dataset {
  std::string name;  // for messages and reports: the folder as given, or "digits (built in)"
  std::array<std::string, kModalities> modalities;
  Split train, test;
  Split validation;     // of the split val; no rows: there is none
  int32_t classes = 0;  // C: the distinct labels of the training split; of sets the columns of their matrix
  // The label that an id stands for: first those of the C classes, ascending, then the test split's others, ascending.
  // The validation split, whose others are C and above too, says itself what its ids stand for.
  // Where labels are names, the ids themselves, and label_names has the names in the same order (ascending by their
  // bytes); else label_names is empty. Where rows may have several classes, these are 0 to C - 1 in every split.
  std::vector<int64_t> label_values;
  std::vector<std::string> label_names;
  // How load_dataset scaled the features; as default-constructed where the data set was not read from files.
  std::array<Preprocessing, kModalities> inputs;

  int64_t width(int modality) const { return train.features[static_cast<size_t>(modality)].columns; }
  std::span<const int64_t> class_values() const { return std::span(label_values).first(static_cast<size_t>(classes)); }
  std::span<const std::string> class_names() const {
    return std::span(label_names).first(label_names.empty() ? 0 : static_cast<size_t>(classes));
  }
  bool several_labels() const { return train.sets.given(); }  // a row may have
};

// Where the arrays of a data set lie. split: "train", "test" or "val".
class DatasetFiles {
 public:
  virtual ~DatasetFiles() = default;
  virtual std::string name() const = 0;                           // of the whole
  virtual std::string place(const std::string& split) const = 0;  // of one split, for messages
  virtual std::vector<std::string> splits() const = 0;            // of train, test, val those that are there
  virtual std::vector<std::string> arrays(const std::string& split) const = 0;  // their names, without .npy, sorted
  virtual StoredArray open(const std::string& split, const std::string& array) const = 0;
  // None where there are none.
  virtual std::optional<LabelColumn> labels(const std::string& split) const;
  virtual std::optional<std::vector<std::string>> ids(const std::string&) const { return std::nullopt; }
  virtual Pooling pooling() const { return Pooling::mean; }  // of the modalities
};

// A folder with train/ and test/: a .npy an array, and labels as labels.npy, labels.csv or labels.tsv (label_table.h).
// Hidden files are none.
// Errors: DUET_STATUS_IO_ERROR where the system refuses a file or folder.
class FolderFiles final : public DatasetFiles {
 public:
  explicit FolderFiles(std::filesystem::path folder, Pooling pooling = Pooling::mean)
      : folder_(std::move(folder)), pooling_(pooling) {}
  std::string name() const override { return folder_.string(); }
  std::string place(const std::string& split) const override { return (folder_ / split).string(); }
  std::vector<std::string> splits() const override;
  std::vector<std::string> arrays(const std::string& split) const override;
  StoredArray open(const std::string& split, const std::string& array) const override;
  std::optional<LabelColumn> labels(const std::string& split) const override;
  std::optional<std::vector<std::string>> ids(const std::string& split) const override;
  Pooling pooling() const override { return pooling_; }

 private:
  std::filesystem::path folder_;
  Pooling pooling_;
};

// How load_dataset scales the inputs.
struct InputOptions {
  std::array<Scaling, kModalities> scaling = {Scaling::automatic, Scaling::automatic};
  double limit = kInputLimit;
};
// The values as they are, rounded to float32.
inline constexpr InputOptions kUnscaled = {{Scaling::none, Scaling::none}, std::numeric_limits<double>::infinity()};

// Loads, checks and scales a whole data set, one array at a time. modalities: two names, or empty for the set's own two
// in alphabetical order. residence says where the features lie; null: in memory.
// Errors: those of files and of Preprocessing; DUET_STATUS_INVALID_ARGUMENT, one line that names the file: not a
// readable .npy, unequal rows, unequal widths of train and test, a value that is not finite, a modality that is not
// there or is one of more than two and none was chosen.
Dataset load_dataset(const DatasetFiles& files, const std::vector<std::string>& modalities = {},
                     const InputOptions& options = {}, Residence* residence = nullptr);
// What the classes of a model are called: by values (ascending), and where labels are names, by those, in the same
// order.
struct Classes {
  std::span<const int64_t> values;
  std::span<const std::string> names = {};
  bool several = false;              // a row may have several of them
  std::string source = "the model";  // whose they are, for messages

  // id: 0 to the number of classes - 1.
  std::string name(int32_t id) const {
    const auto place = static_cast<size_t>(id);
    return names.empty() ? std::to_string(values[place]) : names[place];
  }
};
// Throws DUET_STATUS_INVALID_ARGUMENT, naming both, unless both are a label a row, or sets of the same classes.
void require_one_form(const LabelColumn& column, const LabelColumn& other);
// Labels of several sets at once, so that one label is one id in all of them.
struct LabelIds {
  std::vector<std::vector<int32_t>> ids;  // of each set: as Split::labels has them
  std::vector<int64_t> values;            // what the ids stand for: as Dataset::label_values
  std::vector<std::string> names;         // and as Dataset::label_names
  LabelSets sets;                         // as Split::sets, of all sets
};
// By the classes of a model; a label that is none of them comes behind. Throws DUET_STATUS_INVALID_ARGUMENT, naming the
// set, where labels are names and those of the model or of another set are numbers, or the other way about; likewise
// where a row may have several labels of other classes, or one.
LabelIds ids_by_classes(std::span<const LabelColumn* const> columns, const Classes& classes);

// What a split is read for. features: each modality is used alone, so that one of them may be missing (its features are
// empty then); labels and groups are not read (-1 and none). labelled_features: the same, and they are read.
enum class SplitUse { pairs, features, labelled_features };
// One split of it, for a model that is already trained: scaled as its inputs were, labels by its classes.
Split load_split(const DatasetFiles& files, const std::string& split,
                 const std::array<std::string, kModalities>& modalities,
                 const std::array<Preprocessing, kModalities>& inputs, const Classes& classes,
                 SplitUse use = SplitUse::pairs, Residence* residence = nullptr);

// A name that starts with a dot, as the copies that a Mac leaves beside each file on a foreign disk.
bool is_hidden(const std::filesystem::path& path);

// The group numbers of Split for the values of a groups.npy, -1 for none.
std::vector<int32_t> group_numbers(std::span<const int64_t> values);

// Sets classes, label_values and both splits' labels from label values, -1 for none.
void set_labels(Dataset& dataset, std::span<const int64_t> train, std::span<const int64_t> test);

}  // namespace duet::data
