#include "trainer/ranked_batch.h"

#include <algorithm>
#include <cstring>

namespace duet {
namespace {

// Of the row tiles of losses over pairs (kernels/cpu/sweep.h): a part has the tiles of the whole batch.
constexpr int64_t kTileBlocks = 2;

size_t bytes_of(const Tensor& rows) { return static_cast<size_t>(rows.size()) * sizeof(float); }

}  // namespace

IndexRange RankedBatch::blocks_of(int rank, int64_t rows) const {
  const int64_t blocks = block_count(rows), tiles = (blocks + kTileBlocks - 1) / kTileBlocks;
  const IndexRange mine = share(tiles, rank, ranks_.size());
  return {std::min(mine.first * kTileBlocks, blocks), std::min(mine.last * kTileBlocks, blocks)};
}

// Of a batch of at most so many rows.
size_t RankedBatch::most_parts(int64_t most_rows) const {
  size_t most = 0;
  for (int64_t rows = 0; rows <= block_count(most_rows) * kBlockRows; rows += kBlockRows)
    most = std::max(most, block_nodes(blocks_of(ranks_.rank(), rows), block_count(rows)).size());
  return most;
}

RankedBatch::RankedBatch(Ranks& ranks, Model& model, duet_context* context, int64_t most_rows)
    : ranks_(ranks),
      model_(model),
      context_(context),
      floats_(model.row_floats()),
      gradients_(context, static_cast<int64_t>(most_parts(most_rows)) * floats_),
      sum_(static_cast<size_t>(floats_)) {}

void RankedBatch::begin(int64_t rows) {
  const IndexRange mine = blocks_of(ranks_.rank(), rows), own = rows_of(mine, rows);
  rows_ = rows;
  own_ = {own.first, own.size()};
  parts_.clear();
  part_gradients_.clear();
  for (const IndexRange& node : block_nodes(mine, block_count(rows))) {
    const IndexRange of_node = rows_of(node, rows);
    part_gradients_.push_back(gradients_of(parts_.size()));
    parts_.push_back({of_node.first, of_node.size()});
  }
  fill_zero(context_, gradients_.data(), parts_.size() * static_cast<size_t>(floats_) * sizeof(float));
}

ParameterView RankedBatch::student(size_t part) const { return model_.parameters().student(gradients_of(part)); }

Tensor RankedBatch::collect(Tape& tape, std::span<const Tensor> of_parts, int64_t columns) {
  const Tensor all = tape.make(rows_, columns);
  for (size_t k = 0; k < of_parts.size(); ++k) {
    const Tensor& part = of_parts[k];
    for (int64_t i = 0; i < part.rows; ++i)
      std::memcpy(all.data + (parts_[k].first + i) * columns, part.data + i * part.stride,
                  static_cast<size_t>(columns) * sizeof(float));
  }
  // What comes after the parts is alike on every rank: one without rows has a gradient of all rows too.
  Tensor recorded = all;
  recorded.grad = sum_.data();
  const int64_t first = own_.first;
  return tape.record(all, {recorded}, [=](Tape&, const Tensor& output) {
    int64_t row = first;
    for (const Tensor& part : of_parts)
      for (int64_t i = 0; i < part.rows; ++i, ++row)
        for (int64_t j = 0; j < columns; ++j) part.grad[i * part.stride + j] += output.grad[row * columns + j];
  });
}

// Each rank's bytes: its rows of the first tensor, then of the second, and so on.
void RankedBatch::gather(std::initializer_list<Tensor> tensors) {
  size_t mine = 0, whole = 0;
  for (const Tensor& all : tensors) mine += bytes_of(own_.of(all)), whole += bytes_of(all);
  if (sent_.size() < mine) sent_.resize(mine);
  if (received_.size() < whole) received_.resize(whole);
  size_t at = 0;
  const auto put = [&](const Tensor& rows) {
    if (rows.size() > 0) std::memcpy(sent_.data() + at, rows.data, bytes_of(rows));
    at += bytes_of(rows);
  };
  for (const Tensor& all : tensors) put(own_.of(all));
  ranks_.all_gather(std::span(sent_).first(mine), std::span(received_).first(whole));
  at = 0;
  for (int rank = 0; rank < ranks_.size(); ++rank) {
    const IndexRange theirs = rows_of(blocks_of(rank, rows_), rows_);
    for (const Tensor& all : tensors) {
      const Tensor rows = all.row_part(theirs.first, theirs.size());
      if (rank != ranks_.rank() && rows.size() > 0) std::memcpy(rows.data, received_.data() + at, bytes_of(rows));
      at += bytes_of(rows);
    }
  }
}

void RankedBatch::add(std::span<float* const> parts, std::span<float> sum) {
  const std::vector<const float*> nodes(parts.begin(), parts.end());
  ranks_.all_reduce(RankSums{block_count(rows_), blocks_of(ranks_.rank(), rows_), nodes, std::ssize(sum)}, sum);
}

void RankedBatch::add(std::span<void* const> parts, int64_t length, int64_t item_bytes, std::span<std::byte> sum,
                      const std::function<void(void* left, const void* right, int64_t count)>& add) {
  const std::vector<const void*> nodes(parts.begin(), parts.end());
  ranks_.all_reduce(RankItems{block_count(rows_), blocks_of(ranks_.rank(), rows_), nodes, length, item_bytes, add},
                    sum);
}

void RankedBatch::add_gradients() {
  add(part_gradients_, sum_);
  float* const gradients = model_.parameters().all(ParameterKind::gradient).data;
  for (size_t i = 0; i < sum_.size(); ++i) gradients[i] += sum_[i];
}

}  // namespace duet
