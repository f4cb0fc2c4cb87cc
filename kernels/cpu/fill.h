// Bytes of the host's memory, over the threads of a context.
#pragma once

#include <cstddef>

#include "kernels/core/dispatch.h"

namespace duet::cpu {

// data[0 .. bytes) = byte. Where one thread takes only microseconds it does all of it.
void fill(const duet_context& context, void* data, int32_t byte, size_t bytes);

}  // namespace duet::cpu
