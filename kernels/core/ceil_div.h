// The division that says how many pieces of a size cover a count.
#pragma once

#include <type_traits>

#include "kernels/core/host_device.h"

namespace duet {

// The least q with q * of >= count, in the type of count. count >= 0, of > 0.
template <class Integer>
DUET_HOST_DEVICE constexpr Integer ceil_div(Integer count, std::type_identity_t<Integer> of) {
  return (count + of - 1) / of;
}

}  // namespace duet
