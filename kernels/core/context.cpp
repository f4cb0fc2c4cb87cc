#include "kernels/core/context.h"

#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <memory>
#include <new>
#include <string>

#include "kernels/core/check.h"
#include "kernels/core/dispatch.h"
#include "kernels/core/outside.h"
#if DUET_CPU_BACKEND
#include "kernels/cpu/simd.h"
#include "kernels/cpu/thread_pool.h"
#endif

namespace duet {

template <>
inline constexpr size_t kFirstSize<duet_context_options> = offsetof(duet_context_options, faults);

namespace {

// The cgroup's CPU quota in cores, or a large number where there is none (v2 first, then v1).
double quota_cores() {
  std::string quota;
  double period = 0;
  if (std::ifstream file("/sys/fs/cgroup/cpu.max"); file >> quota >> period && quota != "max" && period > 0)
    return std::stod(quota) / period;
  double quota_us = 0;
  std::ifstream quota_file("/sys/fs/cgroup/cpu/cpu.cfs_quota_us"), period_file("/sys/fs/cgroup/cpu/cpu.cfs_period_us");
  if (quota_file >> quota_us && period_file >> period && quota_us > 0 && period > 0) return quota_us / period;
  return 1e9;
}

int32_t allowed_threads() {
  cpu_set_t mask;
  CPU_ZERO(&mask);
  const int32_t cores = sched_getaffinity(0, sizeof mask, &mask) == 0 ? std::max(1, CPU_COUNT(&mask)) : 1;
  return std::max(1, static_cast<int32_t>(std::min<double>(cores, std::ceil(quota_cores()))));
}

constexpr int32_t kMaxThreads = 1024;

// From here on process_number counts.
void count_forks() {
  static const bool counting = [] {
    if (pthread_atfork(nullptr, nullptr, [] { process_number.fetch_add(1, std::memory_order_relaxed); }) != 0)
      throw std::bad_alloc();
    return true;
  }();
  static_cast<void>(counting);
}

void require_cpu() {
#if !DUET_CPU_BACKEND
  throw Error(DUET_STATUS_UNSUPPORTED, "options.device: this build has no CPU backend");
#endif
}

void make_pool([[maybe_unused]] duet_context& context) {
#if DUET_CPU_BACKEND
  if (context.threads > 1) context.pool = new cpu::ThreadPool(context.threads, context.threads <= allowed_threads());
#endif
}

void release_pool([[maybe_unused]] cpu::ThreadPool* pool) {
#if DUET_CPU_BACKEND
  delete pool;
#endif
}

// Of the CUDA device of this index, or the reason why there is none.
void take_facts([[maybe_unused]] duet_context& context, [[maybe_unused]] int32_t device_index) {
#if DUET_CUDA_BACKEND
  const int devices = cuda::device_count();
  if (devices == 0) throw Error(DUET_STATUS_UNSUPPORTED, "options.device: no CUDA device on this machine");
  require(device_index >= 0 && device_index < devices, "options.device_index: expected 0 to ", devices - 1, ", got ",
          device_index);
  const cuda::DeviceFacts facts = cuda::device_facts(device_index);
  const auto refuse = [&](const auto&... why) {
    throw Error(DUET_STATUS_UNSUPPORTED, text("options.device_index: ", facts.name, " (compute capability ",
                                              facts.capability / 10, ".", facts.capability % 10, ") ", why...));
  };
  if (facts.shared_bytes_of_block < cuda::kLeastSharedBytes)
    refuse("gives a block ", facts.shared_bytes_of_block, " bytes of shared memory, the kernels need ",
           cuda::kLeastSharedBytes);
  if (!cuda::runs_on(device_index)) refuse("is none that this build holds code for");
  context.multiprocessors = facts.multiprocessors;
  context.shared_bytes = facts.shared_bytes_of_block;
#else
  throw Error(DUET_STATUS_UNSUPPORTED, "options.device: this build has no CUDA backend");
#endif
}

void* allocate_report([[maybe_unused]] int32_t device_index) {
#if DUET_CUDA_BACKEND
  const cuda::DeviceScope scope(device_index);
  return cuda::allocate_pinned(kReportBytes);
#else
  return nullptr;
#endif
}

void release_report([[maybe_unused]] void* report) {
#if DUET_CUDA_BACKEND
  cuda::release_pinned(report);
#endif
}

}  // namespace
}  // namespace duet

using namespace duet;

duet_status duet_context_create(const duet_context_options* options, duet_context** context) {
  return guard("context_create", [&] {
    require(context != nullptr, "context: null");
    const duet_context_options chosen =
        options ? load(options, "options") : duet_context_options DUET_CONTEXT_OPTIONS_INIT;
    require(chosen.threads >= 0 && chosen.threads <= kMaxThreads, "options.threads: expected 0 to ", kMaxThreads,
            ", got ", chosen.threads);
    const duet_device device = enumerator(chosen.device, "options.device", DUET_DEVICE_CPU, DUET_DEVICE_CUDA);
    const duet_precision precision =
        enumerator(chosen.precision, "options.precision", DUET_PRECISION_TF32X3, DUET_PRECISION_BF16);
    count_forks();
    auto made = std::make_unique<duet_context>();
    made->process = process_number.load(std::memory_order_relaxed);
    made->device = device;
    made->device_index = chosen.device_index;
    made->threads = chosen.threads ? chosen.threads : allowed_threads();
    made->precision = precision;
    made->stream = chosen.stream;
    made->faults = chosen.faults;
    require(chosen.small_rows >= -1, "options.small_rows: expected -1 or more, got ", chosen.small_rows);
    made->small_rows = chosen.small_rows == 0 ? kSmallRows : chosen.small_rows;
    if (device == DUET_DEVICE_CPU) require_cpu();
    if (device == DUET_DEVICE_CUDA) take_facts(*made, chosen.device_index);
    if (device == DUET_DEVICE_CUDA) made->report = allocate_report(chosen.device_index);
    if (device == DUET_DEVICE_CPU) make_pool(*made);
    *context = made.release();
  });
}

void duet_context_destroy(duet_context* context) {
  if (context == nullptr) return;
  release_pool(context->pool);
  // Pinned memory of the parent is not the child's to give back.
  if (context->process == process_number.load(std::memory_order_relaxed)) release_report(context->report);
  delete context;
}

duet_status duet_fault_check(const duet_fault* fault) {
  return guard("fault_check", [&] {
    require(fault != nullptr, "fault: null");
    if (fault->argument != nullptr) throw Error(DUET_STATUS_INVALID_ARGUMENT, fault_text(*fault));
  });
}

int32_t duet_context_threads(const duet_context* context) { return context ? context->threads : 0; }

#if DUET_CPU_BACKEND
const char* duet_simd_target(void) { return cpu::simd_target(); }
#else
const char* duet_simd_target(void) { return "none"; }
#endif
