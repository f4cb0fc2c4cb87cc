// Rows of a training split that validate in place of training.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "data/dataset.h"

namespace duet::data {

// Stream of the choice (METHOD.md section 0): the element is a row of the training split, of a group its first one.
inline constexpr uint32_t kStreamValidation = 9;

// Rows of the training split that are held out, ascending. labels, groups: of all its rows, -1 for none; groups may be
// empty. Of each class, and of the rows without a label, round(share count) rows are taken (halves to even), those
// whose words are smallest, but never the last one with a label of a class. A group goes as a whole, with the class of
// its first labelled row, and stays where it has more rows than are still to be taken. sets: of labels that are sets of
// classes; a row is then taken as one of its stratum (strata_of).
// Errors: DUET_STATUS_INVALID_ARGUMENT (share outside 0 to 1).
std::vector<int64_t> held_out_rows(std::span<const int32_t> labels, std::span<const int32_t> groups, double share,
                                   uint64_t seed, const LabelSets& sets = {});

// What a run sees of its training split where it validates on a part of it.
struct HoldOut {
  double share = 0;   // of the rows, as held_out_rows() takes it; above 0
  double labels = 1;  // share of the labels that the run may see (label_hiding.h)
  uint64_t seed = 0;
};

// A data set with some rows of its split train as the split val. Labels that the run may not see are none in both: they
// are hidden first, so that none of them has a part in the choice.
class HeldOutFiles final : public DatasetFiles {
 public:
  // Errors: those of the files' labels and groups; DUET_STATUS_INVALID_ARGUMENT, one line, where there is a split val
  // already, no labels, or no row to take.
  HeldOutFiles(std::unique_ptr<DatasetFiles> files, const HoldOut& order);
  std::string name() const override { return files_->name(); }
  std::string place(const std::string& split) const override { return files_->place(source_of(split)); }
  std::vector<std::string> splits() const override;
  std::vector<std::string> arrays(const std::string& split) const override { return files_->arrays(source_of(split)); }
  StoredArray open(const std::string& split, const std::string& array) const override;
  std::optional<LabelColumn> labels(const std::string& split) const override;
  Pooling pooling() const override { return files_->pooling(); }

 private:
  // The split of the files that rows of split are in.
  static std::string source_of(const std::string& split) { return split == kHeldOut ? kSource : split; }
  static constexpr const char *kSource = "train", *kHeldOut = "val";

  std::unique_ptr<DatasetFiles> files_;
  LabelColumn shown_;                     // of all rows of the source, those that the run may see
  std::vector<int64_t> kept_, held_out_;  // rows of it, ascending
};

}  // namespace duet::data
