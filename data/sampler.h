// Which rows make a batch. Everything depends on (seed, epoch, batch) alone: a run that resumes, or splits a batch over
// devices, sees the same rows.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/core/philox.h"

namespace duet::data {

// Stream of class-balanced batches; shuffled ones have METHOD.md 0's stream 2.
inline constexpr uint32_t kStreamBalancedBatches = 7;  // step = epoch

class BatchSampler {
 public:
  virtual ~BatchSampler() = default;
  virtual void start_epoch(uint32_t epoch) = 0;
  virtual int64_t batches() const = 0;     // of an epoch; the same in every epoch
  virtual int64_t batch_rows() const = 0;  // the most rows a batch has
  // Rows of the training split; valid until the next call on this sampler. batch: 0 to batches() - 1.
  virtual std::span<const int64_t> batch(int64_t batch) = 0;
};

// All rows, in the order of (word, row), word = the row's element of the shuffle stream; a last batch of under smallest
// rows is left out (METHOD.md 6). Allocates in its constructor alone.
class ShuffledBatches final : public BatchSampler {
 public:
  static constexpr int64_t kSmallestBatch = 8;
  // Errors: DUET_STATUS_INVALID_ARGUMENT (batch below 1, no batch at all).
  ShuffledBatches(int64_t rows, int64_t batch, uint64_t seed, int64_t smallest = kSmallestBatch);

  void start_epoch(uint32_t epoch) override;
  int64_t batches() const override { return batches_; }
  int64_t batch_rows() const override { return batch_; }
  std::span<const int64_t> batch(int64_t batch) override;

 private:
  struct Key {
    uint32_t word;
    int64_t row;
  };
  int64_t batch_, batches_;
  uint64_t seed_;
  std::vector<Key> keys_;
  std::vector<int64_t> order_;
};

// P classes x K samples of the labelled rows: distinct classes, and distinct samples where a class has K; a smaller
// class gives every sample it has before one repeats. Batches of an epoch: rows / (P K) rounded up, unless given.
// Allocates in its constructor alone.
class BalancedBatches final : public BatchSampler {
 public:
  // labels: -1 is passed over. Errors: DUET_STATUS_INVALID_ARGUMENT (P or K below 1, fewer than P classes with a
  // label).
  BalancedBatches(std::span<const int32_t> labels, int64_t classes_per_batch, int64_t samples_per_class, uint64_t seed,
                  int64_t batches = 0);

  void start_epoch(uint32_t epoch) override { epoch_ = epoch; }
  int64_t batches() const override { return batches_; }
  int64_t batch_rows() const override { return classes_per_batch_ * samples_per_class_; }
  std::span<const int64_t> batch(int64_t batch) override;

 private:
  int64_t classes_per_batch_, samples_per_class_, batches_;
  uint64_t seed_;
  uint32_t epoch_ = 0;
  std::vector<int64_t> rows_, first_;  // rows by class; class c has rows_[first_[c]] to rows_[first_[c + 1] - 1]
  std::vector<int64_t> classes_, order_, chosen_;
};

}  // namespace duet::data
