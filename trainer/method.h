// One training step, METHOD.md section 6: the student and the teacher read a batch, the supervision is decided, the
// method's loss terms are added up, the optimizer moves the student and the moving average follows. `label`, `triplet`,
// `contrastive` and `psd` differ in their terms.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "runtime/device.h"
#include "runtime/ops.h"
#include "runtime/optimizer.h"
#include "runtime/schedule.h"
#include "trainer/evidence.h"
#include "trainer/losses.h"
#include "trainer/method_mail.h"
#include "trainer/model.h"
#include "trainer/phase_times.h"
#include "trainer/ranked_batch.h"

namespace duet {

// METHOD.md 6.3, of epoch e = 0.. : the annotated ratio r and the weight rho of what is distilled.
double annotated_ratio(const Config& config, int64_t epoch);
double distillation_ramp(const Config& config, int64_t epoch);

// What a step did. All losses are 0 where it changed nothing.
struct StepResult {
  int64_t step = 0;      // its number, from 1
  bool changed = false;  // false: no loss term applied; the step counts, but neither parameters nor state changed
  Losses losses;
  // After it: the state of METHOD.md 6.4 that psd alone moves and uses, and w of 6.10 in the last step that changed
  // something (0 before).
  double concord = 0, pair_weight = 0;
};

// What a run has come to beside its parameters: steps begun, updates made, the state of METHOD.md 6.4, and, of the last
// step that changed something, w of 6.10 and the learning rate.
struct TrainingState {
  int64_t steps = 0, updates = 0;
  std::vector<float> frequencies;
  float concord = 0;
  double pair_weight = 0, learning_rate = 0;
};

// A loss, a weight, a state or an embedding of a run became NaN or infinite.
class NotFinite : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// A step is a sequence of kernels and nothing else: no number of it is looked at on the host before the step is done.
// On a device it is captured once for each number of rows, and replayed. What changes from step to step lies in memory
// that both sides reach (kernels/step/step.h).
class TrainingStep {
 public:
  // Steps that may be under way.
  static constexpr int64_t kSlots = 4;

  // labels: those of train that the run may see, -1 for the others. steps: of the whole schedule. most_rows: of a
  // batch. evidence: of METHOD.md 6.9; psd alone reads it. device, model and train are borrowed; what a step reads of
  // train lies in the device's memory, or is sent there batch by batch. ranks: those that take every step together,
  // each with a model, a split and labels like the others', on the CPU; null: this process alone. Borrowed.
  TrainingStep(Device& device, Model& model, const data::Split& train, std::span<const int32_t> labels,
               const Evidence& evidence, int64_t steps, int64_t most_rows, Ranks* ranks = nullptr);
  ~TrainingStep();

  // From here on steps are timed phase by phase; times is borrowed. null: no longer.
  void set_times(PhaseTimes* times) { times_ = times; }

  void start_epoch(int64_t epoch);
  // Puts one step on these rows of train on its way. At most kSlots that finish() has not seen. On the CPU a step is
  // done here, and an index or a label out of range is thrown here; where it throws, no step is under way.
  void start(std::span<const int64_t> rows);
  int64_t unfinished() const { return begun_ - finished_; }
  // Waits for the oldest step under way. Throws NotFinite, naming the step, what is not finite, and rows of train,
  // where its loss is not, and Error where an index or a label was out of range; then neither it nor any step after it
  // changed anything.
  StepResult finish();
  // The two together; whether the step changed anything.
  bool run(std::span<const int64_t> rows);
  // Throws NotFinite, naming the step and the first value, where the steps so far left something in the parameters or
  // in the state of METHOD.md 6.4 that is NaN or infinite. No step is under way.
  void require_finite() const;

  // Of the graph of a batch of so many rows; nothing where there is none: on the CPU, and before the first such batch.
  struct GraphShape {
    int64_t nodes = 0, longest_path = 0;
  };
  GraphShape graph_shape(int64_t rows) const;

  // No step is under way. A step after set_state() has the bits of one in the run that state() was taken from, where
  // the model's values, moments and moving average are that run's too.
  TrainingState state() const;
  void set_state(const TrainingState& state);

  // What the last finish() gave, and the learning rate of the last step that changed something.
  const StepResult& last() const { return last_; }
  const Losses& losses() const { return last_.losses; }
  double learning_rate() const { return last_rate_; }
  double concord() const { return last_.concord; }
  double pair_weight() const { return last_.pair_weight; }
  // u of METHOD.md 6.4, a number a class. No step is under way.
  bool has_state() const { return psd_; }
  std::vector<float> class_frequencies() const { return predicted_.read(); }

 private:
  struct Batch {
    std::span<const BatchPart> parts;      // those that are read here: without ranks one, all rows
    std::span<Tensor> x_a, x_v;            // of each part
    std::span<Tensor> logits_a, logits_v;  // the student's of each part, where there are ranks
    Labels labels, groups;                 // of all rows; groups: no data where the split has none
    Indices rows;
  };
  struct Heads {
    ops::Head a, v;
  };
  struct Supervision {
    Tensor class_q, trust, kappa, annotated, hidden_trust, annotated_count, other_count, pair_weight, anchor_weight;
  };
  struct Terms {
    Tensor total;
    std::array<Tensor, kMostReported> reported;  // absent: not of this method
    // Any of them makes the step one that changes something.
    std::array<duet_step_reason, DUET_STEP_MOST_REASONS> reasons;
    int64_t reason_count = 0;
  };
  struct Forward {
    Heads student, teacher;
    Supervision supervision;
    Terms terms;
  };
  struct DestroyGraph {
    void operator()(duet_graph* graph) const { duet_graph_destroy(graph); }
  };
  struct DestroyEvent {
    void operator()(duet_event* event) const { duet_event_destroy(event); }
  };
  using Graph = std::unique_ptr<duet_graph, DestroyGraph>;
  // Leaves a step that failed behind, with those that came after it: at its end none is under way, and a new one may be
  // started.
  class Recovery {
   public:
    explicit Recovery(TrainingStep& step) : step_(step) {}
    ~Recovery();

   private:
    TrainingStep& step_;
  };

  // A batch of so many rows, whose mail is written.
  void put_on_its_way(int64_t rows, duet_event* done);
  // Everything from the mail to the loss, and the whole step.
  Forward forward(int64_t rows);
  void record(int64_t rows);
  Graph capture(int64_t rows);

  // Where the split does not lie on the device: sends these rows of it for a slot. The numbers of a batch's rows, and
  // where they are gathered from.
  void send(std::span<const int64_t> rows, int64_t slot);
  int64_t mail_rows() const { return resident_ ? most_rows_ : 2 * most_rows_; }
  Indices rows_of_batch(int64_t rows) const { return {indices_.data(), rows}; }
  Indices places_of_batch(int64_t rows) const { return {indices_.data() + (resident_ ? 0 : rows), rows}; }

  void end_phase(const char* name);
  void begin(int64_t rows);
  Batch gather(int64_t rows);
  Labels gather(const DeviceArray<int32_t>& from, int64_t rows);
  void read(const Batch& batch, Heads& student, Heads& teacher);
  void read_parts(const Batch& batch, Heads& student, Heads& teacher);
  Mode training_mode(int64_t first_row) const;
  Heads classify(const ParameterView& parameters, const Tensor& a, const Tensor& v);
  std::pair<Tensor, Tensor> cross_entropies(const Batch& batch, const Heads& student, const Tensor& class_q);
  Supervision supervise(const Batch& batch, const Heads& teacher);
  Tensor triplet(const Tensor& x, const Tensor& y, const Batch& batch, const Supervision& supervision);
  Tensor distillation(const Heads& student, const Heads& teacher, const Tensor& scale, const Batch& batch,
                      const Supervision& supervision);
  Tensor contrastive(const Tensor& a, const Tensor& v, const Tensor& scale, const Batch& batch,
                     const Supervision& supervision);
  Terms add_up(const Batch& batch, const Heads& student, const Heads& teacher, const Supervision& supervision);
  void decide(const Supervision& supervision, const Terms& terms);
  [[noreturn]] void refuse_loss(int64_t step);
  std::string rows_words(int64_t slot, const std::vector<int64_t>& places) const;

  duet_context* context() const { return device_.step_context(); }
  // What labels are numbers in; null where each is a class.
  duet_const_matrix label_sets() const { return several_ ? train_.sets.view(label_sets_.data()) : duet_const_matrix{}; }
  Tensor mail_value(int64_t number) const { return values_.tensor().row_part(number, 1); }
  Tensor constant(int64_t number) const { return constants_.tensor().row_part(number, 1); }

  Device& device_;
  Model& model_;
  const Config& config_;
  Evidence evidence_;
  int64_t classes_;
  // A row may have several labels: labels are numbers in label_sets_. Pairs of rows whose classes are known then agree
  // where they share one (METHOD.md 2).
  bool several_;
  bool psd_, triplet_, contrastive_;
  bool labelled_ = false;              // the run may see a label
  std::optional<RankedBatch> ranked_;  // where there are several ranks
  BatchPart whole_ = {};               // the part of a batch, where there are none
  Tape tape_;
  std::unique_ptr<Optimizer> optimizer_;
  Schedule schedule_;
  int64_t steps_, most_rows_;
  int64_t begun_ = 0, finished_ = 0, epoch_ = 0;
  std::array<int64_t, kSlots> rows_of_ = {};  // the rows of each slot's batch

  // Where a batch's rows are gathered from: the training split, on the CPU where it lies; or, where that is too large
  // for the device, what was sent of it for each slot.
  const data::Split& train_;
  bool resident_;
  std::array<Tensor, data::kModalities> features_;
  std::array<OwningTensor, data::kModalities> on_device_;
  std::array<std::optional<PinnedArray<float>>, data::kModalities> sent_;
  std::unique_ptr<duet_event, DestroyEvent> arrived_;
  DeviceArray<int32_t> labels_, groups_, label_sets_;

  // The mail of kernels/step/step.h, in memory that both sides reach, and what a step has taken of it.
  PinnedArray<float> mail_values_;
  PinnedArray<int64_t> mail_integers_, mail_indices_;
  OwningTensor values_;
  DeviceArray<int64_t> integers_, indices_;
  // Steps begun, updates made, the step that failed.
  DeviceArray<int64_t> counters_;
  DeviceArray<int32_t> apply_;
  PinnedArray<int64_t> verdicts_;
  PinnedArray<float> reported_;
  PinnedArray<duet_fault> faults_;
  std::vector<std::unique_ptr<duet_event, DestroyEvent>> done_;  // one a slot
  std::map<int64_t, Graph> graphs_;                              // by the rows of a batch

  OwningTensor constants_, prior_, no_logits_;
  // The state of METHOD.md 6.4, and where supervise() writes it as moved: a step that changes nothing leaves the state
  // as it was.
  OwningTensor predicted_, concord_, next_predicted_, next_concord_;
  std::vector<ops::LossTerm> added_;  // what add_up() adds up; kept, so that a step allocates nothing
  PhaseTimes* times_ = nullptr;
  StepResult last_;
  double last_rate_ = 0;
};

}  // namespace duet
