#include "kernels/core/memory.h"

#include "kernels/core/check.h"
#include "kernels/core/dispatch.h"

namespace duet {
namespace {

void check_pointer(const void* data, size_t bytes, const char* name) {
  require(data != nullptr || bytes == 0, name, ": null, and ", bytes, " bytes");
}

}  // namespace
}  // namespace duet

using namespace duet;

duet_status duet_memory_allocate(duet_context* context, size_t bytes, void** data) {
  return guard("memory_allocate", [&] {
    require(data != nullptr, "data: null");
    *data = Current(context)->allocate(*context, bytes);
  });
}

duet_status duet_memory_release(duet_context* context, void* data) {
  return guard("memory_release", [&] { Current(context)->release(*context, data); });
}

duet_status duet_memory_fill(duet_context* context, void* data, int32_t byte, size_t bytes) {
  return guard("memory_fill", [&] {
    check_pointer(data, bytes, "data");
    require(byte >= 0 && byte <= 255, "byte: expected 0 to 255, got ", byte);
    Current(context)->fill(*context, data, byte, bytes);
  });
}

duet_status duet_memory_copy(duet_context* context, void* to, const void* from, size_t bytes) {
  return guard("memory_copy", [&] {
    check_pointer(to, bytes, "to");
    check_pointer(from, bytes, "from");
    Current(context)->copy(*context, to, from, bytes);
  });
}

duet_status duet_pinned_allocate(duet_context* context, size_t bytes, void** data) {
  return guard("pinned_allocate", [&] {
    require(data != nullptr, "data: null");
    *data = Current(context)->allocate_pinned(bytes);
  });
}

duet_status duet_pinned_release(duet_context* context, void* data) {
  return guard("pinned_release", [&] { Current(context)->release_pinned(data); });
}

duet_status duet_context_synchronize(duet_context* context) {
  return guard("context_synchronize", [&] { Current(context)->synchronize(*context); });
}
