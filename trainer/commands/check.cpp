// `duet check`: what training would find in a data set.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <functional>
#include <iostream>
#include <map>
#include <memory>
#include <string_view>
#include <unordered_set>

#include "data/array_write.h"
#include "data/source_files.h"
#include "runtime/printable.h"
#include "trainer/commands/command.h"
#include "trainer/commands/options.h"
#include "trainer/usage_error.h"

namespace duet {
namespace {

constexpr size_t kMostClassesListed = 20;

std::string number(double value) {
  char buffer[32];
  std::snprintf(buffer, sizeof buffer, "%.4g", value);
  return buffer;
}

std::string share(int64_t part, int64_t whole) {
  char buffer[32];
  std::snprintf(buffer, sizeof buffer, "%.1f %%", 100 * static_cast<double>(part) / static_cast<double>(whole));
  return buffer;
}

// Rows by a hash of their values in float64. Two rows of equal hashes count as equal: with 64 bits and a million rows
// that is wrong once in 30 million data sets.
using Rows = std::unordered_set<size_t>;

struct Summary {
  double low = HUGE_VAL, high = -HUGE_VAL, mean = 0, deviation = 0;
  int64_t zeros = 0, repeated = 0, known = 0;  // rows that an earlier one equals, or one of another split
};

// others: rows of the training split, or null.
Summary summarise(const data::FeatureSource& source, Rows& rows, const Rows* others) {
  Summary out;
  std::vector<double> row(static_cast<size_t>(source.columns()));
  double count = 0, squares = 0;  // Welford's sums
  for (int64_t i = 0; i < source.rows(); ++i) {
    source.read_row(i, row);
    for (double& value : row) {
      value += 0.0;  // -0 is 0
      out.low = std::min(out.low, value);
      out.high = std::max(out.high, value);
      out.zeros += value == 0;
      const double from_mean = value - out.mean;
      out.mean += from_mean / ++count;
      squares += from_mean * (value - out.mean);
    }
    const std::string_view bytes(reinterpret_cast<const char*>(row.data()), row.size() * sizeof(double));
    const size_t hash = std::hash<std::string_view>()(bytes);
    out.repeated += !rows.insert(hash).second;
    out.known += others && others->contains(hash);
  }
  out.deviation = count > 1 ? std::sqrt(squares / (count - 1)) : 0;
  return out;
}

// "10 classes, 2700 of 2700 rows labelled, 250 to 290 rows a class"; of sets also how many labels a row has.
void print_labels(const data::LabelColumn& labels) {
  std::map<std::string, int64_t> names;
  std::map<int64_t, int64_t> numbers;
  int64_t labelled = 0, most_of_row = 0, of_all_rows = 0;
  for (int64_t c = 0; c < labels.sets.classes; ++c) numbers[c] = 0;
  for (int64_t i = 0; i < labels.rows(); ++i) {
    const auto at = static_cast<size_t>(i);
    if (labels.sets.given()) {
      const std::vector<int32_t> row = data::classes_of(labels.sets, static_cast<int32_t>(i));
      for (const int32_t c : row) ++numbers[c];
      labelled += !row.empty();
      of_all_rows += std::ssize(row);
      most_of_row = std::max<int64_t>(most_of_row, std::ssize(row));
      continue;
    }
    const bool has = labels.numbers ? (*labels.numbers)[at] != -1 : !(*labels.names)[at].empty();
    if (!has) continue;
    ++labelled;
    if (labels.numbers)
      ++numbers[(*labels.numbers)[at]];
    else
      ++names[(*labels.names)[at]];
  }
  std::vector<std::pair<std::string, int64_t>> classes(names.begin(), names.end());
  for (const auto& [value, rows] : numbers) classes.emplace_back(text(value), rows);
  std::cout << "  labels: " << labelled << " of " << labels.rows() << " rows labelled, " << classes.size()
            << (classes.size() == 1 ? " class" : " classes");
  if (!classes.empty()) {
    const auto [fewest, most] = std::ranges::minmax(classes, {}, [](const auto& entry) { return entry.second; });
    std::cout << ", " << fewest.second << " (" << shown(fewest.first) << ") to " << most.second << " ("
              << shown(most.first) << ") rows a class";
  }
  if (of_all_rows > 0)
    std::cout << ", " << number(static_cast<double>(of_all_rows) / static_cast<double>(labelled))
              << " labels a labelled row, at most " << most_of_row;
  std::cout << '\n';
  if (classes.size() > kMostClassesListed || classes.empty()) return;
  std::string line;
  for (const auto& [name, rows] : classes) line += text(line.empty() ? "" : ", ", shown(name), " ", rows);
  std::cout << "          " << line << '\n';
}

void print_groups(const data::ArrayView& view) {
  const std::vector<int32_t> groups = data::group_numbers(data::read_labels(view));
  const auto grouped = std::ranges::count_if(groups, [](int32_t group) { return group >= 0; });
  std::cout << "  groups: " << (groups.empty() ? 0 : 1 + std::ranges::max(groups)) << " groups of " << grouped << " of "
            << groups.size() << " rows\n";
}

// The same of every split: what training read of it stays as it was fitted.
struct Modality {
  int64_t columns = 0;
  Rows rows;
};

void print_features(const data::DatasetFiles& files, const std::string& split, const std::string& name,
                    int64_t labelled_rows, std::map<std::string, Modality>& training) {
  const data::StoredArray array = files.open(split, name);
  const std::string what = data::shape_text(array.view.shape), type = data::type_name(array.view.type);
  const data::FeatureSource source(array, files.pooling());
  usage_require(labelled_rows < 0 || source.rows() == labelled_rows, source.name(), ": ", source.rows(),
                " rows; expected ", labelled_rows, ", as there are labels");
  const bool is_training = split == "train";
  const auto trained = training.find(name);
  usage_require(trained == training.end() || trained->second.columns == source.columns(), source.name(), ": ",
                source.columns(), " columns; expected ", trained == training.end() ? 0 : trained->second.columns,
                " as in train");
  Rows rows;
  const Summary summary = summarise(source, rows, trained == training.end() ? nullptr : &trained->second.rows);
  const int64_t values = source.rows() * source.columns();
  std::cout << "  " << printable(name) << ": " << what << ' ' << type;
  if (source.rows() != array.view.shape[0]) std::cout << ", of which " << source.rows() << " rows";
  if (const std::string pooled = source.pooled(); !pooled.empty()) std::cout << ", " << pooled;
  std::cout << ", from " << number(summary.low) << " to " << number(summary.high) << ", mean " << number(summary.mean)
            << ", deviation " << number(summary.deviation) << ", " << share(summary.zeros, values) << " zeros";
  if (summary.repeated > 0) std::cout << "; " << summary.repeated << " rows equal an earlier one";
  if (summary.known > 0) std::cout << "; " << summary.known << " rows are rows of train";
  std::cout << '\n';
  if (!is_training) return;
  // Constant columns are part of the reason.
  std::cout << "          " << printable(data::Preprocessing::fit(source, data::Scaling::automatic).reason) << '\n';
  training[name] = {source.columns(), std::move(rows)};
}

class CheckCommand final : public Command {
 public:
  void declare(CLI::App& app) override {
    add_path(app, "PATH", data_, "folder or file of the data set", "PATH")->required();
    add_key(app, "--pool", "pool", config_, "POOLING");
    add_key(app, "--map", "map", config_, "ARRAY/SPLIT=PATH,...");
  }
  int run() override;

 private:
  std::optional<std::filesystem::path> data_;
  Config config_;
};

int CheckCommand::run() {
  reading_input([&] {
    const std::unique_ptr<data::DatasetFiles> files =
        data::open_dataset(*data_, config_.map, data::parse_pooling(config_.pool, "--pool"));
    const std::vector<std::string> splits = files->splits();
    if (splits.empty()) files->arrays("train");  // says what is not there
    usage_require(!splits.empty(), files->name(), ": no split train, test or val");
    std::map<std::string, Modality> training;
    std::optional<data::LabelColumn> first;
    for (const std::string& split : splits) {
      const std::optional<data::LabelColumn> labels = files->labels(split);
      if (labels && first) data::require_one_form(*labels, *first);
      if (labels && !first) first = labels;
      std::cout << printable(files->place(split)) << ":\n";
      for (const std::string& name : files->arrays(split)) {
        if (name == data::kGroups)
          print_groups(files->open(split, name).view);
        else if (name != data::kLabels)
          print_features(*files, split, name, labels ? labels->rows() : -1, training);
      }
      if (labels)
        print_labels(*labels);
      else
        std::cout << "  labels: none\n";
    }
  });
  return kExitDone;
}

}  // namespace

std::unique_ptr<Command> make_check() { return std::make_unique<CheckCommand>(); }

}  // namespace duet
