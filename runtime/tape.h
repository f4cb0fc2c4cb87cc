// The tape: what the operations of a step were, so that their gradients can be run backward. It also holds the step's
// memory.
//
//   Tape tape(context);
//   for (each step) {
//     tape.reset();                        // forgets the last step; its memory serves this one
//     Tensor loss = ops::...(tape, ...);   // every operation records itself where an input requires a gradient
//     tape.backward(loss);                 // adds into the gradients of whatever the loss came from
//   }
//
// Nodes are plain structs in an arena: a pointer to a function and the operation's inputs. A node does not capture its
// own output; the tape hands it over. Every output of a recorded operation gets its gradient when it is recorded;
// backward() clears all of them at once before it begins, so that any number of users can add to one.
#pragma once

#include <deque>
#include <initializer_list>
#include <memory>
#include <span>
#include <type_traits>
#include <vector>

#include "runtime/arena.h"
#include "runtime/tensor.h"

namespace duet {

class Tape {
 public:
  // Borrows the contexts; the tape and they belong to one thread at a time. branches: contexts of the same device on
  // streams of their own, the last of them for aside(), the others for side_by_side(); none: one after another.
  explicit Tape(duet_context* context, std::span<duet_context* const> branches = {});
  Tape(const Tape&) = delete;
  Tape& operator=(const Tape&) = delete;

  // That of the branch that is under way.
  duet_context* context() const { return branches_[overlapping_ ? branch_ : 0].context; }

  // Forgets nodes, outputs and whatever else came from this tape's memory since the last reset. Allocates nothing and
  // frees nothing.
  void reset();
  // The same, and puts the gradients of the next recording side by side, so that clearing them is one fill. May
  // allocate.
  void reset_and_join();
  // Whether side_by_side() and aside() use the branches' streams; at first they do not. While a step grows its memory,
  // which comes from the first context's stream, they must not.
  void set_overlapping(bool overlapping) { overlapping_ = overlapping; }

  // d loss / d everything recorded since reset(), added into the gradients of leaves; loss is a scalar that requires a
  // gradient.
  void backward(const Tensor& loss);

  // Runs the parts, which read what there was before and write what is their own, side by side. passes: which of a
  // part's passes may overlap the others'. Where backward passes do, no two parts add into the gradient of one tensor.
  // A part within a part is just run.
  enum class Passes { forward, both };
  template <class... Parts>
  void side_by_side(Passes passes, const Parts&... parts) {
    if (branches_.size() < 3 || inside_) return (parts(), ...);
    const int count = static_cast<int>(sizeof...(parts));
    begin_parts(passes, count);
    int part = 0;
    (run_part(passes, part++, parts), ...);
    end_parts(passes, count);
  }

  // Runs what nobody reads before backward() beside everything that comes in between, such as clearing the gradients of
  // parameters. Within a part it is just run.
  template <class Work>
  void aside(const Work& work) {
    if (branches_.size() < 2 || inside_) return work();
    begin_aside();
    work();
    branch_ = 0;
  }

  // A tensor of this step, uninitialised; it has no gradient until it is recorded.
  Tensor make(int64_t rows, int64_t columns = 1);
  // A scalar, kept for as long as the tape: for the few numbers that formulas hold.
  Tensor constant(float value);
  // Uninitialised memory of this step: in the context's memory, for kernels; on the host, for operations' lists of
  // views.
  template <class T>
  T* array(int64_t count) {
    return values_.array<T>(count);
  }
  template <class T>
  T* host_array(int64_t count) {
    return nodes_.array<T>(count);
  }

  // Scratch of a kernel call, valid until the next request. The second form asks the operation's own ..._workspace call
  // first.
  duet_workspace workspace(size_t bytes) { return {branches_[branch_].workspace.request(bytes), bytes}; }
  template <class Inputs>
  duet_workspace workspace(duet_status (*ask)(const duet_context*, const Inputs*, size_t*), const Inputs& inputs) {
    size_t bytes = 0;
    check(ask(context(), &inputs, &bytes));
    return workspace(bytes);
  }

  // For operations: output came from inputs, and backward(tape, output) adds output.grad's share into their gradients.
  // Returns output, with a gradient where one is needed; otherwise nothing is recorded. backward is copied into the
  // arena: it holds tensors and numbers by value.
  template <class Backward>
  Tensor record(Tensor output, std::initializer_list<Tensor> inputs, const Backward& backward) {
    static_assert(std::is_trivially_destructible_v<Backward>, "the arena runs no destructors");
    if (!needs_gradient(inputs)) return output;
    output = with_gradient(output);
    last_ = nodes_.make(Recorded<Backward>{{last_, &Recorded<Backward>::run, output, recorded_branch_}, backward});
    return output;
  }

  bool recording() const { return recording_; }
  size_t memory_bytes() const;

 private:
  friend class NoGradient;

  struct Node {
    const Node* previous;
    void (*run)(const Node&, Tape&);
    Tensor output;
    size_t branch;  // that its backward pass runs in
  };
  template <class Backward>
  struct Recorded : Node {
    Backward backward;
    static void run(const Node& node, Tape& tape) { static_cast<const Recorded&>(node).backward(tape, node.output); }
  };
  // Where branches part or meet: what backward does there is the opposite.
  struct Crossing : Node {
    int count;
    bool meets;
    static void run(const Node& node, Tape& tape);
  };
  struct Branch {
    duet_context* context;
    GrowingBuffer workspace;
  };
  struct DestroyEvent {
    void operator()(duet_event* event) const { duet_event_destroy(event); }
  };

  static void check(duet_status status);
  bool needs_gradient(std::initializer_list<Tensor> inputs) const;
  Tensor with_gradient(Tensor output);

  void begin_parts(Passes passes, int count);
  template <class Part>
  void run_part(Passes passes, int part, const Part& run) {
    branch_ = static_cast<size_t>(part) % (branches_.size() - 1);
    recorded_branch_ = passes == Passes::both ? branch_ : 0;
    run();
    branch_ = recorded_branch_ = 0;
  }
  void end_parts(Passes passes, int count);
  // The branches of count parts wait for the first context's stream, or it for them.
  void part_streams(int count);
  void meet_streams(int count);
  void record_crossing(int count, bool meets);
  void begin_aside();
  void end_aside();
  duet_event* next_event();

  duet_context* context_;
  std::deque<Branch> branches_;  // the first is the context's own
  size_t branch_ = 0, recorded_branch_ = 0;
  bool inside_ = false, overlapping_ = false, aside_ = false;
  Arena values_, gradients_;  // what kernels read and write: the context's memory
  Arena nodes_;               // the recording: the host's
  const Node* last_ = nullptr;
  bool recording_ = true;
  struct Constant {
    float value;
    OwningTensor tensor;
  };
  std::vector<Constant> constants_;
  std::vector<std::unique_ptr<duet_event, DestroyEvent>> events_;
  size_t events_used_ = 0;
};

// While it lives its tape records nothing: the teacher and evaluation.
class NoGradient {
 public:
  explicit NoGradient(Tape& tape) : tape_(tape), before_(tape.recording_) { tape.recording_ = false; }
  ~NoGradient() { tape_.recording_ = before_; }
  NoGradient(const NoGradient&) = delete;
  NoGradient& operator=(const NoGradient&) = delete;

 private:
  Tape& tape_;
  bool before_;
};

}  // namespace duet
