// What the evidence says, against a reference that leaves every row out for real, cases whose answer is known, and the
// PyTorch prototype's numbers.
#include "trainer/evidence.h"

#include <doctest/doctest.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <random>

#include "data/dataset.h"
#include "kernels/core/error.h"
#include "tests/reference/evidence.h"
#include "tests/support/golden.h"

using namespace duet;

namespace {

using Labels = std::vector<int32_t>;

struct Pairs {
  data::Features a, v;
  Labels labels;
  int64_t classes;

  Evidence measured() const {
    const Evidence once = measure_evidence(a, v, labels, classes);
    CHECK(once == measure_evidence(a, v, labels, classes));
    for (const double value : {once.labels_read[0], once.labels_read[1], once.unread, once.pairs_generalise,
                               once.gradient_share[0], once.gradient_share[1]}) {
      CHECK(value >= 0);
      CHECK(value <= 1);
    }
    CHECK(once.unread == 1 - std::max(once.labels_read[0], once.labels_read[1]));
    CHECK(once.pairs_generalise >= 0.001);
    CHECK(std::max(once.gradient_share[0], once.gradient_share[1]) == 1);
    return once;
  }
  Pairs exchanged() const { return {v, a, labels, classes}; }
};

// Factors of its class and of its own, which both modalities show with noise of their own; every third column is 0 in
// most rows.
Pairs draw(uint64_t seed, int64_t rows, int64_t classes, double noise_a, double noise_v, double unlabelled = 0) {
  std::mt19937_64 engine(seed);
  std::normal_distribution<double> normal;
  std::uniform_real_distribution<double> uniform;
  constexpr int64_t kFactors = 6;
  const auto grid = [&](int64_t n, int64_t d) {
    std::vector<double> out(static_cast<size_t>(n * d));
    for (double& value : out) value = normal(engine);
    return out;
  };
  const auto centres = grid(classes, kFactors), map_a = grid(kFactors, 9), map_v = grid(kFactors, 14);
  Pairs out{data::Features(rows, 9), data::Features(rows, 14), {}, classes};
  for (int64_t i = 0; i < rows; ++i) {
    const auto c = static_cast<int64_t>(uniform(engine) * static_cast<double>(classes));
    out.labels.push_back(uniform(engine) < unlabelled ? -1 : static_cast<int32_t>(c));
    std::array<double, kFactors> factors;
    for (int64_t k = 0; k < kFactors; ++k)
      factors[static_cast<size_t>(k)] = centres[static_cast<size_t>(c * kFactors + k)] + normal(engine);
    const auto show = [&](data::Features& side, const std::vector<double>& map, double noise) {
      for (int64_t j = 0; j < side.columns; ++j) {
        double value = noise * normal(engine);
        for (int64_t k = 0; k < kFactors; ++k)
          value += factors[static_cast<size_t>(k)] * map[static_cast<size_t>(k * side.columns + j)];
        side.row(i)[j] = j % 3 == 2 && uniform(engine) < 0.7 ? 0.0f : static_cast<float>(value);
      }
    };
    show(out.a, map_a, noise_a);
    show(out.v, map_v, noise_v);
  }
  return out;
}

data::Features features(int64_t rows, int64_t columns, const std::vector<float>& values) {
  data::Features out(rows, columns);
  out.values = values;
  return out;
}
// Row i is 1 in column of[i].
data::Features axes(const std::vector<int64_t>& of, int64_t columns) {
  data::Features out(static_cast<int64_t>(of.size()), columns);
  for (size_t i = 0; i < of.size(); ++i) out.row(static_cast<int64_t>(i))[of[i]] = 1;
  return out;
}
data::Features constant(int64_t rows, float value) {
  return features(rows, 3, std::vector<float>(static_cast<size_t>(3 * rows), value));
}

reference::EvidenceSide side(const data::Features& x) { return {{x.values.begin(), x.values.end()}, x.columns}; }

// Shares are halves over whole numbers, so labels_read and pairs_generalise differ by the rounding of a mean of up to
// 256. A power of up to 1998 multiplies the rounding of the ratio, 1e-15 of it, and that of what is subtracted for its
// denominator, 2e-16 of at least 0.05.
void check_equal(const Evidence& actual, const reference::EvidenceResult& expected) {
  for (const size_t k : {0, 1}) {
    CHECK(std::abs(actual.labels_read[k] - expected.labels_read[k]) <= 1e-12);
    CHECK(std::abs(actual.gradient_share[k] - expected.gradient_share[k]) <= 2e-11);
  }
  CHECK(std::abs(actual.unread - expected.unread) <= 1e-12);
  CHECK(std::abs(actual.pairs_generalise - expected.pairs_generalise) <= 1e-12);
}
Evidence check_against_reference(const Pairs& pairs,
                                 decltype(&reference::predict_left_out) predict = reference::predict_left_out) {
  CAPTURE(pairs.labels.size());
  const Evidence measured = pairs.measured();
  check_equal(measured, reference::evidence(side(pairs.a), side(pairs.v), pairs.labels, pairs.classes, predict));
  return measured;
}

const std::array<std::string, 2> kNames = {"audio", "visual"};

}  // namespace

TEST_CASE("the evidence of few rows is that of leaving each out") {
  int partial = 0, preferred = 0;
  for (uint64_t seed = 0; seed < 12; ++seed) {
    CAPTURE(seed);
    for (const int64_t rows : {2, 3, 4, 7, 40}) {
      const Pairs pairs = draw(seed, rows, 2 + static_cast<int64_t>(seed % 4), 0.5, 1 + static_cast<double>(seed),
                               seed % 3 == 0 ? 0.5 : 0);
      const Evidence found = check_against_reference(pairs);
      const Evidence mirrored = pairs.exchanged().measured();
      for (const size_t k : {0, 1}) {
        CHECK(mirrored.labels_read[k] == found.labels_read[1 - k]);
        CHECK(std::abs(mirrored.gradient_share[k] - found.gradient_share[1 - k]) <= 2e-11);
      }
      CHECK(mirrored.pairs_generalise == found.pairs_generalise);
      const double least = std::min(found.gradient_share[0], found.gradient_share[1]);
      partial += least > 0.01 && least < 0.99;
      preferred += least < 1;
    }
  }
  // The comparison means something only where the shares are not all 1 or 0.
  CHECK(partial >= 5);
  CHECK(preferred >= 15);
}

TEST_CASE("the evidence of rows with several labels is that of leaving each out") {
  int reads = 0;
  for (uint64_t seed = 0; seed < 8; ++seed) {
    CAPTURE(seed);
    // Sets of one class, of two, and of all, which tell nothing.
    const std::vector<std::vector<size_t>> classes = {{0}, {1}, {2}, {0, 1}, {1, 2}, {0, 1, 2}};
    data::LabelSets sets(3, std::ssize(classes));
    for (size_t set = 0; set < classes.size(); ++set)
      for (const size_t c : classes[set]) sets.put(static_cast<int64_t>(set), static_cast<int64_t>(c));
    Pairs pairs = draw(seed, 40, 3, 0.5, 1 + static_cast<double>(seed), seed % 2 ? 0.3 : 0);
    for (size_t i = 0; i < pairs.labels.size(); i += 3)
      if (pairs.labels[i] >= 0) pairs.labels[i] = i % 15 == 0 ? 5 : pairs.labels[i] == 0 ? 3 : 4;
    const auto measured = [&] { return measure_evidence(pairs.a, pairs.v, pairs.labels, 3, sets); };
    const Evidence found = measured();
    CHECK(found == measured());
    check_equal(found, reference::evidence(side(pairs.a), side(pairs.v), pairs.labels, 3, reference::predict_left_out,
                                           classes));
    reads += found.labels_read[0] > 0.2;
    // Sets of one class each are classes.
    for (int32_t& label : pairs.labels) label = std::min(label, 2);
    CHECK(measured() == pairs.measured());
    pairs.labels.assign(40, 4);
    CHECK(measured().labels_read == std::array<double, 2>{0, 0});
    pairs.labels[7] = 6;
    CHECK_THROWS_AS(measured(), Error);
  }
  CHECK(reads >= 4);
}

TEST_CASE("both ways of the reference agree") {
  for (const int64_t rows : {5, 33}) {
    const Pairs pairs = draw(3, rows, 3, 1, 2);
    const auto kernel = reference::unit_kernel(side(pairs.a), [&] {
      std::vector<int64_t> all;
      for (int64_t i = 0; i < rows; ++i) all.push_back(i);
      return all;
    }());
    const auto left_out = reference::predict_left_out(kernel, kernel),
               at_once = reference::predict_at_once(kernel, kernel);
    for (size_t i = 0; i < kernel.size(); ++i)
      for (size_t j = 0; j < kernel.size(); ++j) REQUIRE(std::abs(left_out[i][j] - at_once[i][j]) <= 1e-12);
  }
}

TEST_CASE("of more than 256 rows and of more than 256 labelled ones 256 are taken") {
  for (const int64_t rows : {255, 256, 257, 300})
    check_against_reference(draw(static_cast<uint64_t>(rows), rows, 5, 1, 4), reference::predict_at_once);
  // Rows and labelled rows are different ones.
  check_against_reference(draw(9, 530, 4, 2, 4, 0.5), reference::predict_at_once);
  // 512 rows: the even ones are taken, whatever stands in the others.
  Pairs pairs = draw(11, 512, 4, 1, 3);
  const Evidence before = pairs.measured();
  for (int64_t i = 1; i < 512; i += 2) {
    std::fill_n(pairs.a.row(i), pairs.a.columns, 7.0f);
    std::fill_n(pairs.v.row(i), pairs.v.columns, -1.0f);
    pairs.labels[static_cast<size_t>(i)] = 3;
  }
  CHECK(pairs.measured() == before);
}

TEST_CASE("without two labelled rows of two classes labels read nothing, and neither side is preferred") {
  Pairs pairs = draw(1, 30, 2, 1, 8);
  const double generality = check_against_reference(pairs).pairs_generalise;
  CHECK(generality > 0.1);
  const auto check_unread = [&](const char* what) {
    CAPTURE(what);
    const Evidence found = check_against_reference(pairs);
    CHECK(found == Evidence{{0, 0}, 1, generality, {1, 1}});
  };
  pairs.labels.assign(30, 1);
  check_unread("one class");
  pairs.classes = 1;
  pairs.labels.assign(30, 0);
  check_unread("one class in all");
  pairs.classes = 2;
  pairs.labels.assign(30, -1);
  check_unread("no label");
  pairs.labels[29] = 1;
  check_unread("one labelled row");
  pairs.labels[3] = 1;
  check_unread("two labelled rows of one class");
  pairs.labels[3] = 0;
  check_against_reference(pairs);
  pairs.classes = 0;
  pairs.labels.assign(30, -1);
  CHECK(pairs.measured() == Evidence{{0, 0}, 1, generality, {1, 1}});
  // The second class has a single row, which is none of the 256 that are taken.
  pairs = draw(2, 512, 2, 1, 3);
  pairs.labels.assign(512, 0);
  pairs.labels[1] = 1;
  CHECK(pairs.measured().unread == 1);
}

TEST_CASE("under 3 rows pairs generalise by 0.001") {
  for (const int64_t rows : {0, 1, 2}) {
    CAPTURE(rows);
    Pairs pairs = draw(4, rows, 2, 1, 1);
    for (size_t i = 0; i < pairs.labels.size(); ++i) pairs.labels[i] = static_cast<int32_t>(i);
    const Evidence found = pairs.measured();
    CHECK(found.pairs_generalise == 0.001);
    if (rows > 0) check_against_reference(pairs);
    if (rows < 2) CHECK(found == Evidence{{0, 0}, 1, 0.001, {1, 1}});
  }
  // Two labelled rows: each is predicted from the other, whose class then scores above or below that of none, 0.
  const Pairs two{features(2, 2, {1, 0, 1, 1}), features(2, 2, {1, 0, -1, 1}), {0, 1}, 2};
  CHECK(check_against_reference(two) == Evidence{{0, 1}, 0, 0.001, {1, 0}});
}

TEST_CASE("classes without a labelled row count among the others, with the score 0") {
  Pairs pairs = draw(6, 24, 3, 1, 2);
  const Evidence three = check_against_reference(pairs);
  pairs.classes = 9;
  const Evidence nine = check_against_reference(pairs);
  CHECK(three.labels_read != nine.labels_read);
  CHECK(three.pairs_generalise == nine.pairs_generalise);
  pairs.classes = 1'000'000'000;  // nothing is as large as their number
  pairs.measured();
}

TEST_CASE("ties count half") {
  // Rows that know nothing of each other: every score is 0.
  const Pairs strangers{axes({0, 1, 2, 3, 4, 5}, 6), axes({5, 4, 3, 2, 1, 0}, 6), {0, 1, 2, 0, 1, 2}, 3};
  CHECK(check_against_reference(strangers) == Evidence{{0, 0}, 1, 0.001, {1, 1}});
  // Two kinds of row, which tell their class and nothing else: of 2 m - 1 other partners m are of the other kind and m
  // - 1 are equal.
  for (const int64_t m : {2, 3, 5, 64, 128}) {
    std::vector<int64_t> kind;
    Labels labels;
    for (int64_t i = 0; i < 2 * m; ++i) kind.push_back(i % 2), labels.push_back(static_cast<int32_t>(i % 2));
    const Pairs pairs{axes(kind, 2), axes(kind, 5), labels, 2};
    CAPTURE(m);
    const Evidence found = m <= 5 ? check_against_reference(pairs) : pairs.measured();
    CHECK(found.labels_read == std::array{1.0, 1.0});
    const double n = static_cast<double>(m), share = (n + (n - 1) / 2) / (2 * n - 1);
    CHECK(found.pairs_generalise == doctest::Approx(2 * share - 1).epsilon(1e-14));
    CHECK(found.gradient_share == std::array{1.0, 1.0});
  }
}

TEST_CASE("duplicated rows are equal, however their scores are rounded") {
  for (uint64_t seed = 0; seed < 4; ++seed) {
    Pairs pairs = draw(seed, 36, 3, 1, 3);
    for (int64_t i = 0; i < 18; ++i) {
      std::copy_n(pairs.a.row(i), pairs.a.columns, pairs.a.row(i + 18));
      std::copy_n(pairs.v.row(i), pairs.v.columns, pairs.v.row(i + 18));
    }
    check_against_reference(pairs);
    // Multiples have the same unit row but for rounding.
    for (int64_t i = 0; i < 18; ++i)
      for (int64_t k = 0; k < pairs.v.columns; ++k) pairs.v.row(i + 18)[k] *= 3;
    check_against_reference(pairs);
  }
  // Pairs of which every partner occurs twice never know which of the two is theirs: half a place of 17 at the best.
  Pairs pairs = draw(5, 18, 3, 0.01, 0.01);
  for (int64_t i = 0; i < 9; ++i) {
    std::copy_n(pairs.a.row(i), pairs.a.columns, pairs.a.row(i + 9));
    std::copy_n(pairs.v.row(i), pairs.v.columns, pairs.v.row(i + 9));
  }
  CHECK(check_against_reference(pairs).pairs_generalise <= 16.0 / 17);
}

TEST_CASE("a constant modality is not read, and learns from the other") {
  for (const float value : {0.0f, 1.0f, -2.5f, 1e-20f}) {
    CAPTURE(value);
    Labels labels;
    std::vector<int64_t> kind;
    for (int64_t i = 0; i < 20; ++i) labels.push_back(static_cast<int32_t>(i % 2)), kind.push_back(i % 2);
    const Pairs pairs{constant(20, value), axes(kind, 2), labels, 2};
    CHECK(check_against_reference(pairs) == Evidence{{0, 1}, 0, 0.001, {1, 0}});
    CHECK(check_against_reference(pairs.exchanged()) == Evidence{{1, 0}, 0, 0.001, {0, 1}});
    CHECK(check_against_reference({constant(20, value), constant(20, value), labels, 2}) ==
          Evidence{{0, 0}, 1, 0.001, {1, 1}});
    const Pairs drawn = draw(8, 31, 3, 1, 1);
    const Pairs half{constant(31, value), drawn.v, drawn.labels, 3};
    CHECK(check_against_reference(half).pairs_generalise == 0.001);
  }
  // 300 equal rows: K + 0.3 I is at its worst condition.
  const Pairs drawn = draw(12, 300, 3, 1, 1);
  CHECK(check_against_reference({constant(300, 0.7f), constant(300, 4), drawn.labels, 3}, reference::predict_at_once)
            .pairs_generalise == 0.001);
}

TEST_CASE("the size of the values does not matter") {
  Pairs pairs = draw(13, 40, 3, 1, 2);
  const Evidence plain = pairs.measured();
  for (const float power : {0x1p100f, 0x1p-30f}) {
    Pairs scaled = pairs;
    for (float& value : scaled.a.values) value *= power;
    CHECK(scaled.measured() == plain);
  }
  // Wider than a block of columns; the columns added are 0.
  data::Features wide(40, 1000);
  for (int64_t i = 0; i < 40; ++i) std::copy_n(pairs.a.row(i), pairs.a.columns, wide.row(i) + 500);
  pairs.a = wide;
  check_equal(plain, reference::evidence(side(wide), side(pairs.v), pairs.labels, 3));
  CHECK(pairs.measured().labels_read == plain.labels_read);
}

TEST_CASE("what is no pair or no class is refused") {
  Pairs pairs = draw(1, 6, 2, 1, 1);
  const auto refused = [&](const char* message) { CHECK_THROWS_WITH_AS(pairs.measured(), message, Error); };
  pairs.labels[4] = 2;
  refused("evidence: label 4: expected -1 to 1, got 2");
  pairs.labels[4] = -2;
  refused("evidence: label 4: expected -1 to 1, got -2");
  pairs.labels.pop_back();
  refused("evidence: expected as many rows as labels, 5, got 6 and 6");
}

TEST_CASE("a line and an object say what was found") {
  const Evidence one_way{{0.2139, 0.8559}, 0.1441, 0.1621, {1, 6e-6}};
  CHECK(evidence_note(one_way, kNames) ==
        "labels read audio 0.21, visual 0.86; pairs generalise 0.16: audio learns from visual");
  const Evidence partial{{0.9, 0.7}, 0.1, 0.5, {0.431, 1}};
  CHECK(evidence_note(partial, kNames) ==
        "labels read audio 0.90, visual 0.70; pairs generalise 0.50: visual learns from audio, audio by 0.43 from "
        "visual");
  const std::string unknown = "labels read audio 0.00, visual 0.00; pairs generalise 0.00: both learn from each other";
  CHECK(evidence_note(Evidence{}, kNames) == unknown);
  CHECK(evidence_note({{0, 0}, 1, 0.001, {0.96, 1}}, kNames) == unknown);
  CHECK(evidence_facts(partial, kNames).dump() ==
        R"({"labels_read":{"audio":0.9,"visual":0.7},"unread":0.1,"pairs_generalise":0.5,)"
        R"("gradient_share":{"audio":0.431,"visual":1.0}})");
}

// evidence() of the PyTorch prototype, run line by line in NumPy (float64) on inputs scaled as METHOD.md 6 says; the
// rows 0, 10, 20, ... keep their labels. An input may be a float32 away from ours: that may exchange partners whose
// scores are closer, 1 / (256 x 255) of a share each.
TEST_CASE("the prototype's numbers on avdigits and wikipedia") {
  struct Known {
    const char* name;
    std::vector<std::string> modalities;
    data::Scaling scaling;
    Evidence evidence;
  };
  const Known sets[] = {
      {"avdigits",
       {"audio", "visual"},
       data::Scaling::zscore,
       {{0.9123263888888888, 0.8480902777777779}, 0.08767361111111116, 0.36211703431372566, {0.8670056626548542, 1}}},
      {"wikipedia",
       {"image", "text"},
       data::Scaling::norm,
       {{0.3710499490316006, 0.8786952089704383}, 0.12130479102956171, 0.16214767156862742, {1, 0.000585932682790144}}},
  };
  for (const Known& set : sets) {
    CAPTURE(set.name);
    const std::filesystem::path folder = test::shared_dir() / "data" / set.name;
    if (!std::filesystem::exists(folder)) {
      test::report_absent(folder);
      continue;
    }
    const data::Dataset dataset =
        data::load_dataset(data::FolderFiles(folder), set.modalities, {{set.scaling, set.scaling}});
    Labels labels = dataset.train.labels;
    for (size_t i = 0; i < labels.size(); ++i)
      if (i % 10 != 0) labels[i] = -1;
    const Evidence found =
        measure_evidence(dataset.train.features[0], dataset.train.features[1], labels, dataset.classes);
    CHECK(std::abs(found.pairs_generalise - set.evidence.pairs_generalise) <= 1e-4);
    CHECK(std::abs(found.unread - set.evidence.unread) <= 1e-4);
    for (const size_t k : {0, 1}) {
      CHECK(std::abs(found.labels_read[k] - set.evidence.labels_read[k]) <= 1e-4);
      CHECK(std::abs(found.gradient_share[k] - set.evidence.gradient_share[k]) <= 1e-3);
    }
  }
}
