// Who runs next, and what threads wait for: barriers, warp collectives, polling.
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <mutex>
#include <numeric>
#include <sstream>
#include <utility>

#include "kernels/simt/machine.h"

DUET_SIMT_UNCHECKED_BEGIN
namespace duet::simt {

Machine machine;

namespace {

Machine& m = machine;
uint64_t launch_begins, launch_ends, fences;  // addresses for the race checker, to which 8 bytes are one

void make_ready(Warp& warp, uint32_t lanes) {
  warp.ready |= lanes;
  m.ready_warps |= lanes ? 1u << (&warp - m.warps) : 0;
}

int any_of(uint32_t bits) {
  const int turn = static_cast<int>(next_random() >> 32 & 31);
  const uint32_t turned = bits >> turn | bits << (-turn & 31);
  return (__builtin_ctz(turned) + turn) & 31;
}

int pick_warp(uint32_t ready) {
  const int current = m.current_warp;
  switch (m.schedule.order) {
    case Order::forward: {
      const uint32_t from_here = ready >> current << current;
      return __builtin_ctz(from_here ? from_here : ready);
    }
    case Order::reverse: {
      const uint32_t to_here = ready << (31 - current) >> (31 - current);
      return 31 - __builtin_clz(to_here ? to_here : ready);
    }
    case Order::random: break;
  }
  const uint32_t others = ready & ~(1u << m.starved_warp), candidates = others ? others : ready;
  return (candidates >> current & 1) && (next_random() & m.stickiness) ? current : any_of(candidates);
}

Thread* pick() {
  if (!m.ready_warps)
    for (int i = 0; i < m.warp_count; ++i) make_ready(m.warps[i], std::exchange(m.warps[i].polling, 0));
  if (!m.ready_warps) return nullptr;
  const int number = m.current_warp = pick_warp(m.ready_warps);
  Warp& warp = m.warps[number];
  const int lane = m.schedule.order == Order::forward   ? __builtin_ctz(warp.ready)
                   : m.schedule.order == Order::reverse ? 31 - __builtin_clz(warp.ready)
                                                        : any_of(warp.ready);
  warp.ready &= ~(1u << lane);
  if (!warp.ready) m.ready_warps &= ~(1u << number);
  return &m.threads[number * kLanes + lane];
}

void switch_to(Thread& to) {
  if (&to == m.self) return;
  Thread& from = *std::exchange(m.self, &to);
  threadIdx = to.index;
  switch_fiber(from, to);
}

[[noreturn]] void report_deadlock() {
  std::ostringstream out;
  int shown = 0;
  const Thread* last = nullptr;
  for (int i = 0; i < m.thread_count && shown < 12; ++i) {
    const Thread& thread = m.threads[i];
    if (!(thread.warp->alive >> thread.lane & 1) || !thread.waits_for) continue;
    if (last && last->waits_for == thread.waits_for && last->at.line == thread.at.line && last->mask == thread.mask) continue;
    out << "\n  from thread " << i << " on: " << thread.waits_for << " at " << thread.at;
    if (thread.mask) out << ", mask " << std::hex << thread.mask << std::dec;
    last = &thread;
    ++shown;
  }
  record_finding(text("deadlock, ", m.alive, " threads wait for what does not come", out.str()));
  std::ostringstream().swap(out);  // the fiber never comes back to free it
  give_up();
}

void go_on() {
  Thread* const next = pick();
  if (!next && m.alive) report_deadlock();
  switch_to(next ? *next : m.host);
}

void wait(const char* what, Place at, uint32_t mask = 0) {
  Thread& self = *m.self;
  self.waits_for = what;
  self.at = at;
  self.mask = mask;
  go_on();
  self.waits_for = nullptr;
}

// In random order whoever could go on is put back among the others.
void let_others() {
  if (!random_order()) return;
  make_ready(*m.self->warp, 1u << m.self->lane);
  go_on();
}

void complete(Warp& warp, int slot) {
  Collective& op = warp.collectives[slot];
  if (op.whole_warp && op.arrived != 0xffffffffu) fail(op.what, " at ", op.at, ": lanes are missing, there are ", std::hex, op.arrived);
  const int sync = 64 + static_cast<int>(&warp - m.warps) * 4 + (slot & 3);
  if (op.memory == Memory::ordered) acquire(sync_object(sync));
  {
    Unseen unseen;
    op.complete(op.arguments, op.arrived);
  }
  if (op.memory == Memory::ordered) release(sync_object(sync));
  m.polls = 0;
  warp.pending &= ~(1u << slot);
  const bool mine = m.self->warp == &warp;
  make_ready(warp, op.arrived & ~(mine ? 1u << m.self->lane : 0));
}

void open_barrier() {
  for (int i = 0; i < m.warp_count; ++i) {
    Warp& warp = m.warps[i];
    for (uint32_t rest = warp.at_barrier; rest; rest &= rest - 1) {
      Thread& thread = m.threads[i * kLanes + __builtin_ctz(rest)];
      if (thread.vote) *thread.vote = m.votes;
    }
    uint32_t lanes = std::exchange(warp.at_barrier, 0);
    if (&warp == m.self->warp) lanes &= ~(1u << m.self->lane);
    make_ready(warp, lanes);
  }
  m.waiting = m.votes = 0;
  m.polls = 0;
  ++m.barriers;
}

void leave_block() {
  Thread& self = *m.self;
  check_copies_waited();
  release(&launch_ends);
  Warp& warp = *self.warp;
  warp.alive &= ~(1u << self.lane);
  --m.alive;
  m.polls = 0;
  for (uint32_t rest = warp.pending; rest; rest &= rest - 1) {
    const int slot = __builtin_ctz(rest);
    if (!(warp.collectives[slot].mask & warp.alive & ~warp.collectives[slot].arrived)) complete(warp, slot);
  }
  if (m.waiting && m.waiting == m.alive) open_barrier();
  go_on();
}

void thread_main() {
  entered(*m.self, m.host);
  acquire(&launch_begins);
  (*m.body)();
  leave_block();
  __builtin_unreachable();
}

void run_block(uint64_t number) {
  m.alive = m.thread_count;
  m.ready_warps = 0;
  m.waiting = m.votes = 0;
  m.barriers = 0;
  m.polls = m.atomics = 0;
  begin_shared(m.dynamic_bytes);
  const int first_slot = static_cast<int>(number % kSlotSets) * kThreadLimit;
  for (int i = 0; i < m.thread_count; ++i) {
    Thread& thread = m.threads[i];
    const unsigned n = static_cast<unsigned>(i);
    thread.index = {n % blockDim.x, n / blockDim.x % blockDim.y, n / (blockDim.x * blockDim.y)};
    thread.number = i;
    thread.lane = i % kLanes;
    thread.warp = &m.warps[i / kLanes];
    thread.waits_for = nullptr;
    thread.group = 0;
    thread.first_copy = nullptr;
    prepare(thread, first_slot + i, thread_main);
  }
  for (int i = 0; i < m.warp_count; ++i) {
    Warp& warp = m.warps[i];
    const int lanes = std::min(kLanes, m.thread_count - i * kLanes);
    warp.alive = lanes == kLanes ? 0xffffffffu : (1u << lanes) - 1;
    warp.ready = warp.at_barrier = warp.polling = warp.pending = 0;
    make_ready(warp, warp.alive);
  }
  m.current_warp = m.schedule.order == Order::reverse ? m.warp_count - 1 : 0;
  m.starved_warp = static_cast<int>(next_random() % static_cast<unsigned>(m.warp_count));
  release(&launch_begins);
  m.self = &m.host;
  switch_to(*pick());
  end_shared(false);
}

}  // namespace

uint64_t next_random() {  // xorshift64
  uint64_t& x = m.random;
  x ^= x << 13;
  x ^= x >> 7;
  return x ^= x << 17;
}

void give_up() {
  if (m.self == &m.host) throw Error(DUET_CUDA_ERROR, m.finding);
  for (int i = 0; i < m.thread_count; ++i)
    if (m.threads[i].warp->alive >> m.threads[i].lane & 1) conclude(m.threads[i], &launch_ends);
  m.copies_left_over = true;
  switch_to(m.host);
  __builtin_unreachable();
}

int lane() { return m.self->lane; }

void barrier(Place at, int* vote) {
  Thread& self = *m.self;
  if (!m.waiting)
    m.barrier_at = at;
  else if (m.barrier_at.line != at.line || std::strcmp(m.barrier_at.file, at.file))
    fail("divergent barrier: this thread is at ", at, ", ", m.waiting, " others wait at ", m.barrier_at);
  void* const sync = sync_object(static_cast<int>(m.barriers & 1));
  release(sync);
  ++m.waiting;
  m.votes += vote ? *vote : 0;
  m.atomics = 0;
  self.vote = vote;
  self.warp->at_barrier |= 1u << self.lane;
  if (m.waiting == m.alive) {
    open_barrier();
    let_others();
  } else {
    wait("the block's barrier", at);
  }
  acquire(sync);
}

static void join(uint32_t mask, const char* what, Place at, void* argument, Completion finish, Memory memory, bool whole_warp) {
  Thread& self = *m.self;
  Warp& warp = *self.warp;
  const uint32_t bit = 1u << self.lane;
  if (!(mask & bit)) fail(what, " at ", at, ": the mask ", std::hex, mask, std::dec, " does not name the calling lane ", self.lane);
  int slot = -1;
  for (uint32_t rest = warp.pending; rest; rest &= rest - 1) {
    const Collective& op = warp.collectives[__builtin_ctz(rest)];
    if (op.mask == mask && op.complete == finish && (!whole_warp || op.at.line == at.line)) {
      slot = __builtin_ctz(rest);
      break;
    }
    if (op.mask == mask)
      fail("divergent warp: lane ", self.lane, " does ", what, " at ", at, ", lanes ", std::hex, op.arrived, std::dec, " do ", op.what, " at ",
           op.at);
    if ((op.mask & bit) && (mask & op.arrived))  // each would wait for the other
      fail("masks differ: lane ", self.lane, " does ", what, " with mask ", std::hex, mask, " at ", at, ", lanes ", op.arrived, " ", op.what,
           " with mask ", op.mask, std::dec, " at ", op.at);
  }
  if (slot < 0) {
    slot = __builtin_ctz(~warp.pending);
    warp.pending |= 1u << slot;
    Collective& op = warp.collectives[slot];
    op.mask = mask;
    op.arrived = 0;
    op.complete = finish;
    op.what = what;
    op.at = at;
    op.memory = memory;
    op.whole_warp = whole_warp;
  }
  Collective& op = warp.collectives[slot];
  void* const sync = sync_object(64 + static_cast<int>(&warp - m.warps) * 4 + (slot & 3));
  if (memory == Memory::ordered) release(sync);
  op.arguments[self.lane] = argument;
  op.arrived |= bit;
  m.atomics = 0;
  if (mask & warp.alive & ~op.arrived) {
    wait(what, at, mask);
  } else {
    complete(warp, slot);
    let_others();
  }
  if (memory == Memory::ordered) acquire(sync);
}

void collective(uint32_t mask, const char* what, Place at, void* argument, Completion complete, Memory memory) {
  join(mask, what, at, argument, complete, memory, false);
}
void warp_collective(const char* what, Place at, void* argument, Completion complete) {
  join(0xffffffffu, what, at, argument, complete, Memory::unordered, true);
}

void poll(Place at) {
  constexpr long kPatience = 100'000;
  Thread& self = *m.self;
  self.warp->polling |= 1u << self.lane;
  if (++m.polls > kPatience) {
    self.waits_for = "a polling loop";
    self.at = at;
    self.mask = 0;
    report_deadlock();
  }
  wait("a polling loop", at);
}

void fence() {
  acquire(&fences);
  release(&fences);
}

void touch_atomic() {
  constexpr long kInARow = 1000;  // after so many the thread may be waiting for another's
  if (++m.atomics > kInARow) {
    m.atomics = 0;
    poll({"an atomic operation", 0});
  } else if (random_order() && next_random() % 4 == 0) {
    let_others();
  }
}

void check_launch(const char* kernel, dim3 grid, dim3 block, size_t shared_bytes) {
  const size_t threads = size_t{block.x} * block.y * block.z;
  const auto refuse = [&](const auto&... why) { throw Error(DUET_CUDA_ERROR, text("launch of ", kernel, ": ", why...)); };
  if (threads == 0 || threads > kThreadLimit || block.z > 64)
    refuse("a block of ", block.x, " x ", block.y, " x ", block.z, " threads, at most ", kThreadLimit);
  if (grid.x > 0x7fffffffu || grid.y > 65535 || grid.z > 65535) refuse("a grid of ", grid.x, " x ", grid.y, " x ", grid.z, " blocks");
  if (shared_bytes > kSharedLimit) refuse(shared_bytes, " bytes of dynamic shared memory, at most ", kSharedLimit);
}

void run(const char* kernel, dim3 grid, dim3 block, size_t shared_bytes, const std::function<void()>& thread) {
  if (m.self != &m.host) fail("a launch of ", kernel, " from inside a kernel");
  static std::mutex one_at_a_time;
  const std::lock_guard<std::mutex> lock(one_at_a_time);
  m.schedule = schedule();
  static bool told = false;
  if (random_order() && !std::exchange(told, true)) std::fprintf(stderr, "simt: repeat with: %s\n", repeat_command().c_str());
  m.kernel = kernel;
  m.body = &thread;
  m.thread_count = static_cast<int>(block.x * block.y * block.z);
  m.warp_count = (m.thread_count + kLanes - 1) / kLanes;
  m.dynamic_bytes = shared_bytes;
  ++m.launches;
  // Every launch has a schedule of its own: what is run twice is not scheduled alike.
  m.random = (m.schedule.seed + 1) * 0x9e3779b97f4a7c15u + m.launches * 0xbf58476d1ce4e5b9u;
  m.random |= m.random == 0;
  for (int i = 0; i < 4; ++i) next_random();
  m.stickiness = (uint64_t{1} << next_random() % 7) - 1;  // 0: any warp may be next; 63: one switch in 64
  adopt_host(m.host);
  gridDim = grid;
  blockDim = block;
  const uint64_t blocks = uint64_t{grid.x} * grid.y * grid.z;
  uint64_t step = 1, at = m.schedule.order == Order::reverse ? blocks - 1 : 0;
  if (m.schedule.order == Order::reverse) step = blocks - 1;
  if (random_order()) {  // a stride without a common divisor with their number meets every block once
    at = next_random() % blocks;
    do step = 1 + next_random() % blocks;
    while (std::gcd(step, blocks) != 1);
  }
  m.finding.clear();
  for (uint64_t i = 0; i < blocks && m.finding.empty(); ++i, at = (at + step) % blocks) {
    blockIdx = {static_cast<unsigned>(at % grid.x), static_cast<unsigned>(at / grid.x % grid.y), static_cast<unsigned>(at / grid.x / grid.y)};
    run_block(i);
  }
  acquire(&launch_ends);
  if (!m.finding.empty())
    for (int i = 0; i < m.thread_count; ++i)
      if (m.threads[i].warp->alive >> m.threads[i].lane & 1) abandon(m.threads[i]);
  end_shared(true);
  m.kernel = nullptr;
  m.body = nullptr;
  if (!m.finding.empty()) throw Error(DUET_CUDA_ERROR, m.finding);
}

}  // namespace duet::simt
DUET_SIMT_UNCHECKED_END
