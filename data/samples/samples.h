// The sample set that is linked into the program: spoken digits and drawn digits, made by samples/make_digits.py. It
// needs no path.
#pragma once

#include "data/dataset.h"

namespace duet::data {

// "digits (built in)": modalities audio and visual, 10 classes, every row labelled.
class SampleFiles final : public DatasetFiles {
 public:
  std::string name() const override { return "digits (built in)"; }
  std::string place(const std::string& split) const override { return "built-in digits, " + split; }
  std::vector<std::string> splits() const override { return {"train", "test"}; }
  std::vector<std::string> arrays(const std::string& split) const override;
  StoredArray open(const std::string& split, const std::string& array) const override;
};

}  // namespace duet::data
