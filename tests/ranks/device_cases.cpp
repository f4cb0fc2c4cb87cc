#include "tests/ranks/device_cases.h"

#include <bit>
#include <cmath>
#include <limits>
#include <stdexcept>

#include "tests/ranks/expect.h"
#include "tests/ranks/tree_sum.h"

namespace duet::test {

namespace {

struct Job {
  DeviceRanks& device_ranks;
  Ranks& ranks;
  duet_context* context;
};

template <class T>
std::span<T> span_of(const DeviceArray<T>& array) {
  return {array.data(), static_cast<size_t>(array.size())};
}

// Rank r gives sizes[r % 3] words of its own.
void check_gathered(const Job& job, const std::vector<int64_t>& sizes) {
  const auto size_of = [&](int rank) { return sizes[static_cast<size_t>(rank) % sizes.size()]; };
  std::vector<int32_t> own, expected;
  size_t place = 0;
  for (int rank = 0; rank < job.ranks.size(); ++rank) {
    if (rank == job.ranks.rank()) place = expected.size();
    for (int64_t i = 0; i < size_of(rank); ++i) expected.push_back(static_cast<int32_t>(1000 * rank + i + 1));
  }
  own.assign(expected.begin() + static_cast<std::ptrdiff_t>(place),
             expected.begin() + static_cast<std::ptrdiff_t>(place) + size_of(job.ranks.rank()));
  const DeviceArray<int32_t> mine(job.context, std::span<const int32_t>(own));
  DeviceArray<int32_t> all(job.context, std::ssize(expected));
  all.clear();
  job.device_ranks.all_gather(std::as_bytes(span_of(mine)), std::as_writable_bytes(span_of(all)));
  job.device_ranks.wait();
  expect(all.read() == expected, "all_gather: other words");

  all.clear();
  const auto in_place = span_of(all).subspan(place, own.size());
  copy_to_device(job.context, in_place.data(), std::span<const int32_t>(own));
  job.device_ranks.all_gather(std::as_bytes(in_place), std::as_writable_bytes(span_of(all)));
  expect(all.read() == expected, "all_gather in place: other words");
}

// Both sums of the blocks, of which this rank has those of mine, on arrays that hold something else before.
void check_sums(const Job& job, const Blocks& blocks, size_t length, IndexRange mine) {
  const auto count = static_cast<int64_t>(blocks.size());
  const std::string what = std::to_string(count) + " blocks of " + std::to_string(length);
  const std::vector<float> expected = count == 0 ? std::vector<float>(length) : tree_sum(blocks, 0, blocks.size());
  std::vector<DeviceArray<float>> arrays;
  std::vector<const float*> nodes;
  Blocks before;
  for (const IndexRange& node : block_nodes(mine, count)) {
    before.push_back(tree_sum(blocks, static_cast<size_t>(node.first), static_cast<size_t>(node.last)));
    arrays.emplace_back(job.context, std::span<const float>(before.back()));
    nodes.push_back(arrays.back().data());
  }
  const RankSums sums{count, mine, nodes, static_cast<int64_t>(length)};
  const IndexRange own = share(sums.length, job.ranks.rank(), job.ranks.size());
  const std::vector<float> others(length, -7);
  const DeviceArray<float> slice(job.context, std::span(others).first(static_cast<size_t>(own.size())));
  const DeviceArray<float> sum(job.context, std::span<const float>(others));
  job.device_ranks.reduce_scatter(sums, span_of(slice));
  job.device_ranks.all_reduce(sums, span_of(sum));
  expect(alike(slice.read(), std::span(expected).subspan(static_cast<size_t>(own.first), slice.read().size())),
         what + ": another slice");
  expect(alike(sum.read(), expected), what + ": another sum");
  for (size_t n = 0; n < arrays.size(); ++n) expect(alike(arrays[n].read(), before[n]), what + ": a node is changed");
}

void check_sums(const Job& job, const Blocks& blocks, size_t length) {
  check_sums(job, blocks, length, share(static_cast<int64_t>(blocks.size()), job.ranks.rank(), job.ranks.size()));
}

void sums_cases(const Job& job) {
  for (const size_t length : {0, 1, 2, 3, 5, 129, 1000})
    for (const size_t count : {0, 1, 2, 3, 7, 33})
      check_sums(job, draw_blocks(count, length, 1000 * count + length), length);
  // One rank has all blocks.
  for (int owner = 0; owner < job.ranks.size(); ++owner)
    check_sums(job, draw_blocks(33, 100, 5), 100,
               {job.ranks.rank() <= owner ? 0 : 33, job.ranks.rank() < owner ? 0 : 33});
  constexpr float kInf = std::numeric_limits<float>::infinity(), kNaN = std::numeric_limits<float>::quiet_NaN(),
                  kTiny = std::numeric_limits<float>::denorm_min(), kHuge = std::numeric_limits<float>::max();
  const Blocks special{{-0.0f, 0.0f, kNaN, kInf, -kInf, kTiny, kHuge},
                       {-0.0f, -0.0f, 1, -kInf, -kInf, kTiny, kHuge},
                       {-0.0f, -0.0f, kNaN, kNaN, 3, -kTiny, -kHuge},
                       {-0.0f, -0.0f, 2, 1, kNaN, kTiny, -kHuge},
                       {-0.0f, -0.0f, 2, 1, 4, -kTiny, 1}};
  for (size_t count = 1; count <= special.size(); ++count)
    check_sums(job, Blocks(special.begin(), special.begin() + static_cast<std::ptrdiff_t>(count)), 7);
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
void disagreement_cases(const Job& job) {
  if (job.ranks.size() == 1) return;
  const int last = job.ranks.size() - 1;
  const bool other = job.ranks.rank() == last;
  const std::string name = "ranks: rank " + std::to_string(last);
  refused([&] { other ? job.device_ranks.wait() : job.ranks.barrier(); },
          name + " calls wait (device) where rank 0 calls barrier");
  refused([&] { other ? (void)job.ranks.all_gather({}) : job.device_ranks.all_gather({}, {}); },
          name + " calls all_gather where rank 0 calls all_gather (device)");
  const DeviceArray<float> sum(job.context, 4);
  refused(
      [&] {
        const int64_t length = other ? 4 : 3;
        job.device_ranks.all_reduce(RankSums{0, {}, {}, length}, span_of(sum).first(static_cast<size_t>(length)));
      },
      name + " gives 4 values to all_reduce (device) where rank 0 gives 3");
}

// A rank's own mistake, which every rank makes here.
void misuse_cases(const Job& job) {
  const DeviceArray<std::byte> room(job.context, 5);
  const std::string bytes = std::to_string(4 * job.ranks.size());
  if (job.ranks.size() > 1)
    refused([&] { job.device_ranks.all_gather(span_of(room).first(4), span_of(room)); },
            "all: expected room for all ranks' " + bytes + " bytes, got 5");
  const DeviceArray<float> sum(job.context, 3);
  refused([&] { job.device_ranks.all_reduce(RankSums{0, {}, {}, 4}, span_of(sum)); }, "sum: expected 4 floats, got 3");
}

}  // namespace

void run_device_rank_cases(DeviceRanks& device_ranks, Ranks& ranks, duet_context* context) {
  const Job job{device_ranks, ranks, context};
  expect(device_ranks.rank() == ranks.rank() && device_ranks.size() == ranks.size(), "another rank or size");
  for (const std::vector<int64_t>& sizes : {std::vector<int64_t>{0}, {1}, {0, 3, 1}, {100'000, 0, 7}})
    check_gathered(job, sizes);
  sums_cases(job);
  disagreement_cases(job);
  misuse_cases(job);
  device_ranks.wait();
}

}  // namespace duet::test
