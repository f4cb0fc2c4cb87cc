// The state of the emulator, shared by its parts; everyone else reads simt.h.
#pragma once

#include "kernels/simt/fiber.h"
#include "kernels/simt/simt.h"

namespace duet::simt {
constexpr int kLanes = 32;
constexpr int kWarpLimit = kThreadLimit / kLanes;

struct Collective {
  uint32_t mask, arrived;
  Completion complete;
  const char* what;
  Place at;
  Memory memory;
  bool whole_warp;
  void* arguments[kLanes];
};

struct Warp {
  uint32_t alive, ready, at_barrier, polling;  // a bit a lane
  uint32_t pending;                            // a bit a collective that waits for lanes
  Collective collectives[kLanes];
};

struct Copy {
  Copy* next;
  char* to;
  const char* from;
  int bytes, source_bytes, group;
};

struct Thread : Fiber {
  uint3 index;
  int number, lane;
  Warp* warp;
  int* vote;
  const char* waits_for;  // and where; null while it runs
  Place at;
  uint32_t mask;
  int group;                     // of cp.async, the one that is filled
  Copy *first_copy, *last_copy;  // under way, in order
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
  uint64_t random = 0, stickiness = 0, launches = 0;

  int waiting = 0, votes = 0;  // at the block's barrier
  unsigned barriers = 0;
  Place barrier_at{};
  long polls = 0, atomics = 0;
  std::string finding;

  // Shared memory of the block, and after kSyncBytes of it the arrays.
  char* arena = nullptr;
  bool copies_left_over = false;
  size_t arena_used = 0, shared_used = 0, static_used = 0, dynamic_bytes = 0;
};
extern Machine machine;

uint64_t next_random();
inline bool random_order() { return machine.schedule.order == Order::random; }

// In the arena, so that successive blocks, which nothing orders, share no object of synchronisation.
constexpr size_t kSyncBytes = 4096;
inline void* sync_object(int number) { return machine.arena + 8 * number; }

void begin_shared(size_t dynamic_bytes);  // of a block
void end_shared(bool launch_ends);
void check_copies_waited();  // of a thread that leaves

}  // namespace duet::simt
