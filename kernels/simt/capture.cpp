#include "kernels/simt/capture.h"

#include <algorithm>
#include <random>

#include "kernels/simt/machine.h"

namespace duet::simt {
namespace {

// Of this thread, those that are not over.
std::vector<std::weak_ptr<Capture>>& captures() {
  thread_local std::vector<std::weak_ptr<Capture>> begun;
  std::erase_if(begun, [](const std::weak_ptr<Capture>& capture) {
    const std::shared_ptr<Capture> held = capture.lock();
    return !held || held->over;
  });
  return begun;
}

}  // namespace

void Front::join(const Front& other) {
  for (const int64_t node : other.nodes)
    if (std::find(nodes.begin(), nodes.end(), node) == nodes.end()) nodes.push_back(node);
  known.resize(std::max(known.size(), other.known.size()));
  for (size_t i = 0; i < other.known.size(); ++i) known[i] = std::max(known[i], other.known[i]);
}

bool captures_here() { return !captures().empty(); }
void break_captures_here(const std::string& by) {
  for (const std::weak_ptr<Capture>& capture : captures()) capture.lock()->broken = by;
}

void EmulatedStream::begin() {
  const auto begun = std::make_shared<Capture>();
  captures().push_back(begun);
  enter(begun, {});
}

// That it has begun is what a branch must let another one know first.
void EmulatedStream::enter(std::shared_ptr<Capture> joined, const Front& from) {
  capture = std::move(joined);
  branch = capture->done.size();
  capture->done.push_back(1);
  front = from;
  front.known.resize(branch + 1);
  front.known[branch] = 1;
}

void EmulatedStream::add(Task task, std::function<void()> work) {
  const auto number = static_cast<int64_t>(capture->nodes.size());
  capture->nodes.push_back({task, std::move(work), std::move(front.nodes)});
  front.nodes = {number};
  front.known[branch] = ++capture->done[branch];
}

Nodes EmulatedStream::finish() {
  const auto refuse = [](const std::string& why) {
    throw Error(DUET_STATUS_CUDA_ERROR, text("ending a capture: ", why));
  };
  if (!captured()) refuse("none was begun");
  if (branch != 0) refuse("it was begun on another stream");
  if (capture->thread != std::this_thread::get_id()) refuse("it was begun by another thread");
  const std::shared_ptr<Capture> ended = std::move(capture);
  ended->over = true;
  if (!ended->broken.empty()) refuse(ended->broken);
  front.known.resize(ended->done.size());
  if (front.known != ended->done)
    refuse("work of another stream was not joined: this one has not waited for an event after it");
  return std::move(ended->nodes);
}

void replay(const Nodes& nodes) {
  const Schedule chosen = schedule();
  std::mt19937_64 random(chosen.seed * 0x9e3779b97f4a7c15u + ++machine.replays);
  std::vector<size_t> missing(nodes.size()), ready;
  std::vector<std::vector<size_t>> followers(nodes.size());
  for (size_t i = 0; i < nodes.size(); ++i) {
    missing[i] = nodes[i].after.size();
    if (missing[i] == 0) ready.push_back(i);
    for (const int64_t before : nodes[i].after) followers[static_cast<size_t>(before)].push_back(i);
  }
  while (!ready.empty()) {
    auto next = chosen.order == Order::forward ? std::min_element(ready.begin(), ready.end())
                                               : std::max_element(ready.begin(), ready.end());
    if (chosen.order == Order::random) next = ready.begin() + static_cast<long>(random() % ready.size());
    const size_t node = *next;
    ready.erase(next);
    nodes[node].work();
    for (const size_t follower : followers[node])
      if (--missing[follower] == 0) ready.push_back(follower);
  }
}

}  // namespace duet::simt
