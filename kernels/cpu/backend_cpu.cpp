#include <algorithm>
#include <cstring>
#include <new>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/backend_cpu.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/core/backend.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/thread_pool.h"

HWY_BEFORE_NAMESPACE();
namespace duet::cpu::HWY_NAMESPACE {
const char* target_name() { return hwy::TargetName(HWY_TARGET); }
}  // namespace duet::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace duet::cpu {
namespace {

HWY_EXPORT(target_name);

constexpr std::align_val_t kAlignment{256};

[[noreturn]] void refuse_graph() { throw Error(DUET_STATUS_UNSUPPORTED, "graph: a CPU context has none"); }

class CpuBackend final : public Backend {
 public:
  int32_t device_count() const override { return 1; }
  void describe(int32_t, duet_device_facts& facts) const override { std::strcpy(facts.name, "CPU"); }
  const char* simd_target() const override { return HWY_DYNAMIC_DISPATCH(target_name)(); }

  void open(duet_context& context, int32_t allowed_threads) const override {
    if (context.threads > 1) context.pool = new ThreadPool(context.threads, context.threads <= allowed_threads);
  }
  void close(duet_context& context, bool) const noexcept override { delete context.pool; }
  int enter(const duet_context&) const override { return 0; }
  void leave(int) const noexcept override {}

  void* allocate(const duet_context&, size_t bytes) const override { return allocate_pinned(bytes); }
  void release(const duet_context&, void* data) const override { release_pinned(data); }
  void fill(const duet_context& context, void* data, int32_t byte, size_t bytes) const override {
    if (bytes == 0) return;
    // Bytes of a work item: some 5 us, several times what handing it to a second thread costs.
    constexpr int64_t kChunk = 128 * 1024;
    parallel_chunks(context, static_cast<int64_t>(bytes), kChunk, [&](int64_t first, int64_t count, int) {
      std::memset(static_cast<char*>(data) + first, byte, static_cast<size_t>(count));
    });
  }
  void copy(const duet_context&, void* to, const void* from, size_t bytes) const override {
    if (bytes != 0) std::memcpy(to, from, bytes);
  }
  void* allocate_pinned(size_t bytes) const override {
    if (bytes == 0) return nullptr;
    void* const data = ::operator new(bytes, kAlignment, std::nothrow);
    if (data == nullptr)
      throw Error(DUET_STATUS_OUT_OF_MEMORY, text("allocating ", bytes, " bytes: out of host memory"));
    return data;
  }
  void release_pinned(void* data) const override { ::operator delete(data, kAlignment); }
  void synchronize(const duet_context&) const override {}

  void* create_stream(int32_t) const override { return nullptr; }
  void destroy_stream(void*) const noexcept override {}
  void* create_event() const override { return nullptr; }
  void destroy_event(void*) const noexcept override {}
  void record_event(const duet_context&, void*) const override {}
  void await_event(const duet_context&, void*) const override {}
  bool event_done(void*) const override { return true; }
  void wait_for_event(void*) const override {}
  void begin_graph(const duet_context&) const override { refuse_graph(); }
  void* end_graph(const duet_context&) const override { refuse_graph(); }
  void abandon_graph(const duet_context&) const noexcept override {}
  void graph_shape(void*, int64_t*, int64_t*) const override { refuse_graph(); }
  void launch_graph(const duet_context&, void*) const override { refuse_graph(); }
  void destroy_graph(void*) const noexcept override {}

  void begin_range(const char*) const override {}
  void end_range() const override {}
};

}  // namespace

const Backend& backend() {
  static const CpuBackend instance;
  return instance;
}

}  // namespace duet::cpu
#endif
