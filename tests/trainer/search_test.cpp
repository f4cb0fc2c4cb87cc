// `duet search`: its results beside the embeddings that `duet embed` writes, ids, and what it refuses.

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numeric>
#include <sstream>

#include "tests/trainer/trained_set.h"

using namespace duet;
using namespace duet::testing;

namespace {

class Set : public TrainedSet {
 public:
  Outcome search(const std::string& from, const std::string& to, const std::vector<std::string>& more = {}) const {
    std::vector<std::string> arguments = {"search", "--run",  run(), "--gallery", test(), "--query",
                                          test(),   "--from", from,  "--to",      to};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run_program(arguments);
  }
};

double cosine(const float* a, const float* b, int64_t columns) { return std::inner_product(a, a + columns, b, 0.0); }

std::vector<nlohmann::json> lines_of(const std::string& text) {
  std::vector<nlohmann::json> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(nlohmann::json::parse(line));
  return lines;
}

}  // namespace

TEST_CASE("search finds the nearest rows, across modalities and within one") {
  const Set set;
  for (const auto& sides : {std::pair{"audio", "visual"}, {"visual", "audio"}, {"audio", "audio"}})
    for (const bool excludes : {false, true}) {
      const std::string from = sides.first, to = sides.second;
      INFO(from);
      INFO(to);
      CAPTURE(excludes);
      std::vector<std::string> more = {"--json", "--top", "7", "--threads", "3"};
      if (excludes) more.push_back("--exclude-self");
      const Outcome outcome = set.search(from, to, more);
      REQUIRE(outcome.code == 0);
      const data::Features queries = set.embeddings(from), gallery = set.embeddings(to);
      const auto lines = lines_of(outcome.out);
      REQUIRE(std::ssize(lines) == queries.rows);
      for (int64_t i = 0; i < queries.rows; ++i) {
        const auto& results = lines[static_cast<size_t>(i)]["results"];
        CHECK(lines[static_cast<size_t>(i)]["query"] == i);
        REQUIRE(results.size() == 7);
        std::vector<double> expected;
        for (int64_t j = 0; j < gallery.rows; ++j)
          if (!excludes || j != i) expected.push_back(cosine(queries.row(i), gallery.row(j), gallery.columns));
        std::ranges::sort(expected, std::greater());
        for (size_t k = 0; k < results.size(); ++k) {
          const int64_t row = results[k]["row"];
          const double score = results[k]["score"];
          // Scores are float32 sums of 64 products of numbers below 1.
          CHECK(score == doctest::Approx(expected[k]).epsilon(1e-6));
          CHECK(score == doctest::Approx(cosine(queries.row(i), gallery.row(row), gallery.columns)).epsilon(1e-6));
          CHECK((!excludes || row != i));
          CHECK(results[k]["id"] == row);
        }
      }
    }
}

TEST_CASE("search prints a table, by the ids of ids.txt where there are some") {
  const Set set;
  const Outcome numbers = set.search("audio", "visual", {"--top", "2"});
  CHECK(numbers.code == 0);
  CHECK(numbers.out.starts_with("query\trank\tid\tscore\n0\t1\t"));
  CHECK(std::ranges::count(numbers.out, '\n') == 1 + 2 * 60);
  std::string ids;
  for (int i = 0; i < 60; ++i) ids += "clip " + std::to_string(i) + "\n";
  write_text(set.test("ids.txt"), ids);
  const Outcome named = set.search("audio", "visual", {"--top", "2"});
  CHECK(named.out.starts_with("query\trank\tid\tscore\nclip 0\t1\tclip "));
  CHECK(lines_of(set.search("audio", "audio", {"--json", "--top", "1"}).out)[5]["results"][0]["id"] == "clip 5");
  write_text(set.test("ids.txt"), "one\ntwo\n");
  check_refused(set.search("audio", "visual"), "ids.txt: 2 ids; expected 60");
}

TEST_CASE("search takes files, and fewer results than asked for where there are no more") {
  const Set set;
  const auto by_file = [&](const std::string& query, const std::string& gallery) {
    return run_program({"search", "--run", set.run(), "--query", query, "--gallery", gallery, "--from", "audio", "--to",
                        "visual", "--json", "--top", "1000"});
  };
  const Outcome files = by_file(set.test("audio.npy"), set.test("visual.npy"));
  CHECK(files.code == 0);
  CHECK(files.out == set.search("audio", "visual", {"--json", "--top", "60"}).out);
  CHECK(lines_of(set.search("audio", "visual", {"--json", "--top", "60", "--exclude-self"}).out)[0]["results"].size() ==
        59);
  check_refused(by_file(set.test("audio.npy"), set.test("audio.npy")), "audio.npy: 12 columns; expected 20");
  check_refused(by_file(set.test("none.npy"), set.test("visual.npy")), "none.npy");
  check_refused(by_file(set.data(), set.test("visual.npy")),
                "expected one array named audio; found test/audio, train/audio");
}

TEST_CASE("search refuses what it cannot mean") {
  const Set set;
  check_refused(set.search("audio", "text"), "--to: expected audio or visual, got 'text'");
  check_refused(set.search("sound", "visual"), "--from: expected audio or visual, got 'sound'");
  check_refused(set.search("audio", "visual", {"--top", "0"}), "--top");
  check_refused(run_program({"search", "--run", set.run()}), "--gallery");
}
