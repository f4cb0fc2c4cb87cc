#include "trainer/ranked_encoders.h"

#include <algorithm>
#include <cstring>

#include "kernels/core/error.h"

namespace duet {
namespace {

IndexRange blocks_of(const Ranks& ranks, int64_t rows) { return share(block_count(rows), ranks.rank(), ranks.size()); }

// The most nodes that a rank's blocks are, of a batch of at most so many rows.
size_t most_nodes(const Ranks& ranks, int64_t most_rows) {
  size_t most = 0;
  for (int64_t blocks = 0; blocks <= block_count(most_rows); ++blocks)
    most = std::max(most, block_nodes(share(blocks, ranks.rank(), ranks.size()), blocks).size());
  return most;
}

}  // namespace

RankedEncoders::RankedEncoders(Ranks& ranks, Model& model, duet_context* context, int64_t most_rows)
    : ranks_(ranks),
      model_(model),
      context_(context),
      floats_(model.encoder_floats()),
      gradients_(context, static_cast<int64_t>(most_nodes(ranks, most_rows)) * floats_),
      sum_(static_cast<size_t>(floats_)) {}

std::span<const BatchPart> RankedEncoders::begin(int64_t rows) {
  const IndexRange mine = blocks_of(ranks_, rows);
  rows_ = rows;
  first_ = rows_of(mine, rows).first;
  parts_.clear();
  nodes_.clear();
  for (const IndexRange& node : block_nodes(mine, block_count(rows))) {
    const IndexRange of_node = rows_of(node, rows);
    nodes_.push_back(gradients_of(parts_.size()));
    parts_.push_back({of_node.first, of_node.size()});
  }
  fill_zero(context_, gradients_.data(), parts_.size() * static_cast<size_t>(floats_) * sizeof(float));
  return parts_;
}

ParameterView RankedEncoders::student(size_t part) const { return model_.parameters().student(gradients_of(part)); }

Tensor RankedEncoders::gather(Tape& tape, std::span<const Tensor> of_parts, int64_t width) {
  const Tensor all = tape.make(rows_, width);
  Tensor mine = all.row_part(first_, 0);
  for (size_t k = 0; k < of_parts.size(); ++k) {
    const Tensor& part = of_parts[k];
    const Tensor place = all.row_part(parts_[k].first, parts_[k].count);
    std::memcpy(place.data, part.data, static_cast<size_t>(part.size()) * sizeof(float));
    mine.rows += part.rows;
  }
  ranks_.all_gather(std::as_bytes(std::span(mine.data, static_cast<size_t>(mine.size()))),
                    std::as_writable_bytes(std::span(all.data, static_cast<size_t>(all.size()))));
  // What comes after the encoders is alike on every rank: one without rows has a gradient of all rows too.
  Tensor recorded = all;
  recorded.grad = sum_.data();
  const int64_t first = first_;
  return tape.record(all, {recorded}, [=](Tape&, const Tensor& output) {
    int64_t row = first;
    for (const Tensor& part : of_parts) {
      const Tensor from = output.row_part(row, part.rows);
      for (int64_t i = 0; i < part.size(); ++i) part.grad[i] += from.grad[i];
      row += part.rows;
    }
  });
}

void RankedEncoders::add_gradients() {
  const int64_t blocks = block_count(rows_);
  ranks_.all_reduce(RankSums{blocks, blocks_of(ranks_, rows_), nodes_, floats_}, sum_);
  float* const gradients = model_.parameters().all(ParameterKind::gradient).data;
  for (size_t i = 0; i < sum_.size(); ++i) gradients[i] += sum_[i];
}

}  // namespace duet
