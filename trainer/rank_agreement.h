// What ranks tell each other beside the numbers of a step (runtime/ranks/ranks.h): mistakes that one of them found, and
// what each of them is about to train.
#pragma once

#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <stdexcept>

#include "runtime/ranks/ranks.h"
#include "trainer/usage_error.h"

namespace duet {

// A mistake that every rank knows of, with the same words.
class SharedUsageError : public UsageError {
 public:
  using UsageError::UsageError;
};
// Ends a rank where rank 0 says why, with the same words.
class SaidByFirst : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// Runs body, in which no rank waits for another, on every rank. Where it throws on some of them, every rank throws:
// SharedUsageError where the lowest one's was a UsageError, else rank 0 std::runtime_error and the others SaidByFirst;
// the text is that rank's, after "rank N: " unless it is rank 0's or all of them say the same. ranks: null, body is
// just run.
void together(Ranks* ranks, const std::function<void()>& body);

// Throws SharedUsageError on every rank, naming the rank and the first key that differs, where a rank's facts, an
// object, are not those of rank 0.
void require_alike(Ranks& ranks, const nlohmann::ordered_json& facts);

}  // namespace duet
