// METHOD.md 6.3, 6.4 and 6.10's weights for one batch, in the order in which they are stated there. In double, for
// tests alone.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "tests/reference/label_sets.h"
#include "tests/reference/random.h"

namespace duet::reference {

struct SupervisionBatch {
  std::vector<int32_t> labels;
  std::vector<int64_t> sample_ids;
  std::vector<double> logits_a, logits_v;  // B x C
  std::vector<double> prior;
  double ratio = 1;
  uint32_t epoch = 0;
  uint64_t seed = 0;
  bool hide = true, lift = true, trust = true;
  double momentum = 0.95, largest_lift = 100, unannotated_kappa = 0.5, pair_weight_scale = 1, unread = 1,
         generality = 0;
  LabelSets label_sets;  // empty: a label is a class
};

struct SupervisionResult {
  std::vector<double> class_q, trust, kappa, annotated, hidden_trust, counts, pair_weight, anchor_weight;
};

inline std::vector<double> class_softmax(const std::vector<double>& logits) {
  const double largest = *std::max_element(logits.begin(), logits.end());
  std::vector<double> p;
  double sum = 0;
  for (const double z : logits) p.push_back(std::exp(z - largest)), sum += p.back();
  for (double& x : p) x /= sum;
  return p;
}

inline std::vector<double> lifted(std::vector<double> p, const std::vector<double>& lift) {
  double sum = 0;
  for (size_t c = 0; c < p.size(); ++c) sum += p[c] * lift[c];
  if (sum > 0)
    for (size_t c = 0; c < p.size(); ++c) p[c] *= lift[c] / sum;
  return p;
}

// predicted (u) and concord are updated before they are used.
inline SupervisionResult supervision(const SupervisionBatch& batch, std::vector<double>& predicted, double& concord) {
  const size_t samples = batch.labels.size(), classes = predicted.size();
  const auto row = [&](const std::vector<double>& x, size_t i) {
    return std::vector<double>(x.begin() + i * classes, x.begin() + (i + 1) * classes);
  };
  std::vector<std::vector<double>> p;
  for (size_t i = 0; i < samples; ++i) {
    std::vector<double> mean = row(batch.logits_a, i);
    for (size_t c = 0; c < classes; ++c) mean[c] = (mean[c] + row(batch.logits_v, i)[c]) / 2;
    p.push_back(class_softmax(mean));
  }
  std::vector<double> lift(classes, 1.0);
  for (size_t c = 0; c < classes; ++c) {
    double mean = 0;
    for (size_t i = 0; i < samples; ++i) mean += p[i][c] / static_cast<double>(samples);
    if (samples > 0) predicted[c] = batch.momentum * predicted[c] + (1 - batch.momentum) * mean;
    if (batch.lift) lift[c] = std::min(batch.prior[c] / predicted[c], batch.largest_lift);
  }
  SupervisionResult out;
  double unlabelled = 0, agreeing = 0, annotated_count = 0;
  for (size_t i = 0; i < samples; ++i) {
    const bool coin = random_word(batch.seed, 4, batch.epoch, static_cast<uint64_t>(batch.sample_ids[i])) <
                      static_cast<uint64_t>(std::floor(batch.ratio * 4294967296.0 + 0.5));
    const bool annotated = batch.labels[i] >= 0 && (!batch.hide || coin);
    // The order of p lift is that of logit + ln(lift), which tells classes apart whose probabilities are one number;
    // without any mass, that of p.
    const auto best = [&](const std::vector<double>& logits) {
      std::vector<double> plain = row(logits, i), q = plain;
      const double largest = *std::max_element(plain.begin(), plain.end());
      bool mass = false;
      for (size_t c = 0; c < classes; ++c) q[c] = plain[c] - largest + std::log(lift[c]), mass |= q[c] > -HUGE_VAL;
      if (!mass) q = plain;
      return std::max_element(q.begin(), q.end()) - q.begin();
    };
    const bool agree = classes > 1 && best(batch.logits_a) == best(batch.logits_v);
    if (batch.labels[i] < 0) unlabelled += 1, agreeing += agree;
    const auto q = lifted(p[i], lift);
    const auto of_label = [&](size_t c) {
      if (!batch.label_sets.has(batch.labels[i])) return static_cast<int32_t>(c) == batch.labels[i] ? 1.0 : 0.0;
      const auto& set = batch.label_sets.of(batch.labels[i]);
      return set.count(static_cast<int64_t>(c)) > 0 ? 1 / static_cast<double>(set.size()) : 0;
    };
    for (size_t c = 0; c < classes; ++c) out.class_q.push_back(annotated ? of_label(c) : q[c]);
    out.annotated.push_back(annotated);
    out.trust.push_back(annotated || agree || !batch.trust);
    out.hidden_trust.push_back(annotated ? 0 : out.trust.back());
    out.kappa.push_back(annotated ? 1 : batch.unannotated_kappa);
    out.anchor_weight.push_back(batch.labels[i] < 0 ? 1 : batch.unread * batch.unread);
    annotated_count += annotated;
  }
  if (unlabelled > 0) concord = batch.momentum * concord + (1 - batch.momentum) * agreeing / unlabelled;
  out.counts = {annotated_count, static_cast<double>(samples) - annotated_count};
  out.pair_weight = {batch.pair_weight_scale * (1 + 2 * batch.unread) *
                     ((1 - concord) + std::pow(1 - batch.generality, 2) * std::pow(concord, 8))};
  return out;
}

}  // namespace duet::reference
