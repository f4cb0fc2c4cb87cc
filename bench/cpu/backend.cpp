#include "bench/cpu/backend.h"

#include <chrono>

#include "bench/backend.h"

namespace duet::bench::cpu {
namespace {

class WallClock : public Stopwatch {
 public:
  void time(const std::function<void()>& call) override {
    using Clock = std::chrono::steady_clock;
    const auto start = Clock::now();
    call();
    seconds_.push_back(std::chrono::duration<double>(Clock::now() - start).count());
  }
  std::vector<double> seconds() override { return seconds_; }

 private:
  std::vector<double> seconds_;
};

class CpuBackend : public Backend {
 public:
  duet_device device() const override { return DUET_DEVICE_CPU; }
  std::string name() const override { return text("SIMD ", duet_simd_target(), ", OpenBLAS ", blas_core()); }
  std::unique_ptr<Stopwatch> stopwatch() override { return std::make_unique<WallClock>(); }
  std::unique_ptr<Product> product(const ProductShape& shape, const duet_context& context) override {
    return make_product(shape, context);
  }
  Roofline roofline(const duet_context& context) override { return measure_roofline(context); }
};

const BackendRegistration kCpu("cpu", [] { return std::make_unique<CpuBackend>(); });

}  // namespace
}  // namespace duet::bench::cpu
