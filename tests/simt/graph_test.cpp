// Captured graphs: branches of several streams, what they depend on, their shape, and replays in the order of every
// schedule.
#include <doctest/doctest.h>

#include <set>
#include <string>
#include <thread>
#include <vector>

#include "kernels/cuda/device.h"
#include "kernels/cuda/graph_shape.h"
#include "kernels/cuda/launch.h"
#include "tests/simt/schedules.h"

namespace duet::cuda {
namespace {

__global__ void set(float* x, float to) { x[threadIdx.x] = to; }
__global__ void add(float* x, float by) { x[threadIdx.x] += by; }
__global__ void sum(float* out, const float* a, const float* b, float by) {
  out[threadIdx.x] = a[threadIdx.x] + b[threadIdx.x] + by;
}

constexpr size_t kCount = 32, kBytes = kCount * sizeof(float);

class Buffer {
 public:
  Buffer() : data_(static_cast<float*>(allocate(kBytes))) { fill(data_, 0, kBytes, nullptr); }
  ~Buffer() { release(data_); }
  Buffer(const Buffer&) = delete;
  operator float*() const { return data_; }
  float last() const {
    float value = 0;
    copy(&value, data_ + kCount - 1, sizeof value, nullptr);
    return value;
  }

 private:
  float* data_;
};

std::string refusal_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    CHECK(error.status() == DUET_STATUS_CUDA_ERROR);
    return error.what();
  }
  return "nothing was refused";
}

// x = 1, then a = 2 x + 1 on one stream beside b = 2 x + 2 on another, then out = a + b.
struct Diamond {
  Stream origin, side;
  Event before, forked, joined;
  Buffer x, a, b, out;

  enum class Flaw { none, fork_too_early, not_joined };
  Graph capture(Flaw flaw) {
    begin_capture(origin.get());
    before.record(origin.get());
    DUET_LAUNCH(set, 1, kCount, 0, origin.get())(x, 1.0f);
    forked.record(origin.get());
    (flaw == Flaw::fork_too_early ? before : forked).wait(side.get());
    DUET_LAUNCH(sum, 1, kCount, 0, origin.get())(a, x, x, 1.0f);
    DUET_LAUNCH(sum, 1, kCount, 0, side.get())(b, x, x, 2.0f);
    joined.record(side.get());
    if (flaw != Flaw::not_joined) joined.wait(origin.get());
    DUET_LAUNCH(sum, 1, kCount, 0, origin.get())(out, a, b, 0.0f);
    return end_capture(origin.get());
  }
  float replay(const Graph& graph) {
    for (float* const buffer : {&*x, &*a, &*b, &*out}) fill(buffer, 0, kBytes, nullptr);
    graph.replay(origin.get());
    synchronize(origin.get());
    return out.last();
  }
};

}  // namespace

TEST_CASE("a captured graph does nothing until it is replayed, then everything each time") {
  const Stream stream;
  const Buffer memory;
  begin_capture(stream.get());
  CHECK(capturing(stream.get()));
  float by = 1;
  DUET_LAUNCH(add, 1, kCount, 0, stream.get())(memory, by);
  by = 10;  // arguments are taken when the launch is recorded
  DUET_LAUNCH(add, 1, kCount, 0, stream.get())(memory, by);
  const Graph graph = end_capture(stream.get());
  CHECK(!capturing(stream.get()));
  CHECK(memory.last() == 0);
  graph.replay(stream.get());
  graph.replay(stream.get());
  synchronize(stream.get());
  CHECK(memory.last() == 22);
}

TEST_CASE("branches of a graph give one result in every schedule") {
  Diamond diamond;
  const Graph graph = diamond.capture(Diamond::Flaw::none);
  CHECK(!capturing(diamond.origin.get()));
  CHECK(!capturing(diamond.side.get()));
  simt::for_each_schedule([&] {
    for (int k = 0; k < 3; ++k) CHECK(diamond.replay(graph) == 3 + 4);
  });
}

TEST_CASE("a dependency that is missing shows as another result in some schedule") {
  Diamond diamond;
  const Graph graph = diamond.capture(Diamond::Flaw::fork_too_early);
  std::set<float> results;
  simt::for_each_schedule([&] { results.insert(diamond.replay(graph)); });
  CHECK(results == std::set<float>{3 + 2, 3 + 4});  // b of x before it was set, and after
}

TEST_CASE("a graph's shape: nodes as CUDA counts them, and the longest path") {
  Diamond diamond;
  GraphShape shape = diamond.capture(Diamond::Flaw::none).shape();
  CHECK(shape.nodes == 4);
  CHECK(shape.longest_path == 3);
  CHECK(shape.kernels == 4);
  CHECK(diamond.capture(Diamond::Flaw::fork_too_early).shape().longest_path == 3);  // of set, a, out

  const Stream stream;
  Buffer memory;
  float host[kCount];
  begin_capture(stream.get());
  shape = end_capture(stream.get()).shape();
  CHECK((shape.nodes == 0 && shape.longest_path == 0));
  begin_capture(stream.get());
  fill(memory, 0, kBytes, stream.get());
  fill(memory, 0, 0, stream.get());
  DUET_LAUNCH(add, 1, kCount, 0, stream.get())(memory, 1.0f);
  copy(host, memory, kBytes, stream.get());
  copy(host, memory, 0, stream.get());
  shape = end_capture(stream.get()).shape();
  CHECK((shape.nodes == 3 && shape.longest_path == 3 && shape.kernels == 1 && shape.copies == 1 && shape.fills == 1));
}

TEST_CASE("the longest path through edges in any order") {
  CHECK(longest_path(0, {}) == 0);
  CHECK(longest_path(3, {}) == 1);
  CHECK(longest_path(5, {{2, 1}, {4, 2}, {1, 0}, {3, 0}, {4, 3}}) == 4);
}

TEST_CASE("branches of branches join where any of them is waited for") {
  const Stream origin, side, third;
  Event forked, forked_again, third_done, side_done;
  const Buffer memory;
  begin_capture(origin.get());
  DUET_LAUNCH(add, 1, kCount, 0, origin.get())(memory, 1.0f);
  forked.record(origin.get());
  forked.wait(side.get());
  forked_again.record(side.get());
  forked_again.wait(third.get());
  CHECK(capturing(third.get()));
  DUET_LAUNCH(add, 1, kCount, 0, third.get())(memory, 1.0f);
  third_done.record(third.get());
  third_done.wait(side.get());
  DUET_LAUNCH(add, 1, kCount, 0, side.get())(memory, 1.0f);
  side_done.record(side.get());
  side_done.wait(origin.get());
  DUET_LAUNCH(add, 1, kCount, 0, origin.get())(memory, 1.0f);
  const Graph graph = end_capture(origin.get());
  CHECK(graph.shape().longest_path == 4);
  graph.replay(side.get());
  CHECK(memory.last() == 4);
}

TEST_CASE("a branch that is not joined is refused, and the streams are free again") {
  Diamond diamond;
  CHECK(refusal_of([&] { diamond.capture(Diamond::Flaw::not_joined); }) ==
        "ending a capture: work of another stream was not joined: this one has not waited for an event after it");
  CHECK(!capturing(diamond.origin.get()));
  CHECK(!capturing(diamond.side.get()));
  CHECK(diamond.replay(diamond.capture(Diamond::Flaw::none)) == 7);
  // Joined, and gone on after it; joined without work.
  begin_capture(diamond.origin.get());
  diamond.forked.record(diamond.origin.get());
  diamond.forked.wait(diamond.side.get());
  diamond.joined.record(diamond.side.get());
  diamond.joined.wait(diamond.origin.get());
  fill(diamond.x, 0, kBytes, diamond.side.get());
  CHECK(refusal_of([&] { end_capture(diamond.origin.get()); }).find("was not joined") != std::string::npos);
  begin_capture(diamond.origin.get());
  diamond.forked.record(diamond.origin.get());
  diamond.forked.wait(diamond.side.get());
  diamond.joined.record(diamond.side.get());
  diamond.joined.wait(diamond.origin.get());
  CHECK(end_capture(diamond.origin.get()).shape().nodes == 0);
}

TEST_CASE("what a capture does not allow is refused") {
  const Stream stream, joined, other;
  Event outside, inside, of_other;
  outside.record(other.get());
  CHECK(refusal_of([] { begin_capture(nullptr); }) == "beginning a capture: the default stream cannot be captured");
  CHECK(refusal_of([&] { end_capture(stream.get()); }) == "ending a capture: none was begun");
  CHECK(refusal_of([] { end_capture(nullptr); }) == "ending a capture: none was begun");
  begin_capture(stream.get());
  inside.record(stream.get());
  inside.wait(joined.get());
  for (void* const captured : {stream.get(), joined.get()}) {
    CHECK(refusal_of([&] { begin_capture(captured); }) == "beginning a capture: the stream is being captured");
    CHECK(refusal_of([&] { synchronize(captured); }) == "waiting for a stream: the stream is being captured");
    CHECK(refusal_of([&] { allocate(1, captured); }) == "allocating: the stream is being captured");
    CHECK(refusal_of([&] { release(nullptr, captured); }) == "releasing: the stream is being captured");
  }
  CHECK(refusal_of([&] { end_capture(joined.get()); }) == "ending a capture: it was begun on another stream");
  std::string of_another_thread;
  std::thread([&] {
    of_another_thread = refusal_of([&] { end_capture(stream.get()); });
    synchronize(other.get());  // another thread does what it likes
    release(allocate(1));
  }).join();
  CHECK(of_another_thread == "ending a capture: it was begun by another thread");
  CHECK(refusal_of([&] { outside.wait(stream.get()); }) ==
        "making a stream wait: the stream is being captured, and the event was not recorded in that capture");
  CHECK(refusal_of([&] { inside.wait(nullptr); }) == "making a stream wait: the default stream cannot be captured");
  CHECK(refusal_of([&] { inside.wait(); }) == "waiting for an event: the event was recorded in a capture");
  CHECK(refusal_of([&] { inside.done(); }) == "asking an event: the event was recorded in a capture");
  CHECK(refusal_of([&] { outside.done(); }) == "asking an event: this thread captures a stream");
  CHECK(refusal_of([&] { outside.wait(); }) == "waiting for an event: this thread captures a stream");
  CHECK(refusal_of([&] { synchronize(other.get()); }) == "waiting for a stream: this thread captures a stream");
  CHECK(refusal_of([] { synchronize_device(); }) == "waiting for the device: this thread captures a stream");
  for (void* (*const allocate_any)(size_t) :
       {static_cast<void* (*)(size_t)>(allocate), allocate_managed, allocate_pinned})
    CHECK(refusal_of([&] { allocate_any(1); }) == "allocating: this thread captures a stream");
  release(allocate(1, other.get()), other.get());  // through a stream that is not captured
  begin_capture(other.get());
  of_other.record(other.get());
  CHECK(refusal_of([&] { of_other.wait(stream.get()); }) ==
        "making a stream wait: stream and event are in two captures");
  end_capture(other.get());
  inside.record(joined.get());
  inside.wait(stream.get());
  const Graph graph = end_capture(stream.get());
  CHECK(refusal_of([&] { inside.wait(stream.get()); }) ==
        "making a stream wait: the event was recorded in a capture that is over");
  inside.record(stream.get());
  CHECK(inside.done());
  begin_capture(stream.get());
  CHECK(refusal_of([&] { graph.replay(stream.get()); }) == "replaying a graph: the stream is being captured");
  end_capture(stream.get());
  void* const memory = allocate(1);
  begin_capture(stream.get());
  release(memory);
  CHECK(refusal_of([&] { end_capture(stream.get()); }) == "ending a capture: memory was released meanwhile");
  CHECK(!capturing(stream.get()));
  {
    const Stream given_up;
    begin_capture(given_up.get());
  }
  synchronize_device();  // its capture went with it
}

}  // namespace duet::cuda
