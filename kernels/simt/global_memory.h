// The memory of the emulated device: one range of addresses that no host thread can read or write but while it does the
// device's work, so that a host's dereference of a device pointer faults at that very line.
#pragma once

#include <cstddef>

namespace duet::simt {

constexpr size_t kGlobalBytes = size_t{16} << 30;  // that may be in use at once

// Aligned to 256, filled with 0xff (NaN, -1); null where there is no room. bytes is not 0.
void* allocate_global(size_t bytes);
// False, and nothing done, where the address is not what allocate_global gave.
bool release_global(void* memory);
size_t global_in_use();
// Whether it is opened to a thread alone, and what was released faults inside kernels too.
bool global_memory_has_key();

// The Reaches of this thread that live: 0 where it is a host's.
inline thread_local int reaches = 0;

// While it lives, the calling thread reaches the memory: around a kernel, a copy, a fill, or the replay of a graph.
class Reach {
 public:
  Reach();
  ~Reach();
  Reach(const Reach&) = delete;

 private:
  int before_;
};

}  // namespace duet::simt
