// Labels as a table: labels.csv (RFC 4180: commas, quotes) or labels.tsv (tabs, no quotes), with a first line that
// names the columns id and label; other columns are passed over. An id is a line of ids.txt, where that is there, or
// the number of a row, from 0 on. Every row has one line; a label that is empty: unlabelled. Errors:
// DUET_STATUS_INVALID_ARGUMENT, one line that names the file, its line and an id that is unknown, repeated or missing;
// DUET_STATUS_IO_ERROR where the system refuses a file.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "data/labels.h"

namespace duet::data {

// Lines of ids.txt: each an id that no other line has.
std::vector<std::string> parse_ids(std::string_view content, const std::string& name);

inline constexpr const char* kIdsFile = "ids.txt";
// Of a folder's ids.txt; none where it has none.
std::optional<std::vector<std::string>> ids_in(const std::filesystem::path& folder);

// numbers where every label is a whole number as it is written without a sign of plus or leading zeros (-1 and empty:
// unlabelled), and names of the same.
LabelColumn parse_label_table(std::string_view content, char separator, const std::string& name,
                              const std::optional<std::vector<std::string>>& ids);

// Of a folder with labels.csv or labels.tsv; none where it has neither.
std::optional<std::filesystem::path> label_table_in(const std::filesystem::path& folder);
LabelColumn read_label_table(const std::filesystem::path& table);

}  // namespace duet::data
