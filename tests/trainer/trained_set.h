// A small set with a model that was trained on it, for tests of the commands that use one.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>

#include "tests/trainer/program.h"

namespace duet::testing {

class TrainedSet {
 public:
  TrainedSet() {
    write_small_set(data());
    REQUIRE(run_program({"train", "--data", data(), "--run", run(), "--set", "epochs=1", "--set", "hidden_units=16"})
                .code == 0);
  }
  std::string data() const { return folder / "data"; }
  std::string run() const { return folder / "run"; }
  std::string test(const std::string& file = "") const { return data() + "/test" + (file.empty() ? "" : "/" + file); }
  std::string train(const std::string& file = "") const { return data() + "/train" + (file.empty() ? "" : "/" + file); }
  // What `duet embed` makes of a split.
  data::Features embeddings(const std::string& modality, const std::string& split = "test") const {
    const std::string out = folder / ("embeddings_" + split);
    if (!fs::exists(out))
      REQUIRE(run_program({"embed", "--data", data(), "--run", run(), "--split", split, "--out", out}).code == 0);
    return data::read_features(out + "/" + modality + ".npy");
  }

  TemporaryFolder folder;
};

// One line on standard error that holds these words, nothing on standard output, exit code 2.
inline void check_refused(const Outcome& outcome, const std::string& words) {
  CHECK(outcome.code == 2);
  CHECK(outcome.out.empty());
  INFO(outcome.err);
  CHECK(outcome.err.find(words) != std::string::npos);
  CHECK(std::ranges::count(outcome.err, '\n') == 1);
}

}  // namespace duet::testing
