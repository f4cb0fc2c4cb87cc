#include "kernels/core/devices.h"

#include <algorithm>
#include <cstring>

#include "kernels/core/check.h"
#include "kernels/core/dispatch.h"

using namespace duet;

duet_status duet_device_count(duet_device device, int32_t* count) {
  return guard("device_count", [&] {
    require(count != nullptr, "count: null");
    *count = 0;
    if (enumerator(device, "device", DUET_DEVICE_CPU, DUET_DEVICE_CUDA) == DUET_DEVICE_CPU) {
#if DUET_CPU_BACKEND
      *count = 1;
      return;
#else
      throw Error(DUET_STATUS_UNSUPPORTED, "this build has no CPU backend");
#endif
    }
#if DUET_CUDA_BACKEND
    *count = cuda::device_count();
    if (*count == 0) throw Error(DUET_STATUS_CUDA_ERROR, "no CUDA device on this machine: " + cuda::no_device_reason());
#else
    throw Error(DUET_STATUS_UNSUPPORTED, "this build has no CUDA backend");
#endif
  });
}

duet_status duet_device_describe(duet_device device, int32_t index, duet_device_facts* facts) {
  return guard("device_describe", [&] {
    int32_t count = 0;
    succeed(duet_device_count(device, &count));
    const duet_device_facts known = load(static_cast<const duet_device_facts*>(facts), "facts");
    require(index >= 0 && index < count, "index: expected 0 to ", count - 1, ", got ", index);
    duet_device_facts found = DUET_DEVICE_FACTS_INIT;
    const auto name_it = [&](const std::string& name) {
      name.copy(found.name, std::min(name.size(), sizeof found.name - 1));
    };
    if (device == DUET_DEVICE_CPU) name_it("CPU");
#if DUET_CUDA_BACKEND
    if (device == DUET_DEVICE_CUDA) {
      const cuda::DeviceFacts given = cuda::device_facts(index);
      const cuda::MemoryInfo memory = cuda::memory_info(index);
      name_it(given.name);
      found.capability = given.capability;
      found.multiprocessors = given.multiprocessors;
      found.memory_bytes = memory.total_bytes;
      found.free_bytes = memory.free_bytes;
      found.shared_bytes_of_block = given.shared_bytes_of_block;
      found.driver_version = given.driver_version;
      found.emulated = given.emulated;
    }
#endif
    found.struct_size = known.struct_size;
    std::memcpy(facts, &found, known.struct_size);
  });
}
