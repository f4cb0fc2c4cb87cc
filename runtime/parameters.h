// The parameters of a model: values, gradients, both moments of the optimizer and the teacher's moving average, each
// kind in one contiguous allocation, so that one optimizer call and one memset serve all of them.
//
//   ParameterStore store;
//   Classifier classifier(store, "classifier", 64, 10);   // modules add what they need, in order
//   store.initialise(context, seed);                      // allocates and draws; nothing can be added after it
//   classifier.forward(tape, store.student(), x);         // or store.teacher(), read without gradients
//
// A parameter's number, counted in the order of adding, is the step of its initialisation draw (METHOD.md 0, stream 1):
// a parameter's start does not depend on the others' shapes.
#pragma once

#include <array>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "runtime/memory.h"
#include "runtime/tensor.h"

namespace duet {

enum class ParameterKind { value, gradient, first_moment, second_moment, teacher };
inline constexpr int kParameterKinds = 5;

struct Parameter {
  std::string name;            // as in the safetensors file: "encoder_a.layer0.weight"
  std::vector<int64_t> shape;  // one or two extents
  double bound;                // starts from U(-bound, bound) ...
  double constant;             // ... or, where bound is 0, from this number
  int64_t offset = 0;          // floats from the start of each kind
  bool decays = true;          // whether weight decay applies
  float low = -std::numeric_limits<float>::infinity(),
        high = std::numeric_limits<float>::infinity();  // where optimizers keep it

  int64_t rows() const { return shape[0]; }
  int64_t columns() const { return shape.size() > 1 ? shape[1] : 1; }
};

class ParameterStore;

// Which set of values a module reads, and where it adds their gradients.
class ParameterView {
 public:
  Tensor operator[](int64_t number) const;

 private:
  friend class ParameterStore;
  ParameterView(const ParameterStore& store, bool student, float* gradients)
      : store_(&store), student_(student), gradients_(gradients) {}
  const ParameterStore* store_;
  bool student_;
  float* gradients_;  // null: no gradient
};

class ParameterStore {
 public:
  ParameterStore() = default;
  ParameterStore(const ParameterStore&) = delete;  // modules and views point at it
  ParameterStore& operator=(const ParameterStore&) = delete;

  // Returns the parameter's number. Names are unique.
  int64_t add_uniform(const std::string& name, std::vector<int64_t> shape, double bound);
  int64_t add_constant(const std::string& name, std::vector<int64_t> shape, double constant);
  // A scalar in [low, high] to which no weight decay applies; it starts from the number in there that is nearest to
  // start.
  int64_t add_bounded(const std::string& name, double start, double low, double high);

  // Draws the values, copies them to the teacher, clears the rest, all in the memory of the context, which must outlive
  // the store. Once.
  void initialise(duet_context* context, uint64_t seed);

  int64_t count() const { return static_cast<int64_t>(parameters_.size()); }
  const Parameter& parameter(int64_t number) const { return parameters_[static_cast<size_t>(number)]; }
  int64_t number(const std::string& name) const;  // throws where there is none

  ParameterView student() const { return student(all(ParameterKind::gradient).data); }  // values with gradients
  // The values, whose gradients are added into memory of the caller's, which lies as all() does.
  ParameterView student(float* gradients) const { return {*this, true, gradients}; }
  ParameterView teacher() const { return {*this, false, nullptr}; }  // the moving average, read-only

  // One parameter's array of a kind; all of a kind as one vector (with the padding that aligns each parameter: zeros,
  // and they stay zeros).
  Tensor tensor(int64_t number, ParameterKind kind) const;
  Tensor all(ParameterKind kind) const;

  // All values of a kind on the host, as all() lies; and the way back. Parameter number n begins at
  // parameter(n).offset.
  std::vector<float> read(ParameterKind kind) const;
  void write(ParameterKind kind, std::span<const float> values);

  // context: in whose stream's order; null: that of initialise().
  void clear_gradients(duet_context* context = nullptr);

 private:
  int64_t add(Parameter parameter);

  std::vector<Parameter> parameters_;
  int64_t floats_ = 0;  // of each kind
  duet_context* context_ = nullptr;
  std::array<Memory, kParameterKinds> memory_;
  bool initialised_ = false;
};

// "encoder_a.layer0.weight: element 17 is nan" of the first value of a kind that is NaN or infinite; "" where every one
// is a finite number.
std::string first_not_finite(const ParameterStore& store, ParameterKind kind);

}  // namespace duet
