// What a training run says of numbers that are none: the step, what is not finite, the loss terms, and the rows.
#include <algorithm>
#include <cmath>
#include <utility>

#include "kernels/core/error.h"
#include "runtime/finite.h"
#include "trainer/method.h"

namespace duet {

// Names what is not finite, from the weights outward, the terms that are not, and the rows that they come from. No step
// has changed anything since, so the forward pass can be made again: its draws depend on the step's number alone, and
// its mail is still there. A learning rate can be too high only where it has moved something.
void TrainingStep::refuse_loss(int64_t step) {
  const int64_t slot = step % kSlots, n = rows_of_[static_cast<size_t>(slot)];
  const float* const reported = reported_.data() + slot * kMostReported;
  const std::string start = text("step ", step + 1, ": the loss is ", not_finite_name(reported[kTotal]), ": ");
  succeed(duet_context_synchronize(context()));
  const std::string advice = counters_.read()[kUpdates] > 0 ? "; a lower learning_rate may help" : "";
  const Losses parts = losses_of(reported);
  std::string terms;
  for (const LossName& name : kLossNames)
    if (name.value != &Losses::total && !std::isfinite(parts.*name.value))
      terms += (terms.empty() ? "" : ", ") + std::string(name.key);
  if (terms.empty()) terms = "none";
  const std::string weight = first_not_finite(model_.parameters(), ParameterKind::value);
  if (!weight.empty()) throw NotFinite(text(start, weight, advice, "; terms: ", terms, rows_words(slot, {})));

  copy_to_device(context(), counters_.data() + kBegun, std::span<const int64_t>(&step, 1));
  const Forward made = forward(n);
  std::vector<int64_t> places;  // in the batch
  // Takes up the rows of a tensor of one row a row of the batch that are not finite; whether there are any.
  const auto look = [&](const Tensor& tensor) {
    std::vector<float> values(static_cast<size_t>(tensor.size()));
    copy_to_host(context(), std::span(values), static_cast<const float*>(tensor.data));
    for (int64_t i = 0; i < n; ++i)
      if (first_not_finite<float>(values.data() + i * tensor.columns, tensor.columns) >= 0) places.push_back(i);
    return !places.empty();
  };
  for (const auto& [heads, whose] : {std::pair{&made.student, "student's"}, std::pair{&made.teacher, "teacher's"}})
    for (const Tensor& output : {heads->a.embeddings, heads->v.embeddings, heads->a.logits, heads->v.logits})
      if (look(output))
        throw NotFinite(text(start, "the ", whose, " outputs are not finite", advice, "; terms: ", terms,
                             rows_words(slot, places)));
  // Of a term whose mean the operation has taken itself, no row is told apart.
  for (const ops::LossTerm& term : added_)
    for (const Tensor& values : {term.first.values, term.second.values})
      if (values && values.rows == n) look(values);
  for (const LossName& name : kLossNames)
    if (name.value != &Losses::total && !std::isfinite(parts.*name.value))
      throw NotFinite(text(start, name.key, " is ", not_finite_name(parts.*name.value),
                           ", though every embedding and logit is finite", rows_words(slot, places)));
  throw NotFinite(start + "the weighted sum of its terms is too large for float32, though each term is finite" +
                  rows_words(slot, places));
}

// "; rows 5, 17, 203 and 61 more of the training split", those at these places of a slot's batch; places empty: all.
std::string TrainingStep::rows_words(int64_t slot, const std::vector<int64_t>& places) const {
  constexpr size_t kNamed = 5;
  std::vector<int64_t> rows;
  for (int64_t i = 0; i < rows_of_[static_cast<size_t>(slot)]; ++i)
    if (places.empty() || std::ranges::find(places, i) != places.end())
      rows.push_back(mail_indices_[slot * mail_rows() + i]);
  std::ranges::sort(rows);
  std::string words = places.empty() ? "; the batch has rows" : "; rows";
  for (size_t k = 0; k < std::min(rows.size(), kNamed); ++k) words += text(k == 0 ? " " : ", ", rows[k]);
  if (rows.size() > kNamed) words += text(" and ", rows.size() - kNamed, " more");
  return words + " of the training split";
}

void TrainingStep::require_finite() const {
  const std::string start = text("after step ", finished_, ": ");
  for (const ParameterKind kind : {ParameterKind::value, ParameterKind::teacher}) {
    const std::string weight = first_not_finite(model_.parameters(), kind);
    if (!weight.empty())
      throw NotFinite(text(start, weight, kind == ParameterKind::teacher ? " in the moving average" : "",
                           "; a lower learning_rate may help"));
  }
  const std::vector<float> frequencies = predicted_.read();
  const int64_t at = first_not_finite<float>(frequencies.data(), classes_);
  if (at >= 0)
    throw NotFinite(text(start, "the running frequency of class ", at, " is ",
                         not_finite_name(frequencies[static_cast<size_t>(at)])));
  if (!std::isfinite(concord())) throw NotFinite(text(start, "concord is ", not_finite_name(concord())));
}

}  // namespace duet
