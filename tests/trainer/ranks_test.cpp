// Training on several ranks: the bits of one process, whatever the method, its options, and the number of ranks.
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <functional>
#include <nlohmann/json.hpp>
#include <numeric>
#include <string>
#include <vector>

#include "runtime/ranks/thread_ranks.h"
#include "tests/trainer/program.h"
#include "trainer/method.h"
#include "trainer/preparation.h"
#include "trainer/rank_agreement.h"
#include "trainer/usage_error.h"

using namespace duet;
using namespace duet::testing;

namespace {

// The rows of a training's batches.
using Batches = std::vector<int64_t>;

// 44 steps: whole tiles of 32 rows, one for each rank and several nodes a rank; a part of a tile, fewer tiles than
// ranks, one row of a tile.
Batches many_batches() {
  constexpr std::array<int64_t, 6> kRows = {64, 200, 8, 33, 128, 17};
  Batches batches;
  for (size_t k = 0; k < 44; ++k) batches.push_back(kRows[k % kRows.size()]);
  return batches;
}

// What a training has come to, as numbers whose bits are compared.
struct Trained {
  std::vector<float> parameters, frequencies;
  std::vector<double> losses;

  // A loss was above 0, so a step changed something.
  bool learned() const { return std::accumulate(losses.begin(), losses.end(), 0.0) > 0; }
  bool operator==(const Trained& other) const {
    return same(parameters, other.parameters) && same(frequencies, other.frequencies) && same(losses, other.losses);
  }

 private:
  template <class T>
  static bool same(const std::vector<T>& a, const std::vector<T>& b) {
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0;
  }
};

// ranks: null, this process alone.
Trained train(const Config& config, const Batches& batches, Ranks* ranks) {
  // Ranks with different numbers of threads.
  Device device({.threads = ranks ? 1 + ranks->rank() % 2 : 1});
  const Preparation preparation = prepare(config);
  Model model(preparation.description, device.context());
  TrainingStep step(device, model, preparation.dataset.train, preparation.labels,
                    preparation.evidence.value_or(Evidence{}), std::ssize(batches), std::ranges::max(batches), ranks);
  Trained outcome;
  std::vector<int64_t> rows;
  for (int64_t k = 0; k < std::ssize(batches); ++k) {
    step.start_epoch(k / 4);
    rows.resize(static_cast<size_t>(batches[static_cast<size_t>(k)]));
    // Another order each time.
    for (size_t i = 0; i < rows.size(); ++i)
      rows[i] = (static_cast<int64_t>(i) * 7 + k * 13) % preparation.dataset.train.rows();
    step.run(rows);
    outcome.losses.push_back(step.losses().total);
  }
  step.require_finite();
  for (const ParameterKind kind :
       {ParameterKind::value, ParameterKind::first_moment, ParameterKind::second_moment, ParameterKind::teacher}) {
    const std::vector<float> values = model.parameters().read(kind);
    outcome.parameters.insert(outcome.parameters.end(), values.begin(), values.end());
  }
  outcome.frequencies = step.class_frequencies();
  return outcome;
}

struct Case {
  const char* name;
  std::function<void(Config&)> change;
};

const Case kCases[] = {
    {"label", [](Config& config) { config.method = "label"; }},
    {"triplet, all", [](Config& config) { config.method = "triplet"; }},
    {"triplet, hard", [](Config& config) { config.method = "triplet", config.mining = "hard"; }},
    {"triplet, semihard", [](Config& config) { config.method = "triplet", config.mining = "semihard"; }},
    {"triplet, distance_weighted",
     [](Config& config) { config.method = "triplet", config.mining = "distance_weighted", config.mining_slots = 2; }},
    {"contrastive, infonce", [](Config& config) { config.method = "contrastive"; }},
    {"contrastive, multi_positive",
     [](Config& config) { config.method = "contrastive", config.pair_loss = "multi_positive"; }},
    {"contrastive, sigmoid, learned",
     [](Config& config) {
       config.method = "contrastive", config.pair_loss = "sigmoid", config.learn_temperature = true;
     }},
    {"contrastive, decoupled", [](Config& config) { config.method = "contrastive", config.pair_loss = "decoupled"; }},
    {"contrastive, circle", [](Config& config) { config.method = "contrastive", config.pair_loss = "circle"; }},
    {"contrastive, ntxent", [](Config& config) { config.method = "contrastive", config.pair_loss = "ntxent"; }},
    {"psd", [](Config&) {}},
    {"psd, layer norm, gelu, decorrelation, clipped",
     [](Config& config) {
       config.layer_norm = true, config.activation = "gelu", config.decorrelation_weight = 0.25;
       config.gradient_clip = 0.5, config.learn_temperature = true;
     }},
    {"psd, no hidden layer, sgd", [](Config& config) { config.hidden_units = {}, config.optimizer = "sgd"; }},
};

}  // namespace

TEST_CASE("on 1 to 4 ranks training has the bits of one process") {
  const TemporaryFolder folder;
  write_small_set(folder / "data");
  for (const Case& each : kCases) {
    INFO(std::string(each.name));
    Config config;
    config.data = folder / "data";
    config.hidden_units = {40, 24};
    config.embedding_dim = 8;
    config.labels = 0.5;
    config.epochs = 11;
    each.change(config);
    const Trained alone = train(config, many_batches(), nullptr);
    CHECK(alone.learned());
    for (const int size : {1, 2, 3, 4}) {
      std::vector<Trained> outcomes(static_cast<size_t>(size));
      run_thread_ranks(size, [&](Ranks& ranks) {
        outcomes[static_cast<size_t>(ranks.rank())] = train(config, many_batches(), &ranks);
      });
      for (const Trained& outcome : outcomes) {
        INFO(size, " ranks");
        CHECK(outcome == alone);
      }
    }
  }
}

TEST_CASE("rows of one item are positives of each other on whatever ranks they are") {
  const TemporaryFolder folder;
  write_small_set(folder / "data");
  std::vector<int32_t> groups;
  for (int32_t i = 0; i < 240; ++i) groups.push_back(i % 5 == 0 ? -1 : i / 3);
  test::write_labels(folder / "data" / "train/groups.npy", groups);
  for (const char* const method : {"psd", "triplet", "contrastive"})
    for (const char* const pair_loss : {"infonce", "multi_positive", "sigmoid"}) {
      INFO(std::string(method), " ", std::string(pair_loss));
      Config config;
      config.data = folder / "data";
      config.hidden_units = {16};
      config.embedding_dim = 8;
      config.labels = 0.5;
      config.epochs = 11;
      config.method = method, config.pair_loss = pair_loss;
      const Batches batches = {200, 128, 65};
      const Trained alone = train(config, batches, nullptr);
      CHECK(alone.learned());
      std::vector<Trained> outcomes(3);
      run_thread_ranks(
          3, [&](Ranks& ranks) { outcomes[static_cast<size_t>(ranks.rank())] = train(config, batches, &ranks); });
      for (const Trained& outcome : outcomes) CHECK(outcome == alone);
    }
}

TEST_CASE("a batch of more rows than a block of a sweep has on 2 and 3 ranks the bits of one process") {
  const TemporaryFolder folder;
  write_small_set(folder / "data");
  const Batches batches = {2100, 2300};
  for (const double temperature : {0.1, 0.02}) {  // of scores with a bound and without
    Config config;
    config.data = folder / "data";
    config.hidden_units = {};
    config.embedding_dim = 4;
    config.labels = 0.5;
    config.epochs = 11;
    config.temperature = temperature;
    const Trained alone = train(config, batches, nullptr);
    CHECK(alone.learned());
    for (const int size : {2, 3}) {
      std::vector<Trained> outcomes(static_cast<size_t>(size));
      run_thread_ranks(
          size, [&](Ranks& ranks) { outcomes[static_cast<size_t>(ranks.rank())] = train(config, batches, &ranks); });
      for (const Trained& outcome : outcomes) CHECK(outcome == alone);
    }
  }
}

TEST_CASE("what one rank finds wrong ends every rank, with the rank's number") {
  std::vector<std::string> said(3);
  run_thread_ranks(3, [&](Ranks& ranks) {
    try {
      together(&ranks, [&] { usage_require(ranks.rank() == 0, "file: not there"); });
    } catch (const UsageError& error) {
      said[static_cast<size_t>(ranks.rank())] = error.what();
    }
  });
  for (const std::string& words : said) CHECK(words == "rank 1: file: not there");
  run_thread_ranks(3, [&](Ranks& ranks) {
    try {
      together(&ranks, [&] { throw std::runtime_error("disk: broken"); });
    } catch (const std::runtime_error& error) {
      said[static_cast<size_t>(ranks.rank())] = error.what();
    }
  });
  for (const std::string& words : said) CHECK(words == "disk: broken");
  int64_t done = 0;
  together(nullptr, [&] { ++done; });
  CHECK(done == 1);
}

TEST_CASE("ranks that are about to train another thing are named") {
  const auto said_of = [](const std::function<nlohmann::ordered_json(int)>& facts) {
    std::vector<std::string> said(3, "nothing");
    run_thread_ranks(3, [&](Ranks& ranks) {
      try {
        require_alike(ranks, facts(ranks.rank()));
      } catch (const UsageError& error) {
        said[static_cast<size_t>(ranks.rank())] = error.what();
      }
    });
    CHECK(said[1] == said[0]);
    CHECK(said[2] == said[0]);
    return said[0];
  };
  CHECK(said_of([](int) { return nlohmann::ordered_json{{"seed", 1}}; }) == "nothing");
  CHECK(said_of([](int rank) {
          return nlohmann::ordered_json{{"seed", 1}, {"batch_size", rank == 2 ? 64 : 128}};
        }) == "rank 2: batch_size: 64, and 128 on rank 0: ranks train one model");
  CHECK(said_of([](int rank) {
          nlohmann::ordered_json facts = {{"data: train audio", "0a"}};
          if (rank == 1) facts["data: val audio"] = "0b";
          return facts;
        }) == "rank 1: data: val audio: \"0b\", and \"none\" on rank 0: ranks train one model");
}
