#include "kernels/core/memory.h"

#include <cstring>
#include <new>

#include "kernels/core/dispatch.h"
#include "kernels/cpu/fill.h"
#include "kernels/cuda/device.h"

namespace duet {

namespace cpu {
namespace {

constexpr std::align_val_t kAlignment{256};

void* allocate(size_t bytes) {
  if (bytes == 0) return nullptr;
  void* const data = ::operator new(bytes, kAlignment, std::nothrow);
  if (data == nullptr) throw Error(DUET_STATUS_OUT_OF_MEMORY, text("allocating ", bytes, " bytes: out of host memory"));
  return data;
}
void release(void* data) { ::operator delete(data, kAlignment); }
void copy(void* to, const void* from, size_t bytes) {
  if (bytes != 0) std::memcpy(to, from, bytes);
}

}  // namespace
}  // namespace cpu

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
    *data = dispatch(
        context, [&] { return cpu::allocate(bytes); }, [&] { return cuda::allocate(bytes, context->stream); });
  });
}

duet_status duet_memory_release(duet_context* context, void* data) {
  return guard("memory_release", [&] {
    dispatch(
        context, [&] { cpu::release(data); }, [&] { cuda::release(data, context->stream); });
  });
}

duet_status duet_memory_fill(duet_context* context, void* data, int32_t byte, size_t bytes) {
  return guard("memory_fill", [&] {
    check_pointer(data, bytes, "data");
    require(byte >= 0 && byte <= 255, "byte: expected 0 to 255, got ", byte);
    dispatch(
        context, [&] { cpu::fill(*context, data, byte, bytes); },
        [&] { cuda::fill(data, byte, bytes, context->stream); });
  });
}

duet_status duet_memory_copy(duet_context* context, void* to, const void* from, size_t bytes) {
  return guard("memory_copy", [&] {
    check_pointer(to, bytes, "to");
    check_pointer(from, bytes, "from");
    dispatch(
        context, [&] { cpu::copy(to, from, bytes); }, [&] { cuda::copy(to, from, bytes, context->stream); });
  });
}

duet_status duet_pinned_allocate(duet_context* context, size_t bytes, void** data) {
  return guard("pinned_allocate", [&] {
    require(data != nullptr, "data: null");
    *data = dispatch(
        context, [&] { return cpu::allocate(bytes); },
        [&] { return bytes == 0 ? nullptr : cuda::allocate_pinned(bytes); });
  });
}

duet_status duet_pinned_release(duet_context* context, void* data) {
  return guard("pinned_release", [&] {
    dispatch(
        context, [&] { cpu::release(data); }, [&] { cuda::release_pinned(data); });
  });
}

duet_status duet_context_synchronize(duet_context* context) {
  return guard("context_synchronize", [&] {
    dispatch(
        context, [] {}, [&] { cuda::synchronize(context->stream); });
  });
}
