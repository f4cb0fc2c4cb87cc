// Runs CUDA kernels on the CPU, for tests: one fiber a CUDA thread, the blocks of a grid one after another, on the
// calling host thread.
// What a kernel does wrong (see the README) ends the launch with an Error that names kernel, block, thread, file, line
// and how to repeat it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <ostream>
#include <string>

#include "kernels/core/error.h"

// The indices of the thread that runs, written at every switch; the names are CUDA's.
struct uint3 {
  unsigned x, y, z;
};
struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};
inline uint3 threadIdx, blockIdx;
inline dim3 blockDim, gridDim;
constexpr int warpSize = 32;

namespace duet::simt {

// forward: warps and lanes in ascending order, each warp as far as it gets; reverse: descending, the last block first.
// random: blocks shuffled; a warp mostly runs on, sometimes anyone is next, and one warp of each block runs only when
// no other can.
enum class Order { forward, reverse, random };
struct Schedule {
  Order order = Order::forward;
  uint64_t seed = 0;
};
Schedule
schedule();  // until set: from DUET_SIMT_ORDER and DUET_SIMT_SEED; random without a seed takes one from the clock
void set_schedule(const Schedule& schedule);
std::string repeat_command();  // the environment and command line that repeat this run

constexpr size_t kSharedLimit = 227 * 1024;       // of a block, static and dynamic together
constexpr size_t kStaticSharedLimit = 48 * 1024;  // of a block, static alone
constexpr int kThreadLimit = 1024;                // threads of a block
constexpr int kMultiprocessors = 3;               // few, so that a partition of the work has several items a block

// Which device the emulator stands for; the default has what every kernel can use. Not while a launch is under way.
struct PlayedDevice {
  int capability = 80;                 // 90 for 9.0
  size_t shared_bytes = kSharedLimit;  // that a block may have, at most kSharedLimit
  bool has_code = true;                // whether the build does for it
};
inline constexpr PlayedDevice kLeastDevice{86, 99 * 1024,
                                           true};  // as sm_86: no device that the kernels run on gives less
const PlayedDevice& played_device();
void play(const PlayedDevice& device);

// What the host has asked of the device, in calls that did not fail and were not captured. What stands for a library's
// call is one launch.
struct DeviceCounts {
  int64_t launches = 0, graph_launches = 0;  // a replay is one of the latter, whatever its graph holds
  int64_t copies = 0, fills = 0;
  int64_t allocations = 0, releases = 0;  // of the device, managed, pinned
  int64_t waits = 0;  // of the host: synchronize, synchronize_device, Event::wait(); Event::done is none
};
const DeviceCounts& device_counts();
void reset_device_counts();

struct Place {
  const char* file;
  int line;
};
// A function's last parameters: where it is called. Two, as a default argument of class type names the declaration's
// line with gcc.
#define DUET_SIMT_CALLER const char *caller_file = __builtin_FILE(), int caller_line = __builtin_LINE()
#define DUET_SIMT_PLACE \
  ::duet::simt::Place { caller_file, caller_line }

// Ends the launch. In parts, so that nothing on the stack of the fiber, which is given up, owns memory.
[[noreturn]] void give_up();
void record_finding(const std::string& finding);
template <class... Parts>
[[noreturn]] void fail(const Parts&... parts) {
  record_finding(text(parts...));
  give_up();
}
inline std::ostream& operator<<(std::ostream& out, Place at) { return out << at.file << ':' << at.line; }

// Work of the device, which reaches its memory: done at once, or a node of a graph where the stream is captured
// (device.cpp).
enum class Task { kernel, copy, fill };
void submit(void* stream, std::function<void()> work, Task task = Task::kernel);
void launch(const char* kernel, dim3 grid, dim3 block, size_t shared_bytes, void* stream, std::function<void()> thread);

// Shared memory of the running block: poisoned when the block first names it.
void* shared_array(const void* tag, size_t bytes);
void* shared_dynamic();

// What a thread waits for.
int lane();
int barrier(Place at, int vote = 0);  // the sum of the block's votes
using Completion = void (*)(void* const* lanes, uint32_t arrived);
// sync orders the lanes' accesses to memory, as a shuffle does not; of a whole_warp no lane may be gone.
enum class Kind { exchange, sync, whole_warp };
// Waits until every living lane of the mask has come to the same collective; the last one runs `complete` on
// everybody's arguments.
void collective(uint32_t mask, const char* what, Place at, void* argument, Completion complete,
                Kind kind = Kind::exchange);
void fence();
void touch_atomic(const void* address, size_t bytes,
                  Place at);  // an atomic operation: a point where the schedule may switch

void check_aligned(const void* address, size_t bytes, const char* what, Place at);
void cp_async16(void* shared, const void* global, int source_bytes, Place at);
void cp_async_commit();
void cp_async_wait(int groups_left);

// The tensor core's instructions: model.h's arithmetic, done once a warp by the lane that arrives last.
void ldmatrix_x4(unsigned* r, const void* row, Place at);
void mma_m16n8k16_bf16(float* d, const unsigned* a, const unsigned* b, const float* c, Place at);
void mma_m16n8k8_tf32(float* d, const unsigned* a, const unsigned* b, const float* c, Place at);

}  // namespace duet::simt
