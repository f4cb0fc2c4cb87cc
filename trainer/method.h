// One training step, METHOD.md section 6: the student and the teacher read a batch, the supervision is decided, the method's loss terms are
// added up, the optimizer moves the student and the moving average follows. `label`, `triplet`, `contrastive` and `psd` differ in their terms.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "data/dataset.h"
#include "runtime/ops.h"
#include "runtime/optimizer.h"
#include "runtime/schedule.h"
#include "trainer/evidence.h"
#include "trainer/losses.h"
#include "trainer/model.h"

namespace duet {

// METHOD.md 6.3, of epoch e = 0.. : the annotated ratio r and the weight rho of what is distilled.
double annotated_ratio(const Config& config, int64_t epoch);
double distillation_ramp(const Config& config, int64_t epoch);

class TrainingStep {
 public:
  // labels: those of train that the run may see, -1 for the others. Everything is borrowed but labels. steps: of the whole schedule.
  // evidence: of METHOD.md 6.9; psd alone reads it.
  TrainingStep(duet_context* context, Model& model, const data::Split& train, std::vector<int32_t> labels, const Evidence& evidence, int64_t steps);

  void start_epoch(int64_t epoch);
  // One step on these rows of train. false: no loss term applied; the step counts, but neither parameters nor state changed. Throws
  // std::runtime_error, naming the step and what is not finite, where the loss is not; neither changed then.
  bool run(std::span<const int64_t> rows);
  // Throws std::runtime_error, naming the step and the first value, where the last step left something in the parameters or in the state of
  // METHOD.md 6.4 that is NaN or infinite.
  void require_finite() const;

  // Of the last step; all zero where it changed nothing.
  Losses losses() const;
  double learning_rate() const;
  // The state of METHOD.md 6.4 after the last step, which psd alone moves and uses: u, a number a class, and concord.
  bool has_state() const { return psd_; }
  std::span<const float> class_frequencies() const { return {predicted_.data(), static_cast<size_t>(classes_)}; }
  double concord() const { return concord_.tensor().item(); }
  // w of METHOD.md 6.10 in the last step of psd that changed something; 0 before.
  double pair_weight() const { return pair_weight_; }

 private:
  struct Batch {
    Tensor x_a, x_v;
    Labels labels;
    Indices rows;
  };
  struct Heads {
    Embeddings embeddings;
    Tensor logits_a, logits_v;
  };
  struct Supervision {
    Tensor class_q, trust, kappa, annotated, hidden_trust, annotated_count, other_count, pair_weight, anchor_weight;
  };
  struct Terms {
    Tensor total, label_a, label_v, soft_a, soft_v, cross_av, cross_va, kl, pair, dis;  // absent: not of this method
  };

  Batch gather(std::span<const int64_t> rows);
  Heads read(const ParameterView& parameters, const Batch& batch, const Mode& mode);
  Supervision supervise(const Batch& batch, const Heads& teacher);
  Tensor triplet(const Tensor& x, const Tensor& y, const Batch& batch, const Supervision& supervision);
  Terms add_up(const Batch& batch, const Heads& student, const Heads& teacher, const Supervision& supervision);
  bool any_term_applies(const Supervision& supervision) const;
  // The moved state of the last supervise() becomes the state.
  void commit_state();
  [[noreturn]] void refuse_loss(const Heads& student, const Heads& teacher) const;

  duet_context* context_;
  Model& model_;
  const Config& config_;
  const data::Split& train_;
  std::vector<int32_t> labels_;
  Evidence evidence_;
  int64_t classes_;
  bool psd_, triplet_, contrastive_;
  Tape tape_;
  std::unique_ptr<Optimizer> optimizer_;
  Schedule schedule_;
  int64_t steps_;

  // What changes from step to step or epoch to epoch, each a length-1 view for the kernels.
  int64_t step_ = -1, update_ = 0, epoch_ = 0;
  OwningTensor learning_rate_{1, 1}, ratio_{1, 1}, kl_weight_{1, 1}, soft_weight_{1, 1};
  // What a run keeps constant.
  OwningTensor scale_{1, 1}, teacher_scale_{1, 1}, label_weight_{1, 1}, cross_weight_{1, 1}, contrastive_weight_{1, 1}, dis_weight_{1, 1};
  OwningTensor gradient_share_a_{1, 1}, gradient_share_v_{1, 1};
  OwningTensor prior_, no_logits_;
  // The state of METHOD.md 6.4, and where supervise() writes it as moved: a step that is dropped leaves the state as it was.
  OwningTensor predicted_, concord_{1, 1}, next_predicted_, next_concord_{1, 1};
  double pair_weight_ = 0;
  Terms terms_;
};

}  // namespace duet
