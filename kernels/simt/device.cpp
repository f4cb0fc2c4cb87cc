#include "kernels/simt/simt.h"
namespace duet::simt {
void submit(void*, std::function<void()> work) { work(); }
}  // namespace duet::simt
