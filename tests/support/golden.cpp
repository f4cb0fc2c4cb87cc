#include "tests/support/golden.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>

namespace duet::test {

GoldenArray load_golden(const std::filesystem::path& path) {
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

void report_absent(const std::filesystem::path& path) {
  const char* ci = std::getenv("CI");
  if (ci && *ci && std::string(ci) != "false")
    FAIL_CHECK("nothing at " << path.string() << ", and under CI every test must run (set DUET_SHARED_DIR)");
  else
    MESSAGE("skipped: nothing at " << path.string() << " (set DUET_SHARED_DIR)");
}

static nlohmann::json facts_of(const GoldenCase& golden) {
  std::ifstream file(golden.folder / "case.json");
  return nlohmann::json::parse(file);
}

bool GoldenCase::has_fact(const std::string& pointer) const {
  const nlohmann::json facts = facts_of(*this);
  const nlohmann::json::json_pointer place("/" + pointer);
  return facts.contains(place) && !facts[place].is_null();
}

double GoldenCase::fact(const std::string& pointer) const {
  const nlohmann::json value = facts_of(*this).at(nlohmann::json::json_pointer("/" + pointer));
  return value.is_boolean() ? value.get<bool>() : value.get<double>();
}

std::vector<GoldenCase> golden_cases() {
  const auto root = shared_dir() / "reference" / "golden";
  std::vector<GoldenCase> cases;
  if (!device.every_value) return cases;
  if (!std::filesystem::is_directory(root)) {
    report_absent(root);
    return cases;
  }
  for (const auto& entry : std::filesystem::directory_iterator(root)) {
    if (entry.is_directory()) cases.push_back({entry.path()});
  }
  std::sort(cases.begin(), cases.end(), [](const GoldenCase& a, const GoldenCase& b) { return a.folder < b.folder; });
  CHECK(!cases.empty());
  return cases;
}

}  // namespace duet::test
