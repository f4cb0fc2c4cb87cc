// The backends of this build: the one place that names them all.
#include "kernels/core/backend.h"

namespace duet {

namespace cpu {
const Backend& backend();
}
namespace cuda {
const Backend& backend();
}

const Backend* backend_of(duet_device device) {
#if DUET_CPU_BACKEND
  if (device == DUET_DEVICE_CPU) return &cpu::backend();
#endif
#if DUET_CUDA_BACKEND
  if (device == DUET_DEVICE_CUDA) return &cuda::backend();
#endif
  static_cast<void>(device);
  return nullptr;
}

}  // namespace duet
