#include "data/label_table.h"

#include <charconv>
#include <map>
#include <system_error>
#include <unordered_map>
#include <utility>

#include "kernels/core/error.h"
#include "runtime/files/file_bytes.h"
#include "runtime/printable.h"

namespace duet::data {
namespace {

constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";

std::string_view without_mark(std::string_view content) {
  if (content.starts_with(kByteOrderMark)) content.remove_prefix(kByteOrderMark.size());
  return content;
}

// Cells of a table, a line at a time.
class TableReader {
 public:
  TableReader(std::string_view content, char separator, const std::string& name)
      : content_(without_mark(content)), separator_(separator), name_(name) {}

  int64_t line() const { return line_; }  // of the row that came last, from 1 on

  // False at the end. Empty lines are passed over.
  bool next(std::vector<std::string>& cells) {
    while (at_ < content_.size()) {
      line_ = next_line_;
      cells.clear();
      do cells.push_back(cell());
      while (accept(separator_));
      if (cells.size() > 1 || !cells[0].empty()) return true;
    }
    return false;
  }

 private:
  bool accept(char wanted) {
    if (at_ < content_.size() && content_[at_] == wanted) {
      ++at_;
      return true;
    }
    if (wanted == separator_) end_of_line();
    return false;
  }
  void end_of_line() {
    if (at_ < content_.size() && content_[at_] == '\r') ++at_;
    if (at_ < content_.size() && content_[at_] == '\n') ++at_;
    ++next_line_;
  }
  bool ends_cell(size_t at) const {
    return at >= content_.size() || content_[at] == separator_ || content_[at] == '\n' || content_[at] == '\r';
  }
  std::string cell() {
    if (separator_ == ',' && at_ < content_.size() && content_[at_] == '"') return quoted();
    const size_t start = at_;
    while (!ends_cell(at_)) ++at_;
    return std::string(content_.substr(start, at_ - start));
  }
  std::string quoted() {
    std::string out;
    for (++at_;; ++at_) {
      require(at_ < content_.size(), name_, ": line ", line_, ": a quote that is not closed");
      if (content_[at_] == '\n') ++next_line_;
      if (content_[at_] == '"' && (at_ + 1 >= content_.size() || content_[at_ + 1] != '"')) break;
      if (content_[at_] == '"') ++at_;  // two stand for one
      out += content_[at_];
    }
    ++at_;
    require(ends_cell(at_), name_, ": line ", line_, ": text after a closing quote");
    return out;
  }

  std::string_view content_;
  char separator_;
  const std::string& name_;
  size_t at_ = 0;
  int64_t line_ = 0, next_line_ = 1;
};

// A whole number as text() writes it.
std::optional<int64_t> whole_number(const std::string& word) {
  int64_t value = 0;
  const auto [stop, error] = std::from_chars(word.data(), word.data() + word.size(), value);
  if (error != std::errc() || stop != word.data() + word.size() || std::to_string(value) != word) return std::nullopt;
  return value;
}

size_t column_of(const std::vector<std::string>& header, const char* column, const std::string& name) {
  size_t found = header.size();
  for (size_t k = 0; k < header.size(); ++k)
    if (header[k] == column) {
      require(found == header.size(), name, ": line 1 names the column ", column, " twice");
      found = k;
    }
  require(found < header.size(), name, ": line 1 names no column '", column, "'; expected id and label");
  return found;
}

std::string read_all(const std::filesystem::path& path) {
  const FileBytes file(path);
  return {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()};
}

}  // namespace

std::vector<std::string> parse_ids(std::string_view content, const std::string& name) {
  content = without_mark(content);
  std::vector<std::string> ids;
  std::unordered_map<std::string, size_t> seen;
  for (size_t start = 0; start < content.size();) {
    const size_t end = std::min(content.find('\n', start), content.size());
    std::string id(content.substr(start, end - start));
    if (id.ends_with('\r')) id.pop_back();
    start = end + 1;
    require(!id.empty(), name, ": line ", ids.size() + 1, " is empty; expected an id a line");
    const auto [at, added] = seen.emplace(id, ids.size() + 1);
    require(added, name, ": lines ", at->second, " and ", ids.size() + 1, " are both '", shown(id), "'");
    ids.push_back(std::move(id));
  }
  require(!ids.empty(), name, ": no ids; expected one a line");
  return ids;
}

LabelColumn parse_label_table(std::string_view content, char separator, const std::string& name,
                              const std::optional<std::vector<std::string>>& ids) {
  TableReader reader(content, separator, name);
  std::vector<std::string> cells;
  require(reader.next(cells), name, ": empty; expected a first line 'id", separator == ',' ? "," : "<tab>", "label'");
  const size_t id_column = column_of(cells, "id", name), label_column = column_of(cells, "label", name),
               columns = cells.size();
  std::unordered_map<std::string, int64_t> rows;
  if (ids)
    for (size_t k = 0; k < ids->size(); ++k) rows.emplace((*ids)[k], static_cast<int64_t>(k));

  struct Labelled {
    int64_t line;
    std::string label;
  };
  std::map<int64_t, Labelled> labels;  // of each row
  while (reader.next(cells)) {
    require(cells.size() == columns, name, ": line ", reader.line(), " has ", cells.size(), " cells; expected ",
            columns, " as in line 1");
    const std::string& id = cells[id_column];
    int64_t row = 0;
    if (ids) {
      const auto found = rows.find(id);
      require(found != rows.end(), name, ": line ", reader.line(), ": unknown id '", shown(id),
              "'; expected a line of ids.txt");
      row = found->second;
    } else {
      const std::optional<int64_t> number = whole_number(id);
      require(number && *number >= 0, name, ": line ", reader.line(), ": unknown id '", shown(id),
              "'; expected the number of a row, from 0 on, or a line of ids.txt, which is not there");
      row = *number;
    }
    require(is_utf8(cells[label_column]), name, ": line ", reader.line(), ": the label '", shown(cells[label_column]),
            "' is no UTF-8");
    const auto [at, added] = labels.emplace(row, Labelled{reader.line(), cells[label_column]});
    require(added, name, ": lines ", at->second.line, " and ", reader.line(), ": id '", shown(id), "' is repeated");
  }
  const int64_t count = ids ? std::ssize(*ids) : std::ssize(labels);
  require(count > 0, name, ": no rows; expected at least one");
  LabelColumn column{.name = name, .numbers = std::vector<int64_t>(), .names = std::vector<std::string>()};
  for (int64_t row = 0; row < count; ++row) {
    const auto found = labels.find(row);
    require(found != labels.end(), name, ": id '", ids ? shown((*ids)[static_cast<size_t>(row)]) : text(row),
            "' is missing; expected a line a row (an empty label: unlabelled)");
    const std::string& label = found->second.label;
    const std::optional<int64_t> number = label.empty() ? -1 : whole_number(label);
    if (!number) column.numbers.reset();
    if (column.numbers) column.numbers->push_back(*number);
    column.names->push_back(label);
  }
  return column;
}

std::optional<std::filesystem::path> label_table_in(const std::filesystem::path& folder) {
  for (const char* name : {"labels.csv", "labels.tsv"}) {
    std::error_code ignored;
    if (std::filesystem::exists(folder / name, ignored)) return folder / name;
  }
  return std::nullopt;
}

std::optional<std::vector<std::string>> ids_in(const std::filesystem::path& folder) {
  const std::filesystem::path file = folder / kIdsFile;
  std::error_code ignored;
  if (!std::filesystem::exists(file, ignored)) return std::nullopt;
  return parse_ids(read_all(file), file.string());
}

LabelColumn read_label_table(const std::filesystem::path& table) {
  const std::optional<std::vector<std::string>> ids = ids_in(table.parent_path());
  return parse_label_table(read_all(table), table.extension() == ".csv" ? ',' : '\t', table.string(), ids);
}

}  // namespace duet::data
