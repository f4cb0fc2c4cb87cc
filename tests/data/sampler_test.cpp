#include "data/sampler.h"

#include <algorithm>
#include <map>
#include <set>

#include "tests/data/npy_files.h"

using namespace duet::data;
using namespace duet::test;

namespace {

std::vector<int64_t> copy(std::span<const int64_t> rows) { return {rows.begin(), rows.end()}; }

std::vector<int64_t> epoch_of(BatchSampler& sampler, uint32_t epoch) {
  sampler.start_epoch(epoch);
  std::vector<int64_t> all;
  for (int64_t b = 0; b < sampler.batches(); ++b)
    for (const int64_t row : sampler.batch(b)) all.push_back(row);
  return all;
}

}  // namespace

TEST_CASE("shuffled batches give every row once, by the order of the words") {
  for (const int64_t rows : {8, 127, 128, 129, 135, 136, 1000}) {
    CAPTURE(rows);
    ShuffledBatches sampler(rows, 128, 7);
    const int64_t left_out = rows > 128 && rows % 128 < 8 ? rows % 128 : 0;
    for (const uint32_t epoch : {0u, 1u, 39u}) {
      // The definition: rows sorted by (word, row).
      std::vector<std::pair<uint32_t, int64_t>> keys;
      for (int64_t i = 0; i < rows; ++i)
        keys.push_back({duet::random_word(7, duet::kStreamShuffle, epoch, static_cast<uint64_t>(i)), i});
      std::sort(keys.begin(), keys.end());
      std::vector<int64_t> expected;
      for (const auto& key : keys) expected.push_back(key.second);
      expected.resize(static_cast<size_t>(rows - left_out));
      CHECK(epoch_of(sampler, epoch) == expected);
      CHECK(std::set<int64_t>(expected.begin(), expected.end()).size() == expected.size());
    }
    for (int64_t b = 0; b + 1 < sampler.batches(); ++b) CHECK(sampler.batch(b).size() == 128);
    CHECK(sampler.batch(sampler.batches() - 1).size() >= 8);
  }
}

TEST_CASE("shuffled batches depend on seed and epoch alone") {
  ShuffledBatches sampler(500, 64, 1), again(500, 64, 1), other(500, 64, 2);
  const std::vector<int64_t> third = epoch_of(sampler, 3), fourth = epoch_of(sampler, 4);
  CHECK(third != fourth);
  CHECK(epoch_of(again, 3) == third);
  CHECK(epoch_of(sampler, 3) == third);
  CHECK(epoch_of(other, 3) != third);
  again.start_epoch(4);
  CHECK(copy(again.batch(2)) == std::vector<int64_t>(fourth.begin() + 128, fourth.begin() + 192));
  const int64_t* const place = again.batch(0).data();
  again.start_epoch(5);
  CHECK(again.batch(0).data() == place);  // no new memory an epoch
}

TEST_CASE("shuffled batches: sizes and misuse") {
  CHECK(ShuffledBatches(10, 4, 0).batches() == 2);
  CHECK(ShuffledBatches(10, 4, 0, 1).batches() == 3);
  CHECK(ShuffledBatches(3, 3, 0).batches() == 1);
  check_refused([] { ShuffledBatches(7, 128, 0); }, DUET_STATUS_INVALID_ARGUMENT,
                {"7 rows make no batch; expected at least 8"});
  check_refused([] { ShuffledBatches(0, 128, 0); }, DUET_STATUS_INVALID_ARGUMENT, {"0 rows make no batch"});
  check_refused([] { ShuffledBatches(100, 0, 0); }, DUET_STATUS_INVALID_ARGUMENT,
                {"batch: expected at least 1, got 0"});
  check_refused([] { ShuffledBatches(100, 50, 0).batch(2); }, DUET_STATUS_INVALID_ARGUMENT,
                {"batch: expected 0 to 1, got 2"});
}

TEST_CASE("balanced batches have P classes x K samples of labelled rows") {
  std::vector<int32_t> labels;
  for (int i = 0; i < 300; ++i) labels.push_back(i % 7 == 0 ? -1 : i % 6 * 10);
  labels.push_back(99);  // a class of one sample
  BalancedBatches sampler(labels, 4, 8, 5);
  CHECK(sampler.batch_rows() == 32);
  CHECK(sampler.batches() == (301 + 31) / 32);
  std::set<int32_t> seen;
  for (const uint32_t epoch : {0u, 1u, 2u}) {
    sampler.start_epoch(epoch);
    for (int64_t b = 0; b < sampler.batches(); ++b) {
      const auto batch = sampler.batch(b);
      REQUIRE(batch.size() == 32);
      std::map<int32_t, std::vector<int64_t>> by_class;
      for (const int64_t row : batch) by_class[labels[static_cast<size_t>(row)]].push_back(row);
      CHECK(by_class.size() == 4);
      for (const auto& [label, rows] : by_class) {
        CHECK(label >= 0);
        CHECK(rows.size() == 8);
        CHECK(std::set<int64_t>(rows.begin(), rows.end()).size() == (label == 99 ? 1 : 8));
        seen.insert(label);
      }
    }
  }
  CHECK(seen.size() == 7);
}

TEST_CASE("balanced batches depend on seed, epoch and batch alone") {
  std::vector<int32_t> labels;
  for (int i = 0; i < 100; ++i) labels.push_back(i % 5);
  BalancedBatches forward(labels, 3, 6, 1), backward(labels, 3, 6, 1), other(labels, 3, 6, 2);
  for (const uint32_t epoch : {0u, 3u}) {
    forward.start_epoch(epoch), backward.start_epoch(epoch), other.start_epoch(epoch);
    std::vector<std::vector<int64_t>> batches;
    for (int64_t b = 0; b < forward.batches(); ++b) batches.push_back(copy(forward.batch(b)));
    for (int64_t b = forward.batches(); b-- > 0;) CHECK(copy(backward.batch(b)) == batches[static_cast<size_t>(b)]);
    CHECK(batches[0] != batches[1]);
    CHECK(copy(other.batch(0)) != batches[0]);
  }
}

TEST_CASE("balanced batches: a class smaller than K gives all it has before one repeats; misuse") {
  const std::vector<int32_t> labels = {0, 0, 0, 1, 1, 1, 1, -1};
  BalancedBatches sampler(labels, 2, 7, 3, 5);
  CHECK(sampler.batches() == 5);
  for (int64_t b = 0; b < 5; ++b) {
    std::map<int64_t, int> count;
    for (const int64_t row : sampler.batch(b)) ++count[row];
    CHECK(count.size() == 7);
    for (const auto& [row, times] : count) CHECK((row < 3 ? times == 2 || times == 3 : times == 1 || times == 2));
  }
  check_refused([&] { BalancedBatches(labels, 3, 2, 0); }, DUET_STATUS_INVALID_ARGUMENT,
                {"at most the 2 classes with a label, got 3"});
  check_refused([&] { BalancedBatches(labels, 0, 2, 0); }, DUET_STATUS_INVALID_ARGUMENT, {"at least 1, got 0"});
  check_refused([&] { BalancedBatches(labels, 2, 0, 0); }, DUET_STATUS_INVALID_ARGUMENT, {"at least 1, got 0"});
  check_refused([&] { BalancedBatches({}, 1, 1, 0); }, DUET_STATUS_INVALID_ARGUMENT, {"the 0 classes"});
}
