#include "runtime/tape.h"

#include <algorithm>

#include "kernels/core/error.h"

namespace duet {

Tape::Tape(duet_context* context, std::span<duet_context* const> branches)
    : context_(context),
      values_(Arena::kFirstChunk, context),
      gradients_(Arena::kFirstChunk, context),
      nodes_(size_t{1} << 14) {
  require(context != nullptr, "context: null");
  // Workspaces are taken from the first context's stream, which every branch has waited for.
  branches_.push_back({context, GrowingBuffer(context)});
  for (duet_context* branch : branches) branches_.push_back({branch, GrowingBuffer(context)});
  constant(1);  // backward() reads it beside what has waited for no later copy
}

void Tape::reset() {
  values_.reset();
  gradients_.reset();
  nodes_.reset();
  last_ = nullptr;
  events_used_ = 0;
  branch_ = recorded_branch_ = 0;  // a part may have thrown
  inside_ = aside_ = false;
}

void Tape::reset_and_join() {
  reset();
  gradients_.join();
}

void Tape::backward(const Tensor& loss) {
  require(loss.size() == 1, "backward: expected a scalar, got ", loss.rows, " x ", loss.columns);
  require(loss.requires_grad(), "backward: the loss depends on nothing that requires a gradient");
  const float* const one = constant(1).data;
  aside([&] {
    gradients_.clear(context());
    copy_bytes(context(), loss.grad, one, sizeof(float));
  });
  end_aside();
  for (const Node* node = last_; node; node = node->previous) {
    branch_ = node->branch;
    node->run(*node, *this);
  }
  branch_ = 0;
}

Tensor Tape::make(int64_t rows, int64_t columns) { return Tensor::view(array<float>(rows * columns), rows, columns); }

Tensor Tape::constant(float value) {
  for (const Constant& constant : constants_)
    if (constant.value == value) return constant.tensor;
  constants_.push_back({value, OwningTensor(context_, 1, 1, std::span(&value, 1))});
  return constants_.back().tensor;
}

size_t Tape::memory_bytes() const {
  size_t bytes = values_.capacity() + gradients_.capacity() + nodes_.capacity();
  for (const Branch& branch : branches_) bytes += branch.workspace.capacity();
  return bytes;
}

void Tape::check(duet_status status) { succeed(status); }

bool Tape::needs_gradient(std::initializer_list<Tensor> inputs) const {
  return recording_ &&
         std::any_of(inputs.begin(), inputs.end(), [](const Tensor& input) { return input.requires_grad(); });
}

Tensor Tape::with_gradient(Tensor output) {
  require(output.stride == output.columns, "record: expected an output without padding");
  output.grad = gradients_.array<float>(output.size());
  return output;
}

void Tape::begin_parts(Passes passes, int count) {
  inside_ = true;
  if (passes == Passes::both) record_crossing(count, false);
  part_streams(count);
}

void Tape::end_parts(Passes passes, int count) {
  meet_streams(count);
  if (passes == Passes::both) record_crossing(count, true);
  inside_ = false;
}

void Tape::record_crossing(int count, bool meets) {
  if (recording_) last_ = nodes_.make(Crossing{{last_, &Crossing::run, {}, 0}, count, meets});
}

void Tape::Crossing::run(const Node& node, Tape& tape) {
  const auto& crossing = static_cast<const Crossing&>(node);
  crossing.meets ? tape.part_streams(crossing.count) : tape.meet_streams(crossing.count);
}

void Tape::part_streams(int count) {
  if (!overlapping_) return;
  duet_event* const here = next_event();
  check(duet_event_record(context_, here));
  for (size_t k = 1; k + 1 < branches_.size() && k < static_cast<size_t>(count); ++k)
    check(duet_event_await(branches_[k].context, here));
}

void Tape::meet_streams(int count) {
  if (!overlapping_) return;
  for (size_t k = 1; k + 1 < branches_.size() && k < static_cast<size_t>(count); ++k) {
    duet_event* const there = next_event();
    check(duet_event_record(branches_[k].context, there));
    check(duet_event_await(context_, there));
  }
}

void Tape::begin_aside() {
  branch_ = branches_.size() - 1;
  if (!overlapping_ || aside_) return;
  duet_event* const here = next_event();
  check(duet_event_record(context_, here));
  check(duet_event_await(branches_[branch_].context, here));
  aside_ = true;
}

void Tape::end_aside() {
  if (!aside_) return;
  duet_event* const there = next_event();
  check(duet_event_record(branches_.back().context, there));
  check(duet_event_await(context_, there));
  aside_ = false;
}

duet_event* Tape::next_event() {
  if (events_used_ == events_.size()) {
    duet_event* made = nullptr;
    check(duet_event_create(context_, &made));
    events_.emplace_back(made);
  }
  return events_[events_used_++].get();
}

}  // namespace duet
