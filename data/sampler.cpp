#include "data/sampler.h"

#include <algorithm>

#include "kernels/core/error.h"

namespace duet::data {

ShuffledBatches::ShuffledBatches(int64_t rows, int64_t batch, uint64_t seed, int64_t smallest)
    : batch_(batch), batches_(0), seed_(seed) {
  require(batch >= 1, "batch: expected at least 1, got ", batch);
  require(rows >= 0, "rows: expected at least 0, got ", rows);
  batches_ = rows / batch + (rows % batch >= std::max<int64_t>(smallest, 1));
  require(batches_ > 0, "training split: ", rows, " rows make no batch; expected at least ", std::min(smallest, batch));
  keys_.resize(static_cast<size_t>(rows));
  order_.resize(static_cast<size_t>(rows));
  start_epoch(0);
}

void ShuffledBatches::start_epoch(uint32_t epoch) {
  const auto rows = static_cast<int64_t>(keys_.size());
  PhiloxBlock block{};
  for (int64_t i = 0; i < rows; ++i) {
    if (i % 4 == 0) block = random_block(seed_, kStreamShuffle, epoch, static_cast<uint64_t>(i / 4));
    keys_[static_cast<size_t>(i)] = {block[static_cast<size_t>(i % 4)], i};
  }
  std::sort(keys_.begin(), keys_.end(),
            [](const Key& a, const Key& b) { return a.word != b.word ? a.word < b.word : a.row < b.row; });
  for (size_t i = 0; i < keys_.size(); ++i) order_[i] = keys_[i].row;
}

std::span<const int64_t> ShuffledBatches::batch(int64_t batch) {
  require(batch >= 0 && batch < batches_, "batch: expected 0 to ", batches_ - 1, ", got ", batch);
  const auto first = static_cast<size_t>(batch * batch_);
  return std::span<const int64_t>(order_).subspan(first, std::min(static_cast<size_t>(batch_), order_.size() - first));
}

BalancedBatches::BalancedBatches(std::span<const int32_t> labels, int64_t classes_per_batch, int64_t samples_per_class,
                                 uint64_t seed, int64_t batches)
    : classes_per_batch_(classes_per_batch), samples_per_class_(samples_per_class), batches_(batches), seed_(seed) {
  require(classes_per_batch >= 1, "classes of a batch: expected at least 1, got ", classes_per_batch);
  require(samples_per_class >= 1, "samples of a class in a batch: expected at least 1, got ", samples_per_class);
  require(batches >= 0, "batches of an epoch: expected at least 0, got ", batches);
  for (int64_t i = 0; i < static_cast<int64_t>(labels.size()); ++i)
    if (labels[static_cast<size_t>(i)] >= 0) rows_.push_back(i);
  const auto label = [&](int64_t row) { return labels[static_cast<size_t>(row)]; };
  std::stable_sort(rows_.begin(), rows_.end(), [&](int64_t a, int64_t b) { return label(a) < label(b); });
  for (size_t k = 0; k < rows_.size(); ++k)
    if (k == 0 || label(rows_[k]) != label(rows_[k - 1])) first_.push_back(static_cast<int64_t>(k));
  const auto classes = static_cast<int64_t>(first_.size());
  first_.push_back(static_cast<int64_t>(rows_.size()));
  require(classes >= classes_per_batch, "classes of a batch: expected at most the ", classes,
          " classes with a label, got ", classes_per_batch);
  if (batches_ == 0) batches_ = (static_cast<int64_t>(labels.size()) + batch_rows() - 1) / batch_rows();
  classes_.resize(static_cast<size_t>(classes));
  order_.resize(rows_.size());
  chosen_.resize(static_cast<size_t>(batch_rows()));
}

std::span<const int64_t> BalancedBatches::batch(int64_t batch) {
  require(batch >= 0 && batch < batches_, "batch: expected 0 to ", batches_ - 1, ", got ", batch);
  // A batch takes its own stretch of the epoch's draw: one word a class or sample chosen, plus the choice of classes.
  const auto classes = static_cast<int64_t>(classes_.size());
  uint64_t element = static_cast<uint64_t>(batch) * static_cast<uint64_t>(classes_per_batch_ + batch_rows());
  // Fisher-Yates, stopped after taken draws: places 0 to taken - 1 hold distinct entries. Bias below 2^-32 x size, as a
  // word is scaled, not rejected.
  const auto draw_front = [&](int64_t* values, int64_t size, int64_t taken) {
    for (int64_t k = 0; k < taken; ++k) {
      const uint64_t word = random_word(seed_, kStreamBalancedBatches, epoch_, element++);
      std::swap(values[k], values[k + static_cast<int64_t>((word * static_cast<uint64_t>(size - k)) >> 32)]);
    }
  };
  for (int64_t c = 0; c < classes; ++c) classes_[static_cast<size_t>(c)] = c;
  draw_front(classes_.data(), classes, classes_per_batch_);
  int64_t* out = chosen_.data();
  for (int64_t p = 0; p < classes_per_batch_; ++p) {
    const auto c = static_cast<size_t>(classes_[static_cast<size_t>(p)]);
    const int64_t size = first_[c + 1] - first_[c];
    int64_t* const members = order_.data() + first_[c];
    std::copy_n(rows_.begin() + first_[c], size,
                members);  // from the same order every time, or a batch would depend on those before it
    for (int64_t left = samples_per_class_; left > 0; left -= std::min(left, size)) {
      draw_front(members, size, std::min(left, size));
      out = std::copy_n(members, std::min(left, size), out);
    }
  }
  return chosen_;
}

}  // namespace duet::data
