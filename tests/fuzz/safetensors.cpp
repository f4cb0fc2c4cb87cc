// Any bytes as a model file: its tensors are read, or Error says why not.
#include "runtime/safetensors.h"

#include <cstring>

#include "kernels/core/error.h"
#include "tests/fuzz/memory_file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const duet::fuzz::MemoryFile given(data, size);
  try {
    const duet::SafetensorsFile file(given.path());
    for (const duet::NamedArray& array : file.arrays()) {
      // Every byte that a tensor claims to have is there.
      const size_t bytes =
          static_cast<size_t>(array.size()) * (array.dtype == DUET_DTYPE_F64 || array.dtype == DUET_DTYPE_I64 ? 8 : 4);
      std::vector<std::byte> copy(bytes);
      file.read(array.name, array.dtype, array.shape, copy.data());
    }
  } catch (const duet::Error&) {
  }
  return 0;
}
