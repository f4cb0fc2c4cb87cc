// The state of the emulator, shared by its parts; everyone else reads simt.h.
#pragma once

#include <vector>

#include "kernels/simt/fiber.h"
#include "kernels/simt/simt.h"

namespace duet::simt {
constexpr int kLanes = 32;
constexpr int kWarpLimit = kThreadLimit / kLanes;

struct Request {
  uint32_t mask, arrived;
  Completion complete;
  const char* what;
  Place at;
  Kind kind;
  void* order;  // for ThreadSanitizer; not the one of the sync before, which some lanes have yet to leave
};
struct Collective : Request {
  void* arguments[kLanes];
};

struct Warp {
  uint32_t alive, ready, at_barrier, polling;  // a bit a lane
  uint32_t pending;                            // a bit a collective that waits for lanes
  uint32_t ordered;                            // when its last __syncwarp was complete
  unsigned begun;                              // collectives
  uint64_t orders[2];
  Collective collectives[kLanes];
};

struct Copy {
  char* to;
  const char* from;
  size_t source_bytes;
  int group;
  Place at;
};

struct Thread : Fiber {
  uint3 index;
  int number, lane;
  Warp* warp;
  const char* waits_for;  // and where; null while it runs
  Place at;
  uint32_t mask;
  int group;                 // of cp.async, the one that is filled
  std::vector<Copy> copies;  // under way, in order
};

struct Machine {
  const char* kernel = nullptr;  // null: no launch is under way
  const std::function<void()>* body = nullptr;
  Schedule schedule;
  Thread host, threads[kThreadLimit];
  Thread* self = &host;
  Warp warps[kWarpLimit];
  int thread_count = 0, warp_count = 0, alive = 0;
  uint32_t ready_warps = 0;
  int current_warp = 0, starved_warp = 0;
  uint64_t random = 0, stickiness = 0, launches = 0, replays = 0;

  int waiting = 0, votes[2] = {};  // at the block's barrier
  unsigned barriers = 0;
  Place barrier_at{};
  long polls = 0, atomics = 0;
  std::string finding;
  size_t dynamic_bytes = 0;

  // Points in time, counted up by whatever orders accesses to memory. What happened in other blocks before `acquired`
  // is known to this one:
  // what came before the launch, and before those fences of theirs whose atomics this block has seen before a fence of
  // its own.
  uint32_t now = 0, launch_begun = 0, block_begun = 0, barrier_opened = 0, fenced = 0, seen = 0, acquired = 0;
};
extern Machine machine;

uint64_t next_random();
inline bool random_order() { return machine.schedule.order == Order::random; }

void begin_shared(size_t dynamic_bytes);  // of a block
bool is_shared(const void* address, size_t bytes);
size_t shared_offset(const void* address);

// Accesses to memory that the emulator makes for the running thread, told to ThreadSanitizer or to the checker.
// starts_copy: what is there is void.
enum class Access { read, write, atomic, starts_copy };
inline void (*checker)(const void* address, size_t bytes, Access access,
                       Place at) = nullptr;  // where checker.cpp is linked
inline void note(const void* address, size_t bytes, Access access, Place at) {
#ifdef DUET_SIMT_TSAN
  if (access != Access::atomic)
    (access == Access::read ? __tsan_read_range : __tsan_write_range)(const_cast<void*>(address), bytes);
#endif
  if (checker) checker(address, bytes, access, at);
}

}  // namespace duet::simt
