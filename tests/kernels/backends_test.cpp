// Every operation on random inputs: the CPU backend against the emulated CUDA backend in one process, and both against
// the double reference. A case is fixed by its operation and seed number. DUET_BACKENDS="operation:seed ..." repeats
// cases; DUET_BACKENDS_SECONDS or DUET_BACKENDS_CASES runs cases of fresh seeds for so long, or so many;
// DUET_BACKENDS_OPERATION keeps to one operation. `./dev backends` sets them.
#include <doctest/doctest.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <map>
#include <sstream>

#include "kernels/simt/simt.h"
#include "tests/backends/operations.h"

namespace duet::test::backends {

const std::vector<Operation>& operations() {
  static const std::vector<Operation> all{{"linear", linear},
                                          {"head", head},
                                          {"activation", activation},
                                          {"dropout", dropout},
                                          {"unit_rows", unit_rows},
                                          {"layer_norm", layer_norm},
                                          {"decorrelation", decorrelation},
                                          {"cross_entropy", cross_entropy},
                                          {"gather", gather},
                                          {"weighted_mean", weighted_mean},
                                          {"weighted_sum", weighted_sum},
                                          {"terms", terms},
                                          {"random", random_draw},
                                          {"supervision", supervision},
                                          {"adamw", adamw},
                                          {"sgd", sgd},
                                          {"distance", distance},
                                          {"mining_hard", mining_hard},
                                          {"mining_semihard", mining_semihard},
                                          {"mining_distance_weighted", mining_distance_weighted},
                                          {"triplet", triplet},
                                          {"alignment", alignment},
                                          {"alignment_probabilities", alignment_probabilities},
                                          {"contrastive", contrastive},
                                          {"contrastive_relation", contrastive_relation},
                                          {"distillation", distillation},
                                          {"retrieval", retrieval},
                                          {"retrieval_top_k", retrieval_top_k}};
  return all;
}

}  // namespace duet::test::backends

using namespace duet::test::backends;

namespace {

const char* given(const char* variable) {
  const char* value = std::getenv(variable);
  return value && *value ? value : nullptr;
}

using Clock = std::chrono::steady_clock;
double since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

class Runs {
 public:
  Runs() { duet::simt::set_schedule({duet::simt::Order::forward, 1}); }

  void run(const Operation& operation, uint64_t seed) {
    const std::string command = "./dev backends " + std::string(operation.name) + ':' + std::to_string(seed);
    INFO(command);  // for what a case checks on its way: guard bands
    const auto start = Clock::now();
    const std::string difference = run_case(operation, seed);
    Count& count = counts_[operation.name];
    count.cases += 1;
    count.seconds += since(start);
    if (difference.empty()) return;
    if (count.differences++ < kMostPrinted) std::printf("%s (%s)\n", command.c_str(), difference.c_str());
    std::fflush(stdout);
  }
  // The same seeds of every operation, or of the one asked for.
  void run_all(uint64_t seed) {
    const char* only = given("DUET_BACKENDS_OPERATION");
    for (const Operation& operation : operations())
      if (!only || operation.name == std::string(only)) run(operation, seed);
  }
  int64_t cases() const { return sum(&Count::cases); }
  void finish(bool table) const {
    double seconds = 0;
    for (const auto& [name, count] : counts_) {
      seconds += count.seconds;
      if (table)
        std::printf("%-26s %7lld cases %9.1f s %5lld differ\n", name.c_str(), count.cases, count.seconds,
                    count.differences);
    }
    std::printf("%lld cases in %.1f s, %lld differ\n", static_cast<long long>(cases()), seconds,
                static_cast<long long>(sum(&Count::differences)));
    CHECK(cases() > 0);
    CHECK(sum(&Count::differences) == 0);
  }

 private:
  static constexpr long long kMostPrinted = 20;  // of an operation
  struct Count {
    long long cases = 0, differences = 0;
    double seconds = 0;
  };
  int64_t sum(long long Count::*member) const {
    int64_t total = 0;
    for (const auto& [name, count] : counts_) total += count.*member;
    return total;
  }
  std::map<std::string, Count> counts_;
};

constexpr uint64_t kFixedSeeds = 40, kFreshSeeds = 8;  // of each of the 28 operations: 1,120 and 224 cases

void run_fixed(uint64_t first) {
  Runs runs;
  for (uint64_t seed = first; seed <= kFixedSeeds; seed += 2) runs.run_all(seed);
  runs.finish(false);
}

// Beyond the fixed ones, and no two within a second.
uint64_t fresh_seed() {
  const uint64_t seed = static_cast<uint64_t>(std::time(nullptr)) * 1000;
  std::printf("fresh seeds from %llu\n", static_cast<unsigned long long>(seed));
  return seed;
}

}  // namespace

// In two halves, for two cores.
TEST_CASE("backends agree on a fixed list of cases, odd seeds") { run_fixed(1); }
TEST_CASE("backends agree on a fixed list of cases, even seeds") { run_fixed(2); }

TEST_CASE("backends agree on fresh cases") {
  Runs runs;
  const uint64_t first = fresh_seed();
  for (uint64_t k = 0; k < kFreshSeeds; ++k) runs.run_all(first + k);
  runs.finish(false);
}

TEST_CASE("cases given by name" * doctest::skip(given("DUET_BACKENDS") == nullptr)) {
  std::istringstream list(given("DUET_BACKENDS"));
  Runs runs;
  for (std::string word; list >> word;) {
    const size_t colon = word.find(':');
    REQUIRE_MESSAGE(colon != std::string::npos, word << " is no operation:seed");
    for (const Operation& operation : operations())
      if (operation.name == word.substr(0, colon)) runs.run(operation, std::stoull(word.substr(colon + 1)));
  }
  runs.finish(true);
}

TEST_CASE("as many cases as are asked for" *
          doctest::skip(given("DUET_BACKENDS_SECONDS") == nullptr && given("DUET_BACKENDS_CASES") == nullptr)) {
  const char *seconds = given("DUET_BACKENDS_SECONDS"), *cases = given("DUET_BACKENDS_CASES"),
             *first = given("DUET_BACKENDS_SEED");
  Runs runs;
  const auto start = Clock::now();
  for (uint64_t seed = first ? std::stoull(first) : fresh_seed();; ++seed) {
    if (seconds && since(start) >= std::stod(seconds)) break;
    if (cases && runs.cases() >= std::stoll(cases)) break;
    runs.run_all(seed);
  }
  runs.finish(true);
}
