#include "data/array_write.h"

#include <algorithm>
#include <type_traits>
#include <vector>

#include "data/elements.h"
#include "data/npy.h"
#include "kernels/core/error.h"

namespace duet::data {
namespace {

struct TypeNames {
  ElementType type;
  const char *name, *descr;
};
constexpr TypeNames kTypes[] = {
    {ElementType::f2, "float16", "<f2"}, {ElementType::bf2, "bfloat16", "<f4"}, {ElementType::f4, "float32", "<f4"},
    {ElementType::f8, "float64", "<f8"}, {ElementType::b1, "bool", "|b1"},      {ElementType::i1, "int8", "|i1"},
    {ElementType::i2, "int16", "<i2"},   {ElementType::i4, "int32", "<i4"},     {ElementType::i8, "int64", "<i8"},
    {ElementType::u1, "uint8", "|u1"},   {ElementType::u2, "uint16", "<u2"},    {ElementType::u4, "uint32", "<u4"},
    {ElementType::u8, "uint64", "<u8"},  {ElementType::bytes, "strings", ""},   {ElementType::utf32, "strings", ""}};

const TypeNames& names_of(ElementType type) { return *std::ranges::find(kTypes, type, &TypeNames::type); }

// Calls body with the number of each element of a row, counted from the row's first, in C order.
template <class Body>
void for_each_in_row(const ArrayView& view, Body&& body) {
  const std::vector<int64_t> steps = element_steps(view);
  std::vector<int64_t> at(view.shape.size(), 0);
  int64_t place = 0;
  const int64_t count = checked_bytes({view.shape.begin() + 1, view.shape.end()}, 1, view.name);
  for (int64_t k = 0; k < count; ++k) {
    body(place);
    for (size_t axis = view.shape.size(); axis-- > 1;) {
      place += steps[axis];
      if (++at[axis] < view.shape[axis]) break;
      place -= steps[axis] * view.shape[axis];
      at[axis] = 0;
    }
  }
}

template <class T>
void write_values(AtomicFile& file, const std::vector<T>& values) {
  file.write(values.data(), values.size() * sizeof(T));
}

// A float16 goes as the bits that it came as.
template <class Body>
void with_stored_elements(const ArrayView& view, Body&& body) {
  if (view.type != ElementType::f2) return with_elements(view, body);
  ArrayView bits = view;
  bits.type = ElementType::u2;
  with_elements(bits, body);
}

}  // namespace

std::string type_name(ElementType type) { return names_of(type).name; }

void write_npy(AtomicFile& file, const ArrayView& view) {
  require(!view.shape.empty() && view.rows() > 0, view.name, ": shape ", shape_text(view.shape),
          "; expected at least one row");
  require(!is_text(view.type), view.name, ": strings; expected numbers");
  std::vector<int64_t> shape = view.shape;
  shape[0] = view.rows();
  const std::string header = npy_header(names_of(view.type).descr, shape);
  file.write(header.data(), header.size());
  std::vector<int64_t> places;
  for_each_in_row(view, [&](int64_t place) { places.push_back(place); });
  const int64_t row_step = element_steps(view)[0];
  with_stored_elements(view, [&](auto value) {
    std::vector<std::remove_const_t<decltype(value(0))>> row(places.size());
    for (int64_t i = 0; i < view.rows(); ++i) {
      const int64_t first = view.row(i) * row_step;
      for (size_t k = 0; k < places.size(); ++k) row[k] = value(first + places[k]);
      write_values(file, row);
    }
  });
}

void write_npy(AtomicFile& file, const LabelColumn& labels) {
  if (labels.sets.given()) {
    const LabelSets& sets = labels.sets;
    const std::string header = npy_header("|u1", {sets.count(), sets.classes});
    file.write(header.data(), header.size());
    std::vector<uint8_t> row(static_cast<size_t>(sets.classes));
    for (int64_t i = 0; i < sets.count(); ++i) {
      for (int64_t c = 0; c < sets.classes; ++c) row[static_cast<size_t>(c)] = sets.holds(i, c);
      write_values(file, row);
    }
    return;
  }
  if (labels.numbers) {
    const std::string header = npy_header("<i8", {labels.rows()});
    file.write(header.data(), header.size());
    return write_values(file, *labels.numbers);
  }
  std::vector<std::u32string> strings;
  size_t width = 1;
  for (const std::string& name : *labels.names) {
    strings.push_back(utf32(name));
    width = std::max(width, strings.back().size());
  }
  const std::string header = npy_header(text("<U", width), {labels.rows()});
  file.write(header.data(), header.size());
  for (std::u32string& string : strings) {
    string.resize(width);
    file.write(string.data(), width * sizeof(char32_t));
  }
}

}  // namespace duet::data
