// The tape: what the operations of a step were, so that their gradients can be run backward. It also holds the step's memory.
//
//   Tape tape(context);
//   for (each step) {
//     tape.reset();                                   // forgets the last step; its memory serves this one
//     Tensor loss = ops::...(tape, ...);              // every operation records itself where an input requires a gradient
//     tape.backward(loss);                            // adds into the gradients of whatever the loss came from
//   }
//
// Nodes are plain structs in an arena: a pointer to a function and the operation's inputs. A node does not capture its own output; the tape hands
// it over. Every output of a recorded operation gets its gradient when it is recorded, zero, so that any number of users can add to it.
#pragma once

#include <initializer_list>
#include <type_traits>

#include "runtime/arena.h"
#include "runtime/tensor.h"

namespace duet {

class Tape {
 public:
  explicit Tape(duet_context* context);  // borrows it; the tape and the context belong to one thread at a time
  Tape(const Tape&) = delete;
  Tape& operator=(const Tape&) = delete;

  duet_context* context() const { return context_; }

  // Forgets nodes, outputs and whatever else came from this tape's memory since the last reset. Allocates nothing and frees nothing.
  void reset();

  // d loss / d everything recorded since reset(), added into the gradients; loss is a scalar that requires a gradient. Once a recording:
  // gradients of intermediate tensors are not cleared in between.
  void backward(const Tensor& loss);

  // A tensor of this step, uninitialised; it has no gradient until it is recorded.
  Tensor make(int64_t rows, int64_t columns = 1);
  Tensor constant(float value);  // a scalar of this step
  // Uninitialised memory of this step: in the context's memory, for kernels; on the host, for operations' lists of views.
  template <class T>
  T* array(int64_t count) {
    return values_.array<T>(count);
  }
  template <class T>
  T* host_array(int64_t count) {
    return nodes_.array<T>(count);
  }

  // Scratch of a kernel call, valid until the next request. The second form asks the operation's own ..._workspace call first.
  duet_workspace workspace(size_t bytes) { return {workspace_.request(bytes), bytes}; }
  template <class Inputs>
  duet_workspace workspace(duet_status (*ask)(const duet_context*, const Inputs*, size_t*), const Inputs& inputs) {
    size_t bytes = 0;
    check(ask(context_, &inputs, &bytes));
    return workspace(bytes);
  }

  // For operations: output came from inputs, and backward(tape, output) adds output.grad's share into their gradients. Returns output, with a
  // gradient where one is needed; otherwise nothing is recorded. backward is copied into the arena: it holds tensors and numbers by value.
  template <class Backward>
  Tensor record(Tensor output, std::initializer_list<Tensor> inputs, const Backward& backward) {
    static_assert(std::is_trivially_destructible_v<Backward>, "the arena runs no destructors");
    if (!needs_gradient(inputs)) return output;
    output = with_gradient(output);
    last_ = nodes_.make(Recorded<Backward>{{last_, &Recorded<Backward>::run, output}, backward});
    return output;
  }

  bool recording() const { return recording_; }
  size_t memory_bytes() const { return values_.capacity() + nodes_.capacity() + workspace_.capacity(); }

 private:
  friend class NoGradient;

  struct Node {
    const Node* previous;
    void (*run)(const Node&, Tape&);
    Tensor output;
  };
  template <class Backward>
  struct Recorded : Node {
    Backward backward;
    static void run(const Node& node, Tape& tape) { static_cast<const Recorded&>(node).backward(tape, node.output); }
  };

  static void check(duet_status status);
  bool needs_gradient(std::initializer_list<Tensor> inputs) const;
  Tensor with_gradient(Tensor output);

  duet_context* context_;
  Arena values_;  // what kernels read and write: the context's memory
  Arena nodes_;   // the recording: the host's
  GrowingBuffer workspace_;
  const Node* last_ = nullptr;
  bool recording_ = true;
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
