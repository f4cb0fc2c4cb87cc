// `duet eval` on queries and a gallery of their own and on one direction of a split, beside METHOD.md 7 in float64 on
// the embeddings that `duet embed` writes; and what it refuses.

#include <doctest/doctest.h>

#include <map>
#include <nlohmann/json.hpp>

#include "data/labels.h"
#include "runtime/device.h"
#include "tests/reference/retrieval.h"
#include "tests/trainer/trained_set.h"
#include "trainer/evaluate.h"

using namespace duet;
using namespace duet::testing;
using nlohmann::json;

namespace {

// METHOD.md 7: float32 may swap neighbours whose scores are within 1e-6, which moves MAP by less than this.
constexpr double kMapTolerance = 1e-3;

struct Expected {
  double map = 0, recall_at_5 = 0;
  int64_t queries = 0;
  std::map<int64_t, std::pair<int64_t, double>> classes;  // of a label: queries and MAP
};

Expected measure(const data::Features& queries, const data::Features& gallery, const std::vector<int64_t>& query_labels,
                 const std::vector<int64_t>& gallery_labels, bool excludes) {
  const auto wide = [](const data::Features& x) { return std::vector<double>(x.values.begin(), x.values.end()); };
  const std::vector<double> scores =
      reference::cosines(wide(queries), wide(gallery), queries.rows, gallery.rows, queries.columns);
  Expected out;
  for (int64_t i = 0; i < queries.rows; ++i) {
    std::vector<double> row;
    std::vector<bool> relevant;
    const int64_t label = query_labels[static_cast<size_t>(i)];
    for (int64_t j = 0; j < gallery.rows; ++j) {
      if (excludes && i == j) continue;
      row.push_back(scores[static_cast<size_t>(i * gallery.rows + j)]);
      relevant.push_back(label != -1 && label == gallery_labels[static_cast<size_t>(j)]);
    }
    const reference::Ranks ranks = reference::expected_ranks(row, relevant);
    const reference::QueryMeasures measures = reference::query_measures(ranks);
    if (measures.relevant == 0) continue;
    ++out.queries;
    out.map += measures.average_precision;
    out.recall_at_5 += reference::found(ranks, 5);
    auto& [count, sum] = out.classes[label];
    ++count;
    sum += measures.average_precision;
  }
  out.map /= static_cast<double>(out.queries);
  out.recall_at_5 /= static_cast<double>(out.queries);
  return out;
}

void check_measured(const json& measured, const Expected& expected) {
  CHECK(measured["queries"] == expected.queries);
  CHECK(std::abs(measured["map"].get<double>() - expected.map) <= kMapTolerance);
  CHECK(std::abs(measured["recall"]["5"].get<double>() - expected.recall_at_5) <= kMapTolerance);
  CHECK(measured["precision_recall"].size() == 11);
  REQUIRE(measured["classes"].size() == expected.classes.size());
  for (const json& each : measured["classes"]) {
    const auto found = expected.classes.find(each["label"].get<int64_t>());
    REQUIRE(found != expected.classes.end());
    const int64_t queries = found->second.first;
    CHECK(each["queries"] == queries);
    const double map = found->second.second / static_cast<double>(queries);
    CHECK(std::abs(each["map"].get<double>() - map) <= kMapTolerance);
  }
  const json& interval = measured["confidence"]["map"];
  CHECK(interval[0] <= measured["map"]);
  CHECK(interval[1] >= measured["map"]);
}

class Set : public TrainedSet {
 public:
  Outcome eval(const std::vector<std::string>& more) const {
    std::vector<std::string> arguments = {"eval", "--run", run()};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run_program(arguments);
  }
  json measured(std::vector<std::string> more) const {
    more.push_back("--json");
    const Outcome outcome = eval(more);
    INFO(outcome.err);
    REQUIRE(outcome.code == 0);
    return json::parse(outcome.out);
  }
  // Of two sets.
  std::vector<std::string> sides(const std::string& query, const std::string& gallery, const std::string& from,
                                 const std::string& to) const {
    return {"--query", query, "--gallery", gallery, "--from", from, "--to", to};
  }
};

std::vector<std::string> operator+(std::vector<std::string> words, const std::vector<std::string>& more) {
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

}  // namespace

TEST_CASE("eval measures queries against a gallery of their own") {
  const Set set;
  const auto labels_of = [&](const std::string& split) {
    return data::read_labels(set.data() + "/" + split + "/labels.npy");
  };
  for (const auto& sides : {std::pair{"audio", "visual"}, {"visual", "audio"}, {"visual", "visual"}}) {
    const std::string from = sides.first, to = sides.second;
    INFO(from);
    INFO(to);
    const json measured = set.measured(set.sides(set.test(), set.train(), from, to));
    CHECK(measured["from"] == from);
    CHECK(measured["to"] == to);
    check_measured(measured, measure(set.embeddings(from), set.embeddings(to, "train"), labels_of("test"),
                                     labels_of("train"), false));
    CHECK(measured["matching"]["pair_recall"]["1"].is_null());
    // Files in place of folders, with the labels beside them.
    CHECK(set.measured(set.sides(set.test(from + ".npy"), set.train(to + ".npy"), from, to)) == measured);
  }
  const std::vector<std::string> within = set.sides(set.test(), set.test(), "audio", "audio");
  check_measured(set.measured(within + std::vector<std::string>{"--exclude-self"}),
                 measure(set.embeddings("audio"), set.embeddings("audio"), labels_of("test"), labels_of("test"), true));
  const Outcome itself = set.eval(within);
  CHECK(itself.err.find("each finds itself; --exclude-self") != std::string::npos);
  CHECK(itself.out.find("recall@1          1.000 [1.000, 1.000]") != std::string::npos);
  CHECK(itself.out.find("pair_recall") == std::string::npos);
}

TEST_CASE("eval measures one direction of a split as it measures both") {
  const Set set;
  const std::vector<std::string> data = {"--data", set.data()};
  const json both = set.measured(data);
  const std::array<std::string, 2> names = {"audio", "visual"};
  for (const size_t from : {size_t{0}, size_t{1}}) {
    const std::string key = from == 0 ? "a_to_v" : "v_to_a";
    const json one = set.measured(data + std::vector<std::string>{"--from", names[from], "--to", names[1 - from]});
    for (const char* measure : {"map", "map_at_r", "map_over_cutoffs", "precision_recall", "queries"})
      CHECK(one[measure] == both[measure][key]);
    CHECK(one["recall"]["10"] == both["recall"]["10"][key]);
    CHECK(one["matching"]["pair_recall"]["5"] == both["matching"]["pair_recall"]["5"][key]);
    CHECK(one["confidence"]["map"] == both["confidence"]["map"][key]);
    CHECK(one["classes"].size() == 4);
  }
  // Of one modality: each row searches the others, as it does with two sets.
  const json within = set.measured(data + std::vector<std::string>{"--from", "visual", "--to", "visual"});
  json sides =
      set.measured(set.sides(set.test(), set.test(), "visual", "visual") + std::vector<std::string>{"--exclude-self"});
  CHECK(within == sides);
  CHECK(within["map"] < 1);

  // Rows of one item are drawn together: ten items of six rows tell less than sixty rows.
  std::vector<int64_t> groups;
  for (int64_t i = 0; i < 60; ++i) groups.push_back(i / 6);
  test::write_labels(set.test("groups.npy"), groups);
  const json grouped = set.measured(data);
  CHECK(grouped["map"] == both["map"]);
  CHECK(grouped["confidence"]["map"] != both["confidence"]["map"]);
  const json of_groups = set.measured(data + std::vector<std::string>{"--from", "visual", "--to", "visual"});
  CHECK(of_groups["map"] == within["map"]);
  CHECK(of_groups["matching"]["pair_recall"]["10"].is_number());  // the other rows of the item
  fs::remove(set.test("groups.npy"));

  // The other modality may be missing.
  fs::remove(set.test("audio.npy"));
  CHECK(set.measured(data + std::vector<std::string>{"--from", "visual", "--to", "visual"}) == within);
  check_refused(set.eval(data + std::vector<std::string>{"--from", "visual", "--to", "audio"}),
                set.data() + ": the test split has no modality 'audio'");
}

TEST_CASE("eval takes labels from where they are, classes that training lacks, and rows without") {
  const Set set;
  std::vector<int64_t> query_labels = data::read_labels(set.test("labels.npy")),
                       gallery_labels = data::read_labels(set.train("labels.npy"));
  query_labels[0] = query_labels[1] = -1;  // no queries
  query_labels[2] = 77;                    // without a relevant item
  query_labels[3] = query_labels[4] = -9;
  gallery_labels[0] = gallery_labels[7] = -9, gallery_labels[1] = -1;
  const Expected expected =
      measure(set.embeddings("audio"), set.embeddings("visual", "train"), query_labels, gallery_labels, false);
  CHECK(expected.queries == 57);
  CHECK(expected.classes.at(-9).first == 2);
  const std::vector<std::string> sides = set.sides(set.test(), set.train(), "audio", "visual");
  std::string table = "id,label\n";
  for (size_t i = 0; i < query_labels.size(); ++i)
    table += std::to_string(i) + "," + (i == 0 ? "" : std::to_string(query_labels[i])) + "\n";
  write_text(set.folder / "q.csv", table);
  test::write_labels(set.folder / "g.npy", gallery_labels);
  const json given = set.measured(sides + std::vector<std::string>{"--query-labels", set.folder / "q.csv",
                                                                   "--gallery-labels", set.folder / "g.npy"});
  check_measured(given, expected);
  const Outcome noted = set.eval(sides + std::vector<std::string>{"--query-labels", set.folder / "q.csv"});
  CHECK(noted.err.find("3 of 60 query rows have labels that the training split lacks") != std::string::npos);

  // The same beside the features: a table in the folder, and arrays of one file.
  fs::remove(set.test("labels.npy"));
  write_text(set.test("labels.csv"), table);
  const data::Values visual = data::read_features(set.train("visual.npy")).values;
  std::string head = R"({"visual":{"dtype":"F32","shape":[240,20],"data_offsets":[0,19200]},)"
                     R"("y":{"dtype":"I64","shape":[240],"data_offsets":[19200,21120]}})";
  head.resize(256, ' ');
  write_text(set.folder / "gallery.safetensors",
             test::raw(std::vector<uint64_t>{head.size()}) + head + test::raw(visual) + test::raw(gallery_labels));
  CHECK(set.measured(set.sides(set.test(), set.folder / "gallery.safetensors", "audio", "visual")) == given);

  test::write_labels(set.test("labels.npy"), query_labels);
  check_refused(set.eval(sides), "labels in labels.csv and the array labels; --query-labels FILE");
  fs::remove(set.test("labels.npy"));
  fs::remove(set.test("labels.csv"));
  check_refused(set.eval(sides), "no labels beside it (labels.npy, .csv or .tsv); --query-labels FILE");
  check_refused(set.eval(sides + std::vector<std::string>{"--query-labels", set.folder / "g.npy"}),
                "g.npy: 240 rows; expected 60 as in ");
  // A label that no row of the gallery has: nothing to measure, and no fault.
  test::write_labels(set.folder / "q.npy", std::vector<int64_t>(60, 1234));
  const std::vector<std::string> foreign = sides + std::vector<std::string>{"--query-labels", set.folder / "q.npy"};
  const json nothing = set.measured(foreign);
  CHECK(nothing["map"].is_null());
  CHECK(nothing["queries"] == 0);
  CHECK(nothing["classes"].empty());
  CHECK(nothing["confidence"]["map"].is_null());
  CHECK(set.eval(foreign).err.find("no query with a label and a relevant item") != std::string::npos);
}

TEST_CASE("eval of one row, and of none") {
  const Set set;
  data::Features row(1, 12);
  std::copy_n(data::read_features(set.test("audio.npy")).row(0), 12, row.row(0));
  test::write_features(set.folder / "one/audio.npy", row);
  test::write_labels(set.folder / "one/labels.npy", std::vector<int64_t>{3});
  const std::vector<std::string> sides = set.sides(set.folder / "one", set.folder / "one", "audio", "audio");
  const json itself = set.measured(sides);
  CHECK(itself["map"] == 1);
  CHECK(itself["confidence"]["map"] == nullptr);  // a single item says nothing of others
  CHECK(itself["recall"]["10"] == 1);
  const json nothing = set.measured(sides + std::vector<std::string>{"--exclude-self"});
  CHECK(nothing["map"].is_null());
  CHECK(nothing["queries"] == 0);

  const Device device({.threads = 1});
  const data::Features none(0, 3), some(2, 3);
  const std::vector<int32_t> no_labels, labels = {0, 1}, no_groups;
  for (const auto& has_rows : {std::pair{false, false}, {false, true}, {true, false}}) {
    const bool queries = has_rows.first, gallery = has_rows.second;
    const OneWayEvaluation evaluation =
        evaluate(device.context(), {queries ? some : none, queries ? labels : no_labels, no_groups, {}},
                 {gallery ? some : none, gallery ? labels : no_labels, no_groups, {}}, {});
    CHECK(evaluation.scores.queries == 0);
    CHECK(std::isnan(evaluation.scores.map));
    CHECK(evaluation.scores.average_precision.size() == (queries ? 2 : 0));
    CHECK(evaluation.coinciding == std::array<double, 2>{queries ? 1.0 : 0.0, gallery ? 1.0 : 0.0});
  }
}

TEST_CASE("eval's intervals: the same bits on any threads, other draws by another seed, none where not wanted") {
  const Set set;
  const std::vector<std::string> data = {"--data", set.data()};
  const json measured = set.measured(data + std::vector<std::string>{"--threads", "1"});
  CHECK(set.measured(data + std::vector<std::string>{"--threads", "3"}) == measured);
  CHECK(measured["confidence"]["draws"] == 1000);
  const json other = set.measured(data + std::vector<std::string>{"--seed", "8", "--draws", "200"});
  CHECK(other["confidence"]["seed"] == 8);
  CHECK(other["confidence"]["draws"] == 200);
  CHECK(other["confidence"]["map"] != measured["confidence"]["map"]);
  CHECK(other["map"] == measured["map"]);
  CHECK_FALSE(set.measured(data + std::vector<std::string>{"--draws", "0"}).contains("confidence"));
  const Outcome table = set.eval(data + std::vector<std::string>{"--per-class"}),
                plain = set.eval(data + std::vector<std::string>{"--draws", "0"});
  CHECK(std::ranges::count(table.out, '[') == 6);
  CHECK(std::ranges::count(table.out, '\n') == 11 + 1 + 5);
  CHECK(table.out.find("class  queries audio to visual") != std::string::npos);
  CHECK(std::ranges::count(plain.out, '[') == 0);
}

TEST_CASE("eval refuses what it cannot mean") {
  const Set set;
  const std::vector<std::string> sides = set.sides(set.test(), set.train(), "audio", "visual");
  check_refused(set.eval({"--from", "audio"}), "--to");
  check_refused(set.eval({"--query", set.test(), "--from", "audio", "--to", "visual"}), "--gallery");
  check_refused(set.eval({"--query", set.test(), "--gallery", set.test()}), "--from");
  check_refused(set.eval(sides + std::vector<std::string>{"--data", set.data()}), "--data");
  check_refused(set.eval({"--data", set.data(), "--exclude-self"}), "--from");
  check_refused(set.eval({"--data", set.data(), "--from", "", "--to", ""}), "--from: expected audio or visual, got ''");
  check_refused(set.eval({"--data", set.data(), "--from", "audio", "--to", "smell"}),
                "--to: expected audio or visual, got 'smell'");
  check_refused(set.eval(sides + std::vector<std::string>{"--exclude-self"}), "expected the same rows");
  check_refused(set.eval({"--data", set.data(), "--draws", "-1"}), "--draws");
  check_refused(set.eval({"--data", set.data(), "--draws", "39"}), "--draws: expected 0 or at least 40, got 39");
  check_refused(set.eval({"--data", set.data(), "--seed", "-1"}), "--seed");
  check_refused(set.eval(set.sides(set.test("audio.npy"), set.test("audio.npy"), "audio", "visual")),
                "audio.npy: 12 columns; expected 20");
}
