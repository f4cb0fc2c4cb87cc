#include "runtime/parameters.h"

#include <algorithm>
#include <cmath>

#include "kernels/core/error.h"
#include "runtime/finite.h"
#include "runtime/random.h"

namespace duet {
namespace {

constexpr int64_t kAlignedFloats = 64 / sizeof(float);  // a cache line, and the widest SIMD register

float* floats_of(const Memory& memory) { return reinterpret_cast<float*>(memory.get()); }

}  // namespace

Tensor ParameterView::operator[](int64_t number) const {
  Tensor tensor = store_->tensor(number, student_ ? ParameterKind::value : ParameterKind::teacher);
  if (gradients_) tensor.grad = gradients_ + store_->parameter(number).offset;
  return tensor;
}

int64_t ParameterStore::add_uniform(const std::string& name, std::vector<int64_t> shape, double bound) {
  require(bound > 0, "parameter ", name, ": expected a bound above 0, got ", bound);
  return add({name, std::move(shape), bound, 0});
}

int64_t ParameterStore::add_constant(const std::string& name, std::vector<int64_t> shape, double constant) {
  return add({name, std::move(shape), 0, constant});
}

int64_t ParameterStore::add_bounded(const std::string& name, double start, double low, double high) {
  require(low <= high, "parameter ", name, ": expected bounds in order, got ", low, " and ", high);
  return add({name, {1}, 0, std::clamp(start, low, high), 0, false, static_cast<float>(low), static_cast<float>(high)});
}

int64_t ParameterStore::add(Parameter parameter) {
  require(!initialised_, "parameter ", parameter.name, ": the store is initialised");
  require(parameter.shape.size() == 1 || parameter.shape.size() == 2, "parameter ", parameter.name,
          ": expected one or two extents, got ", parameter.shape.size());
  for (const int64_t extent : parameter.shape)
    require(extent > 0, "parameter ", parameter.name, ": expected extents above 0, got ", extent);
  for (const Parameter& other : parameters_)
    require(other.name != parameter.name, "parameter ", parameter.name, ": added twice");
  parameter.offset = floats_;
  floats_ += (parameter.rows() * parameter.columns() + kAlignedFloats - 1) / kAlignedFloats * kAlignedFloats;
  parameters_.push_back(std::move(parameter));
  return count() - 1;
}

void ParameterStore::initialise(duet_context* context, uint64_t seed) {
  require(!initialised_, "initialise: called twice");
  context_ = context;
  const size_t bytes = static_cast<size_t>(floats_) * sizeof(float);
  for (Memory& memory : memory_) {
    memory = Memory(context, bytes);
    fill_zero(context, memory.get(), bytes);
  }
  initialised_ = true;
  for (int64_t number = 0; number < count(); ++number) {
    const Tensor values = tensor(number, ParameterKind::value);
    if (parameter(number).bound > 0) {
      const auto bound = static_cast<float>(parameter(number).bound);
      RandomDraw{seed, kStreamInitialisation, static_cast<uint32_t>(number)}.fill_uniform(context, -bound, bound,
                                                                                          values);
    } else {
      const std::vector<float> constant(static_cast<size_t>(values.size()),
                                        static_cast<float>(parameter(number).constant));
      copy_to_device(context, values.data, std::span(constant));
    }
  }
  copy_bytes(context, all(ParameterKind::teacher).data, all(ParameterKind::value).data, bytes);
}

int64_t ParameterStore::number(const std::string& name) const {
  for (int64_t number = 0; number < count(); ++number)
    if (parameter(number).name == name) return number;
  throw Error(DUET_STATUS_INVALID_ARGUMENT, text("no parameter is named ", name));
}

Tensor ParameterStore::tensor(int64_t number, ParameterKind kind) const {
  require(initialised_, "parameters: read before initialise()");
  require(number >= 0 && number < count(), "parameter: expected a number below ", count(), ", got ", number);
  const Parameter& which = parameter(number);
  return Tensor::view(floats_of(memory_[static_cast<size_t>(kind)]) + which.offset, which.rows(), which.columns());
}

Tensor ParameterStore::all(ParameterKind kind) const {
  require(initialised_, "parameters: read before initialise()");
  return Tensor::view(floats_of(memory_[static_cast<size_t>(kind)]), floats_);
}

std::vector<float> ParameterStore::read(ParameterKind kind) const {
  std::vector<float> values(static_cast<size_t>(floats_));
  copy_to_host(context_, std::span(values), static_cast<const float*>(all(kind).data));
  return values;
}

void ParameterStore::write(ParameterKind kind, std::span<const float> values) {
  require(std::ssize(values) == floats_, "parameters: expected ", floats_, " values, got ", values.size());
  copy_to_device(context_, all(kind).data, values);
}

std::string first_not_finite(const ParameterStore& store, ParameterKind kind) {
  const std::vector<float> values = store.read(kind);
  for (int64_t number = 0; number < store.count(); ++number) {
    const Parameter& parameter = store.parameter(number);
    const float* const own = values.data() + parameter.offset;
    const int64_t at = first_not_finite<float>(own, parameter.rows() * parameter.columns());
    if (at >= 0) return text(parameter.name, ": element ", at, " is ", not_finite_name(own[at]));
  }
  return "";
}

void ParameterStore::clear_gradients(duet_context* context) {
  const Tensor gradients = all(ParameterKind::gradient);
  fill_zero(context ? context : context_, gradients.data, static_cast<size_t>(gradients.size()) * sizeof(float));
}

}  // namespace duet
