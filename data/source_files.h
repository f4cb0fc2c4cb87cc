// A data set in files of arrays as people have them: one file or several, or folders of such files.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "data/array_file.h"
#include "data/dataset.h"
#include "data/layout.h"

namespace duet::data {

// Their arrays under paths: of a file of several arrays their names, of a folder's files (and its folders') FILE/NAME,
// or FILE where that holds one. FILE is without its ending. Hidden files are none.
// Errors: those of open_array_file; DUET_STATUS_INVALID_ARGUMENT for two arrays of one path and for no file at all.
class ArrayTable {
 public:
  explicit ArrayTable(const std::vector<std::filesystem::path>& sources);
  std::vector<std::string> paths() const;  // ascending
  StoredArray open(const std::string& path) const;

 private:
  struct Entry {
    std::shared_ptr<const ArrayFile> file;
    std::string array;
  };
  void add_file(const std::filesystem::path& file, const std::string& prefix, bool alone);
  void add_folder(const std::filesystem::path& folder, const std::string& prefix, bool recurses);

  std::map<std::string, Entry> entries_;
};

class SourceFiles final : public DatasetFiles {
 public:
  // mappings: as mapped_layout reads them; none: the layout is detected. Errors: those of ArrayTable, of the layout,
  // and of what says which rows are of which split.
  explicit SourceFiles(const std::vector<std::filesystem::path>& sources, const std::vector<std::string>& mappings = {},
                       Pooling pooling = Pooling::mean);
  std::string name() const override { return name_; }
  std::string place(const std::string& split) const override { return name_ + ", " + split; }
  std::vector<std::string> splits() const override;
  std::vector<std::string> arrays(const std::string& split) const override;
  StoredArray open(const std::string& split, const std::string& array) const override;
  Pooling pooling() const override { return pooling_; }

 private:
  void read_flags();
  void read_orders();

  std::string name_;
  ArrayTable table_;
  Layout layout_;
  Pooling pooling_;
  std::map<std::string, std::vector<int64_t>> rows_;  // of a split, where they are chosen from all
  int64_t flagged_ = -1;                              // rows that the flags are of
};

// A folder with train/ or test/ as FolderFiles has it, whatever mappings say, unless there are files of arrays in those
// and no .npy among them; else SourceFiles.
std::unique_ptr<DatasetFiles> open_dataset(const std::filesystem::path& path, const std::vector<std::string>& mappings,
                                           Pooling pooling);

}  // namespace duet::data
