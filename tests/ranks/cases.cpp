#include "tests/ranks/cases.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <functional>
#include <limits>
#include <stdexcept>
#include <utility>

#include "kernels/core/error.h"
#include "tests/ranks/expect.h"
#include "tests/ranks/tree_sum.h"

namespace duet::test {

namespace {

// Bytes of the large cases: 8 MB and a bit; less where every access is looked at.
#if defined(DUET_TEST_UNDER_ASAN) || defined(DUET_TEST_UNDER_TSAN)
constexpr size_t kLarge = 80'003;
#else
constexpr size_t kLarge = 8'000'003;
#endif

// Of the results of a case, FNV-1a; every NaN counts as the same.
class Checksum {
 public:
  void add(std::span<const std::byte> bytes) {
    for (const std::byte byte : bytes) value_ = (value_ ^ static_cast<uint64_t>(byte)) * 0x100000001B3;
  }
  void add(std::span<const float> values) {
    for (const float value : values) {
      const uint32_t word = std::isnan(value) ? 0x7FC00000 : std::bit_cast<uint32_t>(value);
      add(std::as_bytes(std::span(&word, 1)));
    }
  }
  void add(std::span<const int64_t> values) { add(std::as_bytes(values)); }
  uint64_t value() const { return value_; }

 private:
  uint64_t value_ = 0xCBF29CE484222325;
};

std::byte pattern(int rank, size_t i) { return static_cast<std::byte>(31 * rank + static_cast<int>(i % 251)); }

void check_gathered(Ranks& ranks, const std::function<size_t(int)>& size_of, const std::string& what) {
  std::vector<std::byte> mine(size_of(ranks.rank()));
  for (size_t i = 0; i < mine.size(); ++i) mine[i] = pattern(ranks.rank(), i);
  const Gathered gathered = ranks.all_gather(mine);
  expect(gathered.offsets.size() == static_cast<size_t>(ranks.size()) + 1, what + ": another number of offsets");
  std::vector<std::byte> expected;
  for (int rank = 0; rank < ranks.size(); ++rank) {
    expect(gathered.of(rank).size() == size_of(rank), what + ": another size");
    for (size_t i = 0; i < size_of(rank); ++i) expected.push_back(pattern(rank, i));
  }
  expect(gathered.bytes == expected, what + ": other bytes");

  std::vector<std::byte> all(expected.size());
  ranks.all_gather(mine, all);
  expect(all == expected, what + ": other bytes in memory of the caller's");
  std::fill(all.begin(), all.end(), std::byte{0xEE});
  const auto place = std::span(all).subspan(gathered.offsets[static_cast<size_t>(ranks.rank())], mine.size());
  std::copy(mine.begin(), mine.end(), place.begin());
  ranks.all_gather(place, all);
  expect(all == expected, what + ": other bytes in place");
}

void gather_case(Ranks& ranks, Checksum& checksum) {
  check_gathered(
      ranks, [](int) { return size_t{0}; }, "0 bytes");
  check_gathered(
      ranks, [](int) { return size_t{1}; }, "1 byte");
  check_gathered(
      ranks, [](int rank) { return static_cast<size_t>(rank) * 3; }, "nothing of rank 0");
  check_gathered(
      ranks, [](int rank) { return size_t{rank == 0 ? 65'537u : 0u}; }, "something of rank 0 alone");
  // Parts of one array.
  std::vector<std::byte> whole(kLarge);
  for (size_t i = 0; i < whole.size(); ++i) whole[i] = pattern(7, i);
  const IndexRange part = share(static_cast<int64_t>(whole.size()), ranks.rank(), ranks.size());
  const Gathered gathered =
      ranks.all_gather(std::span(whole).subspan(static_cast<size_t>(part.first), static_cast<size_t>(part.size())));
  expect(gathered.bytes == whole, "a large array: other bytes");
  checksum.add(std::span<const std::byte>(gathered.bytes).first(kLarge / 8));
}

void whole_numbers_case(Ranks& ranks, Checksum& checksum) {
  constexpr int64_t kLeast = std::numeric_limits<int64_t>::min(), kMost = std::numeric_limits<int64_t>::max();
  for (const size_t length : {0, 1, 5, 1000}) {
    // 37 arrays, of which a rank has a part; what a rank without any gives changes nothing.
    std::mt19937_64 engine(length);
    std::vector<std::vector<int64_t>> arrays(37, std::vector<int64_t>(length));
    for (auto& array : arrays)
      for (int64_t& value : array) value = static_cast<int64_t>(engine());
    if (length > 0) arrays[36][0] = kMost, arrays[35][0] = kLeast;
    const IndexRange own = share(37, ranks.rank(), ranks.size());
    for (const auto& [reduction, zero] :
         {std::pair{Reduction::sum, int64_t{0}}, {Reduction::min, kMost}, {Reduction::max, kLeast}}) {
      const auto add = [reduction = reduction](int64_t a, int64_t b) {
        if (reduction == Reduction::min) return std::min(a, b);
        if (reduction == Reduction::max) return std::max(a, b);
        return static_cast<int64_t>(static_cast<uint64_t>(a) + static_cast<uint64_t>(b));
      };
      std::vector<int64_t> expected(length, zero), values(length, zero);
      for (int64_t a = 0; a < 37; ++a)
        for (size_t i = 0; i < length; ++i) {
          const int64_t value = arrays[static_cast<size_t>(a)][i];
          expected[i] = add(expected[i], value);
          if (own.first <= a && a < own.last) values[i] = add(values[i], value);
        }
      ranks.all_reduce(reduction, values);
      expect(values == expected, "whole numbers: other results");
      checksum.add(values);
    }
  }
}

// Both sums of the blocks, of which this rank has those of mine; twice, as the first call may take another way.
void check_sums(Ranks& ranks, const Blocks& blocks, size_t length, IndexRange mine, Checksum& checksum) {
  const auto count = static_cast<int64_t>(blocks.size());
  const std::string what = std::to_string(count) + " blocks of " + std::to_string(length);
  const std::vector<float> expected = count == 0 ? std::vector<float>(length) : tree_sum(blocks, 0, blocks.size());
  Blocks arrays;
  for (const IndexRange& node : block_nodes(mine, count))
    arrays.push_back(tree_sum(blocks, static_cast<size_t>(node.first), static_cast<size_t>(node.last)));
  const Blocks before = arrays;
  std::vector<const float*> nodes;
  for (const std::vector<float>& array : arrays) nodes.push_back(array.data());
  const RankSums sums{count, mine, nodes, static_cast<int64_t>(length)};
  const IndexRange own = share(sums.length, ranks.rank(), ranks.size());
  for (int repeat = 0; repeat < 2; ++repeat) {
    std::vector<float> slice(static_cast<size_t>(own.size()), -7), sum(length, -7);
    ranks.reduce_scatter(sums, slice);
    expect(alike(slice, std::span(expected).subspan(static_cast<size_t>(own.first), slice.size())),
           what + ": another slice");
    ranks.all_reduce(sums, sum);
    expect(alike(sum, expected), what + ": another sum");
    checksum.add(sum);
  }
  for (size_t n = 0; n < arrays.size(); ++n) expect(alike(arrays[n], before[n]), what + ": a node is overwritten");
}

void sums_case(Ranks& ranks, Checksum& checksum) {
  for (const size_t length : {0, 1, 2, 3, 5, 8, 1000})
    for (const size_t count : {0, 1, 2, 3, 5, 7, 8, 31, 32, 33, 257}) {
      const Blocks blocks = draw_blocks(count, length, 1000 * count + length);
      check_sums(ranks, blocks, length, share(static_cast<int64_t>(count), ranks.rank(), ranks.size()), checksum);
    }
}

// One rank has all blocks, or they are parted at some other place than shares are.
void uneven_case(Ranks& ranks, Checksum& checksum) {
  const Blocks blocks = draw_blocks(33, 100, 5);
  for (int owner = 0; owner < ranks.size(); ++owner) {
    Checksum one;
    const int rank = ranks.rank();
    check_sums(ranks, blocks, 100, {rank <= owner ? 0 : 33, rank < owner ? 0 : 33}, one);
    check_sums(ranks, blocks, 100,
               {rank == 0 ? 0 : std::min(33, 5 + 4 * rank), rank + 1 == ranks.size() ? 33 : 9 + 4 * rank}, one);
    if (owner == 0) checksum = one;
    expect(one.value() == checksum.value(), "uneven parts: another sum");
  }
}

void special_case(Ranks& ranks, Checksum& checksum) {
  constexpr float kInf = std::numeric_limits<float>::infinity(), kNaN = std::numeric_limits<float>::quiet_NaN(),
                  kTiny = std::numeric_limits<float>::denorm_min(), kHuge = std::numeric_limits<float>::max();
  const std::vector<std::vector<float>> values{{-0.0f, 0.0f, kNaN, kInf, -kInf, kTiny, kHuge},
                                               {-0.0f, -0.0f, 1, -kInf, -kInf, kTiny, kHuge},
                                               {-0.0f, -0.0f, kNaN, kNaN, 3, -kTiny, -kHuge},
                                               {-0.0f, -0.0f, 2, 1, kNaN, kTiny, -kHuge},
                                               {-0.0f, -0.0f, 2, 1, 4, -kTiny, 1}};
  for (size_t count = 1; count <= values.size(); ++count) {
    const Blocks blocks(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(count));
    check_sums(ranks, blocks, 7, share(static_cast<int64_t>(count), ranks.rank(), ranks.size()), checksum);
  }
}

void large_case(Ranks& ranks, Checksum& checksum) {
  constexpr size_t kLength = kLarge / sizeof(float);
  static const Blocks blocks = draw_blocks(5, kLength, 9);  // once for all threads
  check_sums(ranks, blocks, kLength, share(5, ranks.rank(), ranks.size()), checksum);
}

// 3000 short calls, whose order is all that keeps them apart.
void many_case(Ranks& ranks, Checksum& checksum) {
  for (int64_t i = 0; i < 1000; ++i) {
    ranks.barrier();
    int64_t value = i + (ranks.rank() == 0);
    ranks.all_reduce(Reduction::max, std::span(&value, 1));
    expect(value == i + 1, "many calls: another number");
    checksum.add(std::span(&value, 1));
    if (ranks.all_gather(std::as_bytes(std::span(&value, 1))).bytes.size() !=
        static_cast<size_t>(ranks.size()) * sizeof(value))
      throw std::runtime_error("many calls: another size");
  }
}

void refused(const std::function<void()>& call, const std::string& message) {
  std::string caught = "nothing";
  try {
    call();
  } catch (const Error& error) {
    caught = error.what();
    expect(error.status() == DUET_STATUS_INVALID_ARGUMENT, message + ": another status");
  }
  expect(caught == message, "expected '" + message + "', got '" + caught + "'");
}

// Every rank gets the same line, and the job can go on.
void disagreement_case(Ranks& ranks, Checksum&) {
  if (ranks.size() == 1) return;
  const int last = ranks.size() - 1;
  const bool other = ranks.rank() == last;
  const std::string name = "ranks: rank " + std::to_string(last);
  int64_t value[2] = {};
  refused([&] { other ? (void)ranks.all_gather({}) : ranks.barrier(); },
          name + " calls all_gather where rank 0 calls barrier");
  refused([&] { ranks.all_reduce(other ? Reduction::min : Reduction::sum, std::span(value, 1)); },
          name + " calls all_reduce (min) where rank 0 calls all_reduce (sum)");
  refused([&] { ranks.all_reduce(Reduction::sum, std::span(value, other ? 2 : 1)); },
          name + " gives 2 values to all_reduce (sum) where rank 0 gives 1");
  std::vector<float> sum(3), more(4);
  refused(
      [&] {
        ranks.all_reduce(RankSums{0, {}, {}, other ? 4 : 3}, other ? more : sum);
      },
      name + " gives 4 values to all_reduce (floats) where rank 0 gives 3");
  const float* node = more.data();
  refused(
      [&] {
        if (other)
          ranks.all_reduce(RankSums{2, {1, 2}, std::span(&node, 1), 3}, sum);
        else
          ranks.all_reduce(RankSums{2, {0, 0}, {}, 3}, sum);
      },
      name + " has blocks 1 to 2 of 2 in all_reduce (floats) where those before it end at 0");
  ranks.barrier();
}

}  // namespace

std::vector<std::string> run_rank_cases(Ranks& ranks) {
  const std::pair<const char*, void (*)(Ranks&, Checksum&)> cases[] = {
      {"gather", gather_case},   {"whole_numbers", whole_numbers_case},
      {"sums", sums_case},       {"uneven", uneven_case},
      {"special", special_case}, {"large", large_case},
      {"many", many_case},       {"disagreement", disagreement_case}};
  std::vector<std::string> lines;
  for (const auto& [name, run] : cases) {
    Checksum checksum;
    try {
      run(ranks, checksum);
    } catch (const std::exception& error) {
      throw std::runtime_error(std::string(name) + ", rank " + std::to_string(ranks.rank()) + " of " +
                               std::to_string(ranks.size()) + ": " + error.what());
    }
    char line[64];
    std::snprintf(line, sizeof line, "%s %016llx", name, static_cast<unsigned long long>(checksum.value()));
    lines.emplace_back(line);
  }
  return lines;
}

}  // namespace duet::test
