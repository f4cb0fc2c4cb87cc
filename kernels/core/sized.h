// For callers in C++: a struct of the C interface, made where a call needs one.
#pragma once

namespace duet {

// The fields with their struct_size set; it converts to what a call takes.
template <class Struct>
class Sized {
 public:
  explicit Sized(const Struct& fields) : value_(fields) { value_.struct_size = sizeof(Struct); }
  operator const Struct*() const { return &value_; }

 private:
  Struct value_;
};

// duet_distance_forward(context, &inputs, sized<duet_distance_outputs>({.distances = distances}), workspace): lives as
// long as the call.
template <class Struct>
Sized<Struct> sized(const Struct& fields) {
  return Sized<Struct>(fields);
}

}  // namespace duet
