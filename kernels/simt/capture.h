// Streams that are captured, the graph that comes of it, and its replay.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "kernels/simt/simt.h"

namespace duet::simt {

struct Node {
  Task task;
  std::function<void()> work;
  std::vector<int64_t> after;  // the nodes before it that it depends on
};
using Nodes = std::vector<Node>;

// What comes before the next thing on a stream, or before an event.
struct Front {
  std::vector<int64_t> nodes;
  std::vector<int64_t> known;  // of each branch, by its number, how many things done there
  void join(const Front& other);
};

struct Capture {
  Nodes nodes;
  std::vector<int64_t> done;                            // on each branch; the origin's is 0
  std::thread::id thread = std::this_thread::get_id();  // that began it
  bool over = false;
  std::string broken;  // by what, where the graph cannot be made
};

struct EmulatedStream {
  std::shared_ptr<Capture> capture;
  size_t branch = 0;
  Front front;

  bool captured() const { return capture && !capture->over; }
  void begin();
  void enter(std::shared_ptr<Capture> joined, const Front& from);  // as a new branch
  void add(Task task, std::function<void()> work);
  // Throws Error where the capture is not this stream's or not this thread's, a branch was not joined, or the capture
  // is broken.
  Nodes finish();
};

struct EmulatedEvent {
  bool recorded = false;
  std::chrono::steady_clock::time_point at;
  std::shared_ptr<Capture> capture;  // where it was recorded in one
  Front front;
};

// Whether the calling thread captures: then it must neither wait nor take memory but through a stream.
bool captures_here();
void break_captures_here(const std::string& by);

// The nodes in a topological order that the schedule chooses: as recorded, the last ready one first, or a ready one
// drawn at random.
void replay(const Nodes& nodes);

}  // namespace duet::simt
