// Who runs next, and what threads wait for: barriers, warp collectives, polling.
#include <algorithm>
#include <bit>
#include <cstdio>
#include <cstring>
#include <mutex>
#include <numeric>
#include <utility>

#include "kernels/simt/machine.h"

namespace duet::simt {

Machine machine;

namespace {

Machine& m = machine;
uint64_t launch_begins, launch_ends, fences;  // addresses for ThreadSanitizer, to which 8 bytes are one
uint64_t block_barrier[2];

void make_ready(Warp& warp, uint32_t lanes) {
  warp.ready |= lanes;
  m.ready_warps |= lanes ? 1u << (&warp - m.warps) : 0;
}

// The first of some warps or lanes, a bit each, in the order of the schedule.
int first_of(uint32_t bits) {
  if (m.schedule.order == Order::forward) return std::countr_zero(bits);
  if (m.schedule.order == Order::reverse) return 31 - std::countl_zero(bits);
  const int turn = static_cast<int>(next_random() >> 32 & 31);
  return (std::countr_zero(std::rotr(bits, turn)) + turn) & 31;
}

int pick_warp() {
  const uint32_t current = 1u << m.current_warp;
  uint32_t preferred = m.ready_warps;  // the current warp and those after it; in random order all but the starved one
  if (m.schedule.order == Order::forward) preferred &= ~(current - 1);
  if (m.schedule.order == Order::reverse) preferred &= current | (current - 1);
  if (random_order()) preferred &= ~(1u << m.starved_warp);
  if (!preferred) preferred = m.ready_warps;
  if (random_order() && (preferred & current) && (next_random() & m.stickiness)) return m.current_warp;
  return first_of(preferred);
}

Thread* pick() {
  if (!m.ready_warps)
    for (int i = 0; i < m.warp_count; ++i) make_ready(m.warps[i], std::exchange(m.warps[i].polling, 0));
  if (!m.ready_warps) return nullptr;
  Warp& warp = m.warps[m.current_warp = pick_warp()];
  const int lane = first_of(warp.ready);
  warp.ready &= ~(1u << lane);
  if (!warp.ready) m.ready_warps &= ~(1u << m.current_warp);
  return &m.threads[m.current_warp * kLanes + lane];
}

void switch_to(Thread& to) {
  if (&to == m.self) return;
  Thread& from = *std::exchange(m.self, &to);
  threadIdx = to.index;
  switch_fiber(from, to);
}

[[noreturn]] void report_deadlock() {
  std::string waiting;
  const Thread* last = nullptr;
  for (int i = 0; i < m.thread_count && waiting.size() < 2000; ++i) {
    const Thread& thread = m.threads[i];
    if (!(thread.warp->alive >> thread.lane & 1) || !thread.waits_for) continue;
    if (last && last->waits_for == thread.waits_for && last->at.line == thread.at.line && last->mask == thread.mask)
      continue;
    waiting += text("\n  from thread ", i, " on: ", thread.waits_for, " at ", thread.at);
    if (thread.mask) waiting += text(", mask ", std::hex, thread.mask);
    last = &thread;
  }
  record_finding(text("deadlock, ", m.alive, " threads wait for what does not come", waiting));
  std::string().swap(waiting);  // the fiber never comes back to free it
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

// All these lanes of a warp go on; the running thread does so anyway.
void let_go(Warp& warp, uint32_t lanes) {
  m.polls = 0;
  make_ready(warp, m.self->warp == &warp ? lanes & ~(1u << m.self->lane) : lanes);
}

void complete(Warp& warp, int slot) {
  Collective& op = warp.collectives[slot];
  if (op.kind == Kind::whole_warp && op.arrived != 0xffffffffu)
    fail(op.what, " at ", op.at, ": lanes are missing, there are ", std::hex, op.arrived);
  {
    const Unseen unseen;
    op.complete(op.arguments, op.arrived);
  }
  if (op.kind == Kind::sync) warp.ordered = ++m.now;
  warp.pending &= ~(1u << slot);
  let_go(warp, op.arrived);
}

void open_barrier() {
  for (int i = 0; i < m.warp_count; ++i) let_go(m.warps[i], std::exchange(m.warps[i].at_barrier, 0));
  m.waiting = 0;
  m.votes[++m.barriers & 1] = 0;
  m.barrier_opened = ++m.now;
}

void leave_block() {
  Thread& self = *m.self;
  Warp& warp = *self.warp;
  if (!self.copies.empty())
    fail("the thread leaves with a copy that it has not waited for, cp.async at ", self.copies.front().at);
  release(&launch_ends);
  warp.alive &= ~(1u << self.lane);
  --m.alive;
  m.polls = 0;
  for (uint32_t rest = warp.pending; rest; rest &= rest - 1) {
    const int slot = std::countr_zero(rest);
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

void run_block() {
  m.alive = m.thread_count;
  m.ready_warps = m.barriers = m.fenced = m.seen = 0;
  m.waiting = m.votes[0] = m.votes[1] = 0;
  m.polls = m.atomics = 0;
  m.block_begun = ++m.now;
  m.acquired = m.launch_begun;
  begin_shared(m.dynamic_bytes);
  for (int i = 0; i < m.warp_count; ++i) {
    Warp& warp = m.warps[i];
    const int lanes = std::min(kLanes, m.thread_count - i * kLanes);
    warp.alive = 0xffffffffu >> (kLanes - lanes);
    warp.ready = warp.at_barrier = warp.polling = warp.pending = 0;
    make_ready(warp, warp.alive);
  }
  for (int i = 0; i < m.thread_count; ++i) {
    Thread& thread = m.threads[i];
    const unsigned n = static_cast<unsigned>(i);
    thread.index = {n % blockDim.x, n / blockDim.x % blockDim.y, n / (blockDim.x * blockDim.y)};
    thread.number = i;
    thread.lane = i % kLanes;
    thread.warp = &m.warps[i / kLanes];
    thread.waits_for = nullptr;
    thread.group = 0;
    thread.copies.clear();
    prepare(thread, i, thread_main);
  }
  m.current_warp = m.schedule.order == Order::reverse ? m.warp_count - 1 : 0;
  m.starved_warp = static_cast<int>(next_random() % static_cast<unsigned>(m.warp_count));
  acquire(&launch_ends);
  release(&launch_begins);
  switch_to(*pick());
}

}  // namespace

uint64_t next_random() {  // xorshift64
  uint64_t& x = m.random;
  x ^= x << 13;
  x ^= x >> 7;
  return x ^= x << 17;
}

void give_up() {
  if (m.self == &m.host) throw Error(DUET_STATUS_CUDA_ERROR, m.finding);
  switch_to(m.host);
  __builtin_unreachable();
}

int lane() { return m.self->lane; }

int barrier(Place at, int vote) {
  if (!m.waiting)
    m.barrier_at = at;
  else if (m.barrier_at.line != at.line || std::strcmp(m.barrier_at.file, at.file))
    fail("divergent barrier: this thread is at ", at, ", ", m.waiting, " others wait at ", m.barrier_at);
  const unsigned parity = m.barriers & 1;
  release(&block_barrier[parity]);
  ++m.waiting;
  m.votes[parity] += vote;
  m.atomics = 0;
  m.self->warp->at_barrier |= 1u << m.self->lane;
  if (m.waiting == m.alive) {
    open_barrier();
    let_others();
  } else {
    wait("the block's barrier", at);
  }
  acquire(&block_barrier[parity]);
  return m.votes[parity];
}

void collective(uint32_t mask, const char* what, Place at, void* argument, Completion finish, Kind kind) {
  Thread& self = *m.self;
  Warp& warp = *self.warp;
  const uint32_t bit = 1u << self.lane;
  if (!(mask & bit))
    fail(what, " at ", at, ": the mask ", std::hex, mask, std::dec, " does not name the calling lane ", self.lane);
  int slot = -1;
  for (uint32_t rest = warp.pending; rest && slot < 0; rest &= rest - 1) {
    const Collective& op = warp.collectives[std::countr_zero(rest)];
    if (op.mask == mask && op.complete == finish && op.at.line == at.line)
      slot = std::countr_zero(rest);
    else if (op.mask == mask || ((op.mask & bit) && (mask & op.arrived)))  // each would wait for the other
      fail(op.mask == mask ? "divergent warp" : "masks differ", ": lane ", self.lane, " does ", what, " at ", at,
           ", others do ", op.what, " at ", op.at, std::hex, "; the masks ", mask, " and ", op.mask, ", there are ",
           op.arrived);
  }
  if (slot < 0) {
    slot = std::countr_one(warp.pending);
    warp.pending |= 1u << slot;
    static_cast<Request&>(warp.collectives[slot]) = {mask, 0, finish, what, at, kind, &warp.orders[++warp.begun & 1]};
  }
  Collective& op = warp.collectives[slot];
  void* const order = op.order;
  if (kind == Kind::sync) release(order);
  op.arguments[self.lane] = argument;
  op.arrived |= bit;
  m.atomics = 0;
  if (mask & warp.alive & ~op.arrived) {
    wait(what, at, mask);
  } else {
    complete(warp, slot);
    let_others();
  }
  if (kind == Kind::sync) acquire(order);
}

void fence() {
  acquire(&fences);
  release(&fences);
  m.fenced = ++m.now;
  m.acquired = std::max(m.acquired, m.seen);
}

void touch_atomic(const void* address, size_t bytes, Place at) {
  constexpr long kInARow =
      100;  // after so many the thread may be waiting for another's: it polls, and the others go on first
  constexpr long kPatience = 100'000;  // so many polls, and nothing moved
  note(address, bytes, Access::atomic, at);
  if (++m.atomics <= kInARow) {
    if (random_order() && next_random() % 4 == 0) let_others();
    return;
  }
  m.atomics = 0;
  if (++m.polls > kPatience) {
    m.self->waits_for = "a polling loop";
    m.self->at = at;
    report_deadlock();
  }
  m.self->warp->polling |= 1u << m.self->lane;
  wait("a polling loop", at);
}

static void run(const char* kernel, dim3 grid, dim3 block, size_t shared_bytes, const std::function<void()>& thread) {
  // Of this host thread; a launch of another one is waited for.
  static thread_local bool launches = false;
  if (launches) fail("a launch of ", kernel, " from inside a kernel");
  static std::mutex one_at_a_time;
  const std::lock_guard<std::mutex> lock(one_at_a_time);
  struct Launching {
    Launching() { launches = true; }
    ~Launching() { launches = false; }
  } const launching;
  m.schedule = schedule();
  static bool told = false;
  if (random_order() && !std::exchange(told, true))
    std::fprintf(stderr, "simt: repeat with: %s\n", repeat_command().c_str());
  m.kernel = kernel;
  m.body = &thread;
  m.thread_count = static_cast<int>(block.x * block.y * block.z);
  m.warp_count = (m.thread_count + kLanes - 1) / kLanes;
  m.dynamic_bytes = shared_bytes;
  ++m.launches;
  m.launch_begun = ++m.now;
  // Every launch has a schedule of its own: what is run twice is not scheduled alike.
  m.random = (m.schedule.seed + 1) * 0x9e3779b97f4a7c15u + m.launches * 0xbf58476d1ce4e5b9u;
  m.random |= m.random == 0;
  for (int i = 0; i < 4; ++i) next_random();
  m.stickiness = (uint64_t{1} << next_random() % 7) - 1;  // 0: any warp may be next; 63: one switch in 64
  adopt_host(m.host);
  gridDim = grid;
  blockDim = block;
  const uint64_t blocks = uint64_t{grid.x} * grid.y * grid.z;
  uint64_t step = 1, at = 0;
  if (m.schedule.order == Order::reverse) step = at = blocks - 1;
  if (random_order()) {  // a stride without a common divisor with their number meets every block once
    at = next_random() % blocks;
    do step = 1 + next_random() % blocks;
    while (std::gcd(step, blocks) != 1);
  }
  m.finding.clear();
  for (uint64_t i = 0; i < blocks && m.finding.empty(); ++i, at = (at + step) % blocks) {
    blockIdx = {static_cast<unsigned>(at % grid.x), static_cast<unsigned>(at / grid.x % grid.y),
                static_cast<unsigned>(at / grid.x / grid.y)};
    run_block();
  }
  m.kernel = nullptr;
  for (int i = 0; i < m.thread_count; ++i)
    if (m.threads[i].warp->alive >> m.threads[i].lane & 1) abandon(m.threads[i], m.host, &launch_ends);
  acquire(&launch_ends);
  if (!m.finding.empty()) throw Error(DUET_STATUS_CUDA_ERROR, m.finding);
}

void launch(const char* kernel, dim3 grid, dim3 block, size_t shared_bytes, void* stream,
            std::function<void()> thread) {
  const size_t threads = size_t{block.x} * block.y * block.z;
  const auto refuse = [&](const auto&... why) {
    throw Error(DUET_STATUS_CUDA_ERROR, text("launch of ", kernel, ": ", why...));
  };
  if (threads == 0 || threads > kThreadLimit || block.z > 64)
    refuse("a block of ", block.x, " x ", block.y, " x ", block.z, " threads, at most ", kThreadLimit);
  if (grid.x > 0x7fffffffu || grid.y > 65535 || grid.z > 65535)
    refuse("a grid of ", grid.x, " x ", grid.y, " x ", grid.z, " blocks");
  if (const size_t most = played_device().shared_bytes; shared_bytes > most)
    refuse(shared_bytes, " bytes of dynamic shared memory, at most ", most);
  submit(stream, [=, thread = std::move(thread)] { run(kernel, grid, block, shared_bytes, thread); });
}

}  // namespace duet::simt
