// The golden cases of the float64 reference: folders of .npy inputs and outputs under $DUET_SHARED_DIR/reference/golden
// (default ../shared from the project's root). Where the folder is absent the tests that need it say so and pass over
// it; where CI is set they fail.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "tests/support/arrays.h"

namespace duet::test {

inline std::filesystem::path shared_dir() {
  const char* given = std::getenv("DUET_SHARED_DIR");
  return given && *given ? std::filesystem::path(given) : std::filesystem::path(DUET_PROJECT_DIR) / ".." / "shared";
}

// What a test compares with is not there: a line that says that it is skipped, or under CI, where nothing may pass
// uncompared, a failure.
void report_absent(const std::filesystem::path& path);

// The .npy files that NumPy wrote for the golden cases: version 1, C order, f4, f8, i4, i8, u4.
struct GoldenArray {
  int64_t rows = 1, columns = 1;  // a vector has one column, a scalar one element
  Doubles values;

  template <class T = float>
  Array<T> array() const {
    Array<T> out(rows, columns);
    out.assign(values);
    return out;
  }
};
GoldenArray load_golden(const std::filesystem::path& path);

struct GoldenCase {
  std::filesystem::path folder;

  std::string name() const { return folder.filename().string(); }
  bool has(const std::string& array) const { return std::filesystem::exists(folder / (array + ".npy")); }
  GoldenArray load(const std::string& array) const { return load_golden(folder / (array + ".npy")); }
  // Of case.json, by its JSON pointer ("margin", "retrieval/a_to_v/map"): whether it is there and not null; the number,
  // true as 1.
  bool has_fact(const std::string& pointer) const;
  double fact(const std::string& pointer) const;
};

// Every golden case, sorted by name; none where a schedule is what is tested; none, as report_absent says, where the
// folder is absent.
std::vector<GoldenCase> golden_cases();

}  // namespace duet::test
