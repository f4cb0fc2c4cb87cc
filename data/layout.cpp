#include "data/layout.h"

#include <algorithm>
#include <optional>
#include <string_view>
#include <utility>

#include "kernels/core/error.h"
#include "runtime/printable.h"

namespace duet::data {
namespace {

constexpr std::string_view kSeparators = "/._-";
constexpr std::pair<std::string_view, const char*> kSplits[] = {
    {"train", "train"}, {"test", "test"}, {"val", "val"}, {"validation", "val"}, {"valid", "val"}};
constexpr std::string_view kLabels[] = {"lab", "label", "labels", "label_id", "label_ids", "y", "target", "targets"};
constexpr std::string_view kFlags[] = {"train_test", "split"};
constexpr std::string_view kEndings[] = {"_feat", "_feats", "_feature", "_features"};

// ASCII alone: names are of other people's, and no locale matters.
std::string lower(std::string_view word) {
  std::string out(word);
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return out;
}

bool is_one_of(std::string_view word, auto& words) { return std::ranges::find(words, word) != std::end(words); }

std::string listed(const std::vector<std::string>& paths) {
  constexpr size_t kMost = 8;
  std::string out;
  for (size_t k = 0; k < std::min(kMost, paths.size()); ++k) out += (k ? ", " : "") + shown(paths[k]);
  if (paths.size() > kMost) out += text(" and ", paths.size() - kMost, " more");
  return out.empty() ? "none" : out;
}

std::string last_part(const std::string& path) { return path.substr(path.rfind('/') + 1); }

// What an array is called in the data set.
std::string array_name(std::string name) {
  const std::string word = lower(name), last = last_part(word);
  if (is_one_of(last, kLabels)) return "labels";
  if (last == "group" || last == "groups") return "groups";
  for (const std::string_view ending : kEndings)
    if (word.size() > ending.size() && word.ends_with(ending)) {
      name.erase(name.size() - ending.size());
      break;
    }
  std::ranges::replace(name, '/', '_');  // a modality is the name of a file too
  return name;
}

// The split that a path starts or ends with, and what is left of it.
std::optional<std::pair<std::string, std::string>> part_of(const std::string& path) {
  const std::string word = lower(path);
  for (const auto& [split, name] : kSplits) {
    const size_t length = split.size();
    if (word.size() < length + 2) continue;
    if (word.starts_with(split) && kSeparators.find(word[length]) != std::string_view::npos)
      return std::pair(name, path.substr(length + 1));
    if (word.ends_with(split) && kSeparators.find(word[word.size() - length - 1]) != std::string_view::npos)
      return std::pair(name, path.substr(0, path.size() - length - 1));
  }
  return std::nullopt;
}

void place(Layout& layout, const std::string& split, const std::string& array, const std::string& path,
           const std::string& source) {
  const auto [at, added] = layout.splits[split].emplace(array, path);
  require(added, source, ": ", shown(at->second), " and ", shown(path), " are both ", shown(array), " of ", split,
          "; expected one (--map ", shown(array), "/", split, "=PATH says which)");
}

}  // namespace

bool names_labels(const std::string& path) { return is_one_of(last_part(lower(path)), kLabels); }

Layout detect_layout(const std::vector<std::string>& paths, const std::string& source) {
  Layout layout;
  std::vector<std::string> of_all_rows;
  for (const std::string& path : paths) {
    const std::string word = lower(path);
    const auto part = part_of(path);
    if (is_one_of(word, kFlags))
      layout.flags = path;
    else if (part && lower(part->second) == "order")
      layout.orders[part->first] = path;
    else
      of_all_rows.push_back(path);
  }
  if (layout.orders.contains("train") && layout.orders.contains("test")) layout.flags.clear();
  if (!layout.flags.empty() || !layout.orders.empty()) {
    std::vector<std::string> splits = {"train", "test"};
    if (layout.flags.empty() && layout.orders.contains("val")) splits.push_back("val");
    if (!layout.flags.empty()) layout.orders.clear();
    require(!layout.flags.empty() || (layout.orders.contains("train") && layout.orders.contains("test")), source,
            ": an order of one split; expected train_order and test_order, found ", listed(paths));
    for (const std::string& split : splits)
      for (const std::string& path : of_all_rows) place(layout, split, array_name(path), path, source);
    return layout;
  }
  for (const std::string& path : of_all_rows)
    if (const auto part = part_of(path)) place(layout, part->first, array_name(part->second), path, source);
  require(layout.splits.contains("train") && layout.splits.contains("test"), source,
          ": no layout that is known; expected arrays such as train/audio or audio_train, or Train_test beside arrays "
          "of all rows; found ",
          listed(paths), " (--map audio/train=PATH says where each lies)");
  return layout;
}

Layout mapped_layout(const std::vector<std::string>& mappings, const std::vector<std::string>& paths,
                     const std::string& source) {
  Layout layout;
  for (const std::string& mapping : mappings) {
    const size_t equals = mapping.find('='), slash = mapping.rfind('/', equals);
    require(equals != std::string::npos && slash != std::string::npos && slash > 0 && slash + 1 < equals,
            "--map: expected ARRAY/SPLIT=PATH, got '", shown(mapping), "'");
    const std::string array = mapping.substr(0, slash), split = mapping.substr(slash + 1, equals - slash - 1);
    require(split == "train" || split == "test" || split == "val",
            "--map: expected the split train, test or val, got '", shown(mapping), "'");
    require(array.find('/') == std::string::npos, "--map: expected a name without '/', got '", shown(mapping), "'");
    std::string path = mapping.substr(equals + 1);
    path.erase(0, path.find_first_not_of('/'));
    require(std::ranges::find(paths, path) != paths.end(), source, ": no array '", shown(path), "'; found ",
            listed(paths));
    place(layout, split, array, path, source);
  }
  return layout;
}

}  // namespace duet::data
