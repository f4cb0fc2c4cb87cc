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

namespace duet {

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
    made->backend = backend_of(device);
    if (made->backend == nullptr)
      throw Error(DUET_STATUS_UNSUPPORTED,
                  text("options.device: this build has no ", device == DUET_DEVICE_CPU ? "CPU" : "CUDA", " backend"));
    made->device_index = chosen.device_index;
    made->threads = chosen.threads ? chosen.threads : allowed_threads();
    made->precision = precision;
    made->stream = chosen.stream;
    made->faults = chosen.faults;
    require(chosen.small_rows >= -1, "options.small_rows: expected -1 or more, got ", chosen.small_rows);
    made->small_rows = chosen.small_rows == 0 ? kSmallRows : chosen.small_rows;
    made->backend->open(*made, allowed_threads());
    *context = made.release();
  });
}

void duet_context_destroy(duet_context* context) {
  if (context == nullptr) return;
  context->backend->close(*context, context->process == process_number.load(std::memory_order_relaxed));
  delete context;
}

duet_status duet_fault_check(const duet_fault* fault) {
  return guard("fault_check", [&] {
    require(fault != nullptr, "fault: null");
    if (fault->argument != nullptr) throw Error(DUET_STATUS_INVALID_ARGUMENT, fault_text(*fault));
  });
}

int32_t duet_context_threads(const duet_context* context) { return context ? context->threads : 0; }

const char* duet_simd_target(void) {
  const Backend* backend = backend_of(DUET_DEVICE_CPU);
  return backend ? backend->simd_target() : "none";
}
