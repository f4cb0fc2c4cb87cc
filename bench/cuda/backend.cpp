// A CUDA device, or the emulator in its place: inputs in its memory, calls timed by events on a stream of our own.
#include "bench/backend.h"

#include "bench/cuda/product.h"
#include "kernels/core/dispatch.h"
#include "kernels/cuda/device.h"

namespace duet::bench::cuda {
namespace {

namespace device = duet::cuda;

constexpr double kCacheTimes = 4;  // so many times the L2 cache is read or written to push out what it held

// Before each call a fill runs over several times the L2 cache: the call finds its inputs in memory, and the host has
// put it on the stream before the fill is done, so that the time between the two events is the device's alone.
class EventClock : public Stopwatch {
 public:
  EventClock(void* stream, const DeviceBytes& flushed, size_t flushed_bytes)
      : stream_(stream), flushed_(flushed), flushed_bytes_(flushed_bytes) {}

  void time(const std::function<void()>& call) override {
    laps_.emplace_back();
    Lap& lap = laps_.back();
    device::fill(flushed_.get(), 0, flushed_bytes_, stream_);
    lap.start.record(stream_);
    call();
    lap.stop.record(stream_);
  }
  std::vector<double> seconds() override {
    std::vector<double> out;
    for (Lap& lap : laps_) {
      lap.stop.wait();
      // An event counts in half microseconds: nothing may seem to take no time.
      out.push_back(std::max(1e-3 * static_cast<double>(lap.stop.elapsed_ms(lap.start)), 1e-9));
    }
    return out;
  }

 private:
  struct Lap {
    device::Event start, stop;
  };
  void* stream_;
  const DeviceBytes& flushed_;
  size_t flushed_bytes_;
  std::vector<Lap> laps_;
};

device::DeviceFacts facts_of_first() {
  if (device::device_count() == 0)
    throw Error(DUET_STATUS_UNSUPPORTED,
                "--device cuda: no CUDA device on this machine: " + device::no_device_reason());
  return device::device_facts(0);
}

class CudaBackend : public Backend {
 public:
  CudaBackend() : facts_(facts_of_first()) {
    static void* const stream = stream_.get();
    device_memory.allocate = [](size_t bytes) { return device::allocate(bytes); };
    device_memory.release = [](void* data) { device::release(data); };
    device_memory.copy = [](void* to, const void* from, size_t bytes) {
      device::copy(to, from, bytes, stream);
      device::synchronize(stream);
    };
    device_memory.in_use = device::memory_in_use;
    past_cache_bytes = std::max(1.0, kCacheTimes * static_cast<double>(facts_.l2_bytes));
    flushed_ = DeviceBytes(static_cast<size_t>(past_cache_bytes));
  }

  duet_device device() const override { return DUET_DEVICE_CUDA; }
  void* stream() const override { return stream_.get(); }
  std::string name() const override { return facts_.name; }
  std::unique_ptr<Stopwatch> stopwatch() override {
    return std::make_unique<EventClock>(stream_.get(), flushed_, static_cast<size_t>(past_cache_bytes));
  }
  std::unique_ptr<Product> product(const ProductShape& shape, const duet_context& context) override {
    return make_product(shape, context.precision, stream_.get());
  }

  // The peak is what a product of a large cube reaches in the context's precision. tf32x3 does three products of tf32.
  Roofline roofline(const duet_context& context) override {
    const bool triple = context.precision == DUET_PRECISION_TF32X3;
    const auto large = make_product({kPeakSize, kPeakSize, kPeakSize}, triple ? DUET_PRECISION_TF32 : context.precision,
                                    stream_.get());
    const double operations =
        2.0 * static_cast<double>(kPeakSize) * static_cast<double>(kPeakSize) * static_cast<double>(kPeakSize);
    Roofline out;
    out.flops_per_s = operations / best([&] { large->run(); }) / (triple ? 3 : 1);
    const size_t bytes = kPeakSize > 1024 ? size_t{1} << 30 : size_t{1} << 20;
    const DeviceBytes from(bytes), to(bytes);
    out.bytes_per_s =
        2 * static_cast<double>(bytes) / best([&] { device::copy(to.get(), from.get(), bytes, stream_.get()); });
    return out;
  }

 private:
  double best(const std::function<void()>& call) {
    constexpr int kTries = 10;
    const auto watch = stopwatch();
    for (int k = 0; k < kTries; ++k) watch->time(call);
    const std::vector<double> seconds = watch->seconds();
    return *std::min_element(seconds.begin(), seconds.end());
  }

  device::DeviceFacts facts_;
  device::Stream stream_;
  DeviceBytes flushed_;
};

const BackendRegistration kCuda("cuda", [] { return std::make_unique<CudaBackend>(); });

}  // namespace
}  // namespace duet::bench::cuda
