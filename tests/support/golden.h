// The golden cases of the float64 reference: folders of .npy inputs and outputs under $DUET_SHARED_DIR/reference/golden (default ../shared
// from the project's root). Where the folder is absent the tests that need it say so and pass over it.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/support/arrays.h"

namespace duet::test {

inline std::filesystem::path shared_dir() {
  const char* given = std::getenv("DUET_SHARED_DIR");
  return given && *given ? std::filesystem::path(given) : std::filesystem::path(DUET_PROJECT_DIR) / ".." / "shared";
}

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

inline GoldenArray load_golden(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  REQUIRE_MESSAGE(file.good(), path.string());
  char magic[10];
  file.read(magic, 10);
  const unsigned length = static_cast<unsigned char>(magic[8]) + 256u * static_cast<unsigned char>(magic[9]);
  std::string header(length, ' ');
  file.read(header.data(), length);
  const std::string type = header.substr(header.find("'descr': '") + 10, 3);
  std::string shape = header.substr(header.find('(') + 1);
  shape = shape.substr(0, shape.find(')'));
  std::vector<int64_t> extents;
  for (size_t at = 0; at < shape.size();) {
    if (!std::isdigit(static_cast<unsigned char>(shape[at]))) {
      ++at;
      continue;
    }
    size_t used = 0;
    extents.push_back(std::stoll(shape.substr(at), &used));
    at += used;
  }
  GoldenArray out;
  if (!extents.empty()) out.rows = extents[0];
  if (extents.size() > 1) out.columns = extents[1];
  const auto read = [&](auto zero) {
    for (int64_t k = 0; k < out.rows * out.columns; ++k) {
      auto value = zero;
      file.read(reinterpret_cast<char*>(&value), sizeof value);
      out.values.push_back(static_cast<double>(value));
    }
  };
  if (type == "<f4")
    read(float{});
  else if (type == "<f8")
    read(double{});
  else if (type == "<i4")
    read(int32_t{});
  else if (type == "<i8")
    read(int64_t{});
  else if (type == "<u4")
    read(uint32_t{});
  else
    FAIL("unexpected dtype ", type, " in ", path.string());
  REQUIRE_MESSAGE(file.good(), path.string());
  return out;
}

struct GoldenCase {
  std::filesystem::path folder;
  nlohmann::json facts;  // n, m, d, classes, paired, margin, tau, tau_teacher, ...

  std::string name() const { return folder.filename().string(); }
  bool has(const std::string& array) const { return std::filesystem::exists(folder / (array + ".npy")); }
  GoldenArray load(const std::string& array) const { return load_golden(folder / (array + ".npy")); }
};

// Every golden case, sorted by name; none where a schedule is what is tested; none, with a line that says so, where the folder is absent.
inline std::vector<GoldenCase> golden_cases() {
  const auto root = shared_dir() / "reference" / "golden";
  std::vector<GoldenCase> cases;
  if (!device.every_value) return cases;
  if (!std::filesystem::is_directory(root)) {
    MESSAGE("skipped: no golden cases at " << root.string() << " (set DUET_SHARED_DIR)");
    return cases;
  }
  for (const auto& entry : std::filesystem::directory_iterator(root)) {
    if (!entry.is_directory()) continue;
    std::ifstream file(entry.path() / "case.json");
    cases.push_back({entry.path(), nlohmann::json::parse(file)});
  }
  std::sort(cases.begin(), cases.end(), [](const GoldenCase& a, const GoldenCase& b) { return a.folder < b.folder; });
  CHECK(!cases.empty());
  return cases;
}

}  // namespace duet::test
