// The vector loops of retrieval, compiled once a SIMD target.
#pragma once

#include <cstdint>

namespace duet::cpu {

inline constexpr int64_t kPadding = 32;  // rows of scores are padded by at least this, whole vectors on every target
inline constexpr float kLastScore = -4;  // stands for NaN: below every cosine, so it ranks last

// Applies cosine_score() to the scores and replaces NaN by kLastScore, so that they compare as numbers. Works on whole
// vectors: up to kPadding - 1 elements past count are read and written here, and read in the other functions.
void retrieval_clean(float* scores, int64_t count);

struct ScoreRange {
  float lowest, highest;
};
ScoreRange retrieval_range(const float* scores, int64_t count);  // count > 0

// How scores are cut into bins. A bin's number never falls as the score falls. It is 1 for score = top, and at most
// limit + 1.
struct ScoreBins {
  float top, scale, limit;
};

// An item is compared with this many relevant items of its bin at once, because a loop that ends at the item's place
// would mispredict.
inline constexpr int32_t kFew = 2;

// A query's relevant items, among which the others are ranked. Starts have 16 bits where they fit, so that they stay in
// L1.
struct RelevantScores {
  float* scores;  // `size` scores, highest first, then kPadding lower ones
  int64_t size;
  ScoreBins cut;
  int64_t bins;  // a multiple of 32
  // bins + 1 of int16_t or int32_t: the number of relevant items in the bins ahead, inverted where the bin holds more
  // than kFew
  void* starts;

  bool narrow() const { return size <= INT16_MAX; }
};
// Fills relevant.scores from the given scores, and relevant.starts. bins and numbers: scratch for as many elements and
// kPadding more. Returns the number of items in the fullest bin. Where that exceeds `most`, the scores are sorted by
// bin only.
int32_t retrieval_sort(const float* scores, const RelevantScores& relevant, int32_t most, int32_t* bins,
                       int32_t* numbers);

// For each of the items adds 1 to counts[r], r the number of relevant items that score above it, and to tied[r] where
// relevant item r scores the same. tied is filled with zeros at the first tie; any_tied: whether there was one, here or
// before.
void retrieval_count(const float* scores, int64_t count, const RelevantScores& relevant, int32_t* counts, int32_t* tied,
                     bool* any_tied);

// The number of items, among count, that score below a score, and of those that score the same.
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
