// The loss terms of a step as METHOD.md 6.11 names them, on the host: what the log, the progress line and the tests
// read.
#pragma once

#include <array>
#include <cstddef>
#include <limits>

namespace duet {

struct Losses {
  double total = 0, label = 0, soft = 0, cross = 0, kl = 0, pair = 0, dis = 0;
};

// Of a step without any term, and of an epoch of such steps: NaN, which is null in JSON.
inline constexpr double kNoLoss = std::numeric_limits<double>::quiet_NaN();
inline constexpr Losses kNoLosses = {kNoLoss, kNoLoss, kNoLoss, kNoLoss, kNoLoss, kNoLoss, kNoLoss};

// The place of each in kLossNames.
enum class Loss { total, label, soft, cross, kl, pair, dis };
// Names as metrics.jsonl has them ("loss_label") and as the progress line shortens them ("label").
struct LossName {
  const char* key;
  const char* word;
  double Losses::*value;
};
inline constexpr std::array<LossName, 7> kLossNames = {{{"loss", "loss", &Losses::total},
                                                        {"loss_label", "label", &Losses::label},
                                                        {"loss_soft", "soft", &Losses::soft},
                                                        {"loss_cross", "cross", &Losses::cross},
                                                        {"loss_kl", "kl", &Losses::kl},
                                                        {"loss_pair", "pair", &Losses::pair},
                                                        {"loss_dis", "dis", &Losses::dis}}};
inline constexpr auto kLossCount = static_cast<int64_t>(kLossNames.size());
static_assert(kLossNames[static_cast<size_t>(Loss::dis)].value == &Losses::dis &&
              kLossNames.size() == static_cast<size_t>(Loss::dis) + 1);

}  // namespace duet
