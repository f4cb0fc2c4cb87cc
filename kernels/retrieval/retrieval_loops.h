// The vector loops of retrieval, compiled once a SIMD target.
#pragma once

#include <cstdint>

namespace duet::cpu {

inline constexpr int64_t kPadding = 32;  // rows of scores are padded by at least this, whole vectors on every target
inline constexpr float kLastScore = -4;  // stands for NaN: below every cosine, so it ranks last

// Makes scores cosines that compare as numbers do: cosine_score(), and kLastScore for NaN. Works on whole vectors: up
// to kPadding - 1 elements past count are read and written here, and read in the other functions.
void retrieval_clean(float* scores, int64_t count);

struct ScoreRange {
  float lowest, highest;
};
ScoreRange retrieval_range(const float* scores, int64_t count);  // count > 0

// How scores are cut into bins: one never falls as the score falls, it is 1 for score = top and at most limit + 1.
struct ScoreBins {
  float top, scale, limit;
};

// Relevant items of a bin that an item is compared with all at once: a loop that ends where the item's place is would
// mispredict.
inline constexpr int32_t kFew = 2;

// A query's relevant items, for the others to be ranked among. Starts are of 16 bits where they fit, so that they stay
// in L1.
struct RelevantScores {
  float* scores;  // size of them, highest first, then kPadding lower ones
  int64_t size;
  ScoreBins cut;
  int64_t bins;  // a multiple of 32
  void* starts;  // bins + 1 of int16_t or int32_t: how many relevant items lie in the bins ahead; inverted where the
                 // bin holds more than kFew

  bool narrow() const { return size <= INT16_MAX; }
};
// Makes relevant.scores of the scores given, and relevant.starts. bins and numbers: scratch for as many and kPadding
// more. Returns how many items the fullest bin holds; above `most` they stand in the order of their bins alone.
int32_t retrieval_sort(const float* scores, const RelevantScores& relevant, int32_t most, int32_t* bins,
                       int32_t* numbers);

// For each of the items adds 1 to counts[r], r the number of relevant items that score above it, and to tied[r] where
// relevant item r scores the same. tied is filled with zeros at the first tie; any_tied: whether there was one, here or
// before.
void retrieval_count(const float* scores, int64_t count, const RelevantScores& relevant, int32_t* counts, int32_t* tied,
                     bool* any_tied);

// Items among count that score below a score, and that score the same.
struct Below {
  int64_t below = 0, tied = 0;

  Below& operator+=(const Below& other) {
    below += other.below;
    tied += other.tied;
    return *this;
  }
};
Below retrieval_below(const float* scores, int64_t count, float score);

}  // namespace duet::cpu
