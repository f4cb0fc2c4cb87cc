// Shared memory of the running block, the copies into it that are under way, and what the tensor core does with it.
#include <cstring>

#include "kernels/simt/machine.h"
#include "kernels/simt/model.h"

#ifdef DUET_SIMT_ASAN
#include <sanitizer/asan_interface.h>
#endif

namespace duet::simt {
namespace {

Machine& m = machine;

constexpr size_t kAlign = 128;   // and the gap between arrays, which AddressSanitizer watches
constexpr int kArrayLimit = 64;  // of a block
constexpr size_t kCopyBytes = 16;
constexpr size_t kArenaBytes = kSharedLimit + (kArrayLimit + 1) * 2 * kAlign;

struct Array {
  const void* tag;
  char* data;
};
Array arrays[kArrayLimit];
int array_count = 0;
alignas(kAlign) char arena[kArenaBytes];
char* dynamic = nullptr;
size_t arena_used = 0, shared_used = 0, static_used = 0;

// NaN and -1, or 3.4e38 and a huge index. They alternate from launch to launch without a period (Thue-Morse), so that a
// kernel that depends on memory it never wrote gives other bits when it is run again.
void poison(char* data, size_t bytes) {
  const Unseen unseen;
  std::memset(data, __builtin_popcountll(m.launches) & 1 ? 0xff : 0x7f, bytes);
}

char* take(size_t bytes) {
  shared_used += bytes;
  if (const size_t most = played_device().shared_bytes; shared_used > most)
    fail("the block takes ", shared_used, " bytes of shared memory, at most ", most);
  char* const data = arena + arena_used;
  arena_used += (bytes + kAlign - 1) / kAlign * kAlign + kAlign;
#ifdef DUET_SIMT_ASAN
  __asan_unpoison_memory_region(data, bytes);
#endif
  poison(data, bytes);
  return data;
}

}  // namespace

void begin_shared(size_t dynamic_bytes) {
  arena_used = shared_used = static_used = 0;
  array_count = 0;
#ifdef DUET_SIMT_ASAN
  __asan_poison_memory_region(arena, kArenaBytes);
#endif
  dynamic = dynamic_bytes ? take(dynamic_bytes) : nullptr;
}

void* shared_array(const void* tag, size_t bytes) {
  for (int i = 0; i < array_count; ++i)
    if (arrays[i].tag == tag) return arrays[i].data;
  if (array_count == kArrayLimit) fail("more than ", kArrayLimit, " shared arrays");
  static_used += bytes;
  if (static_used > kStaticSharedLimit)
    fail(static_used, " bytes of static shared memory, at most ", kStaticSharedLimit);
  arrays[array_count] = {tag, take(bytes)};
  return arrays[array_count++].data;
}

void* shared_dynamic() {
  if (!dynamic) fail("the kernel names dynamic shared memory, the launch gave none");
  return dynamic;
}

size_t shared_offset(const void* address) { return static_cast<size_t>(static_cast<const char*>(address) - arena); }
bool is_shared(const void* address, size_t bytes) {
  return shared_offset(address) < arena_used && shared_offset(address) + bytes <= arena_used;
}

void check_aligned(const void* address, size_t bytes, const char* what, Place at) {
  if (reinterpret_cast<uintptr_t>(address) % bytes)
    fail(what, " at ", at, ": the address ", address, " is not a multiple of ", bytes);
}

// The target is poisoned at once: whoever reads it before the wait, or has not yet read what was there, finds out.
void cp_async16(void* shared, const void* global, int source_bytes, Place at) {
  check_aligned(shared, kCopyBytes, "cp.async to", at);
  check_aligned(global, kCopyBytes, "cp.async from", at);
  if (!is_shared(shared, kCopyBytes)) fail("cp.async at ", at, ": the target is not in the block's shared memory");
  if (is_shared(global, 1)) fail("cp.async at ", at, ": the source is in shared memory");
  if (source_bytes < 0 || source_bytes > 16) fail("cp.async at ", at, ": ", source_bytes, " of 16 bytes");
  char* const to = static_cast<char*>(shared);
  note(to, kCopyBytes, Access::starts_copy, at);
  poison(to, kCopyBytes);
  m.self->copies.push_back(
      {to, static_cast<const char*>(global), static_cast<size_t>(source_bytes), m.self->group, at});
}

void cp_async_commit() { ++m.self->group; }

void cp_async_wait(int groups_left) {
  std::vector<Copy>& copies = m.self->copies;
  auto done = copies.begin();
  for (; done != copies.end() && done->group < m.self->group - groups_left; ++done) {
    note(done->from, done->source_bytes, Access::read, done->at);
    note(done->to, kCopyBytes, Access::write, done->at);
    const Unseen unseen;
    std::memcpy(done->to, done->from, done->source_bytes);
    std::memset(done->to + done->source_bytes, 0, kCopyBytes - done->source_bytes);
  }
  copies.erase(copies.begin(), done);
}

template <class Argument, void (*kCompute)(const Argument* const*)>
static void compute(const char* what, Place at, Argument mine) {
  const auto complete = [](void* const* lanes, uint32_t) {
    const Argument* arguments[kLanes];
    for (int lane = 0; lane < kLanes; ++lane) arguments[lane] = static_cast<const Argument*>(lanes[lane]);
    kCompute(arguments);
  };
  collective(0xffffffffu, what, at, &mine, complete, Kind::whole_warp);
}

void ldmatrix_x4(unsigned* r, const void* row, Place at) {
  check_aligned(row, 16, "ldmatrix.x4", at);
  if (!is_shared(row, 16)) fail("ldmatrix.x4 at ", at, ": the row is not in the block's shared memory");
  note(row, 16, Access::read, at);
  compute<model::LoadMatrix, model::load_matrices>("ldmatrix.x4", at, {r, static_cast<const uint16_t*>(row)});
}
void mma_m16n8k16_bf16(float* d, const unsigned* a, const unsigned* b, const float* c, Place at) {
  compute<model::Multiply, model::multiply<16>>("mma.m16n8k16.bf16", at, {d, a, b, c});
}
void mma_m16n8k8_tf32(float* d, const unsigned* a, const unsigned* b, const float* c, Place at) {
  compute<model::Multiply, model::multiply<8>>("mma.m16n8k8.tf32", at, {d, a, b, c});
}

}  // namespace duet::simt
