#include "runtime/device.h"

#include "kernels/core/error.h"

namespace duet {

Device::Stream::Stream(duet_device device, int32_t index) : device(device) {
  succeed(duet_stream_create(device, index, &handle));
}
Device::Stream::~Stream() { duet_stream_destroy(device, handle); }

Device::Device(const DeviceOptions& options) : options_(options) {
  if (options.kind == DUET_DEVICE_CPU) {
    context_ = make_context(nullptr, nullptr);
    return;
  }
  void* const stream = options.stream ? options.stream : make_stream();
  context_ = make_context(stream, nullptr);
  fault_ = DeviceArray<duet_fault>(context(), 1);
  fault_.clear();
  step_context_ = make_context(stream, fault_.data());
  upload_context_ = make_context(make_stream(), nullptr);
  for (int k = 0; k < kBranches; ++k) {
    branch_contexts_.push_back(make_context(make_stream(), fault_.data()));
    branches_.push_back(branch_contexts_.back().get());
  }
}

Device::~Device() = default;

void* Device::make_stream() { return streams_.emplace_back(options_.kind, options_.index).handle; }

Device::Context Device::make_context(void* stream, duet_fault* faults) const {
  duet_context_options options = DUET_CONTEXT_OPTIONS_INIT;
  options.device = options_.kind;
  options.device_index = options_.index;
  options.threads = static_cast<int32_t>(options_.threads);
  options.precision = options_.precision;
  options.stream = stream;
  options.faults = faults;
  options.small_rows = options_.small_rows;
  duet_context* made = nullptr;
  succeed(duet_context_create(&options, &made));
  return Context(made);
}

bool Device::holds(int64_t bytes) const {
  if (options_.kind == DUET_DEVICE_CPU) return true;
  if (options_.data_bytes > 0) return bytes <= options_.data_bytes;
  duet_device_facts facts = DUET_DEVICE_FACTS_INIT;
  succeed(duet_device_describe(options_.kind, options_.index, &facts));
  return bytes <= facts.free_bytes / 2;
}

void Device::clear_fault() {
  if (fault_.size() > 0) fault_.clear();
}

}  // namespace duet
