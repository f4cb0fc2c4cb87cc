#include "kernels/core/context.h"

#include <cblas.h>
#include <sched.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <string>

#include "kernels/core/check.h"
#include "kernels/core/dispatch.h"
#include "kernels/cpu/simd.h"

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

}  // namespace
}  // namespace duet

using namespace duet;

duet_status duet_context_create(const duet_context_options* options, duet_context** context) {
  return guard("context_create", [&] {
    require(context != nullptr, "context: null");
    const duet_context_options chosen = options ? load(options, "options") : duet_context_options DUET_CONTEXT_OPTIONS_INIT;
    require(chosen.threads >= 0 && chosen.threads <= kMaxThreads, "options.threads: expected 0 to ", kMaxThreads, ", got ", chosen.threads);
    require(chosen.precision >= DUET_PRECISION_FP32 && chosen.precision <= DUET_PRECISION_BF16, "options.precision: unknown value ",
            static_cast<int>(chosen.precision));
    if (chosen.device != DUET_CPU) throw Error(DUET_UNSUPPORTED, text("options.device: this build has no device ", static_cast<int>(chosen.device)));
    auto* made = new duet_context;
    made->threads = chosen.threads ? chosen.threads : allowed_threads();
    made->precision = chosen.precision;
    *context = made;
  });
}

void duet_context_destroy(duet_context* context) { delete context; }

int32_t duet_context_threads(const duet_context* context) { return context ? context->threads : 0; }

const char* duet_simd_target(void) { return cpu::simd_target(); }

const char* duet_blas_core(void) { return openblas_get_corename(); }
