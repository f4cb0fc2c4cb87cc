#include "kernels/core/devices.h"

#include <cstring>

#include "kernels/core/check.h"
#include "kernels/core/dispatch.h"

using namespace duet;

duet_status duet_device_count(duet_device device, int32_t* count) {
  return guard("device_count", [&] {
    require(count != nullptr, "count: null");
    *count = 0;
    const Backend* backend = backend_of(enumerator(device, "device", DUET_DEVICE_CPU, DUET_DEVICE_CUDA));
    if (backend == nullptr)
      throw Error(DUET_STATUS_UNSUPPORTED,
                  text("this build has no ", device == DUET_DEVICE_CPU ? "CPU" : "CUDA", " backend"));
    *count = backend->device_count();
  });
}

duet_status duet_device_describe(duet_device device, int32_t index, duet_device_facts* facts) {
  return guard("device_describe", [&] {
    int32_t count = 0;
    succeed(duet_device_count(device, &count));
    const duet_device_facts known = load(static_cast<const duet_device_facts*>(facts), "facts");
    require(index >= 0 && index < count, "index: expected 0 to ", count - 1, ", got ", index);
    duet_device_facts found = DUET_DEVICE_FACTS_INIT;
    backend_of(device)->describe(index, found);
    found.struct_size = known.struct_size;
    std::memcpy(facts, &found, known.struct_size);
  });
}
