#include "kernels/core/halves.h"

#include "kernels/core/arguments.h"

namespace duet {

duet_workspace widen(const duet_context* context, const Arguments& arguments, const duet_workspace& workspace) {
  const std::span<const Half> halves = arguments.halves();
  if (halves.empty()) return workspace;
  dispatch(
      context, [&] { cpu::widen(*context, halves); }, [&] { cuda::widen(*context, halves); });
  const size_t taken = arguments.reserved();
  return {static_cast<char*>(workspace.data) + taken, workspace.bytes - taken};
}

}  // namespace duet
