#include "kernels/core/context.h"

#include <sched.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <memory>
#include <string>

#include "kernels/core/check.h"
#include "kernels/core/dispatch.h"
#if DUET_CPU_BACKEND
#include <cblas.h>

#include "kernels/cpu/simd.h"
#endif

namespace duet {
namespace {

// The cgroup's CPU quota in cores, or a large number where there is none (v2 first, then v1).
double quota_cores() {
  std::string quota;
  double period = 0;
  if (std::ifstream file("/sys/fs/cgroup/cpu.max"); file >> quota >> period && quota != "max" && period > 0) return std::stod(quota) / period;
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

void require_cpu() {
#if !DUET_CPU_BACKEND
  throw Error(DUET_UNSUPPORTED, "options.device: this build has no CPU backend");
#endif
}

// Of the CUDA device of this index, or the reason why there is none.
void take_facts([[maybe_unused]] duet_context& context, [[maybe_unused]] int32_t device_index) {
#if DUET_CUDA_BACKEND
  const int devices = cuda::device_count();
  if (devices == 0) throw Error(DUET_UNSUPPORTED, "options.device: no CUDA device on this machine");
  require(device_index >= 0 && device_index < devices, "options.device_index: expected 0 to ", devices - 1, ", got ", device_index);
  const cuda::DeviceFacts facts = cuda::device_facts(device_index);
  context.multiprocessors = facts.multiprocessors;
  context.shared_bytes = facts.shared_bytes_of_block;
#else
  throw Error(DUET_UNSUPPORTED, "options.device: this build has no CUDA backend");
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
    const duet_context_options chosen = options ? load(options, "options") : duet_context_options DUET_CONTEXT_OPTIONS_INIT;
    require(chosen.threads >= 0 && chosen.threads <= kMaxThreads, "options.threads: expected 0 to ", kMaxThreads, ", got ", chosen.threads);
    const int device = enum_value(chosen.device);
    require(device == DUET_CPU || device == DUET_CUDA, "options.device: unknown value ", device);
    require(chosen.precision >= DUET_PRECISION_TF32X3 && chosen.precision <= DUET_PRECISION_BF16, "options.precision: unknown value ",
            static_cast<int>(chosen.precision));
    auto made = std::make_unique<duet_context>();
    made->device = chosen.device;
    made->device_index = chosen.device_index;
    made->threads = chosen.threads ? chosen.threads : allowed_threads();
    made->precision = chosen.precision;
    made->stream = chosen.stream;
    if (chosen.device == DUET_CPU) require_cpu();
    if (chosen.device == DUET_CUDA) take_facts(*made, chosen.device_index);
    if (chosen.device == DUET_CUDA) made->report = allocate_report(chosen.device_index);
    *context = made.release();
  });
}

void duet_context_destroy(duet_context* context) {
  if (context) release_report(context->report);
  delete context;
}

int32_t duet_context_threads(const duet_context* context) { return context ? context->threads : 0; }

#if DUET_CPU_BACKEND
const char* duet_simd_target(void) { return cpu::simd_target(); }
const char* duet_blas_core(void) { return openblas_get_corename(); }
#else
const char* duet_simd_target(void) { return "none"; }
const char* duet_blas_core(void) { return "none"; }
#endif
