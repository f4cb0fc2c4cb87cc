// MATLAB files, version 5 and 7.3, read with libmatio in a child process. Its arrays are the variables. MATLAB has no
// vectors: a row of several values is taken for one.
#include "data/array_file.h"
#include "kernels/core/error.h"
#include "runtime/printable.h"

#ifdef DUET_HAS_MATIO
#include <matio.h>

#include <algorithm>
#include <utility>

#include "data/child.h"

namespace duet::data {
namespace {

class MatlabChild {
 public:
  static constexpr const char* kLibrary = "libmatio";

  explicit MatlabChild(const std::filesystem::path& path)
      : path_(path.string()), file_(Mat_Open(path.c_str(), MAT_ACC_RDONLY)) {
    if (file_ == nullptr)
      throw Error(DUET_STATUS_IO_ERROR, text(path_, ": damaged, or no MATLAB file that libmatio can open"));
  }

  void send_names(ChildOutput& out) const {
    std::vector<std::string> names;
    while (matvar_t* variable = Mat_VarReadNextInfo(file_)) {
      if (variable->name) names.push_back(variable->name);
      Mat_VarFree(variable);
    }
    out.number(std::ssize(names));
    for (const std::string& name : names) out.words(name);
  }

  void send_array(ChildOutput& out, const std::string& name) const {
    const std::string place = array_place(path_, name);
    const matvar_t* variable = Mat_VarRead(file_, name.c_str());
    require(variable != nullptr, path_, ": no array '", shown(name), "', or one that is damaged");
    require(!variable->isComplex, place, ": complex numbers; expected real ones");
    ArrayView view{.name = place};
    for (int k = 0; k < variable->rank; ++k) view.shape.push_back(static_cast<int64_t>(variable->dims[k]));
    if (variable->class_type == MAT_C_CHAR) return send_characters(out, std::move(view), *variable);
    if (variable->class_type == MAT_C_CELL) return send_cells(out, std::move(view), *variable);
    view.type = type_of(*variable, place);
    const auto bytes = static_cast<size_t>(checked_bytes(view.shape, element_bytes(view), place));
    require(bytes == 0 || (variable->data != nullptr && variable->nbytes == bytes), place,
            ": damaged: ", variable->nbytes, " bytes of values; expected ", bytes, " for shape ",
            shape_text(view.shape));
    if (view.shape.size() == 2 && view.shape[0] == 1 && view.shape[1] > 1) view.shape.erase(view.shape.begin());
    view.fortran_order = view.shape.size() > 1;
    send_description(out, view);
    out.bytes({static_cast<const std::byte*>(variable->data), bytes});
  }

 private:
  static ElementType type_of(const matvar_t& variable, const std::string& place) {
    if (variable.isLogical && variable.data_size == 1) return ElementType::b1;
    constexpr std::pair<matio_classes, ElementType> kTypes[] = {
        {MAT_C_DOUBLE, ElementType::f8}, {MAT_C_SINGLE, ElementType::f4}, {MAT_C_INT8, ElementType::i1},
        {MAT_C_INT16, ElementType::i2},  {MAT_C_INT32, ElementType::i4},  {MAT_C_INT64, ElementType::i8},
        {MAT_C_UINT8, ElementType::u1},  {MAT_C_UINT16, ElementType::u2}, {MAT_C_UINT32, ElementType::u4},
        {MAT_C_UINT64, ElementType::u8}};
    for (const auto& [known, type] : kTypes)
      if (variable.class_type == known) return type;
    throw Error(DUET_STATUS_INVALID_ARGUMENT,
                text(place, variable.class_type == MAT_C_SPARSE ? ": a sparse matrix; expected a full one (full(x))"
                                                                : ": no matrix of numbers; expected one, or strings"));
  }

  // Row `row` of a character matrix, whose characters lie column by column.
  static std::string characters(const matvar_t& variable, size_t row) {
    const size_t rows = variable.dims[0], columns = variable.dims[1];
    const auto each = static_cast<size_t>(variable.data_size);
    std::string out;
    if (variable.rank != 2 || variable.data == nullptr || variable.nbytes < rows * columns * each) return out;
    // A row in UTF-8 may have more bytes than characters.
    if (variable.data_type == MAT_T_UTF8 && rows == 1)
      return {static_cast<const char*>(variable.data), variable.nbytes};
    for (size_t k = 0; k < columns; ++k) {
      const auto* at = static_cast<const unsigned char*>(variable.data) + (k * rows + row) * each;
      const unsigned code = each == 2 ? at[0] | at[1] << 8 : at[0];
      if (each == 1 || code < 0x80)
        out += static_cast<char>(code);
      else if (code < 0x800)
        (out += static_cast<char>(0xC0 | code >> 6)) += static_cast<char>(0x80 | (code & 63));
      else
        ((out += static_cast<char>(0xE0 | code >> 12)) += static_cast<char>(0x80 | (code >> 6 & 63))) +=
            static_cast<char>(0x80 | (code & 63));
    }
    out.erase(out.find_last_not_of(std::string_view(" \0", 2)) + 1);  // rows are padded to one length
    return out;
  }

  static void send_characters(ChildOutput& out, ArrayView view, const matvar_t& variable) {
    require(view.shape.size() == 2, view.name, ": characters of shape ", shape_text(view.shape),
            "; expected a string a row");
    view.shape.pop_back();
    std::vector<std::string> strings;
    for (int64_t row = 0; row < view.shape[0]; ++row) strings.push_back(characters(variable, static_cast<size_t>(row)));
    send_text_array(out, std::move(view), strings);
  }

  static void send_cells(ChildOutput& out, ArrayView view, const matvar_t& variable) {
    const auto count = static_cast<size_t>(checked_bytes(view.shape, 1, view.name));
    std::vector<std::string> strings;
    auto* const* cells = static_cast<matvar_t* const*>(variable.data);
    for (size_t k = 0; k < count; ++k) {
      const matvar_t* cell = cells ? cells[k] : nullptr;
      require(cell != nullptr && (cell->class_type == MAT_C_CHAR || cell->nbytes == 0), view.name, ": cell ", k,
              " is no string; expected strings alone");
      strings.push_back(cell->nbytes == 0 ? "" : characters(*cell, 0));
    }
    view.shape = {static_cast<int64_t>(count)};
    send_text_array(out, std::move(view), strings);
  }

  std::string path_;
  mat_t* file_;
};

}  // namespace

std::unique_ptr<ArrayFile> open_matlab(const std::filesystem::path& path) {
  return std::make_unique<ChildFile<MatlabChild>>(path);
}

std::string matlab_version_text() {
  return text(MATIO_MAJOR_VERSION, ".", MATIO_MINOR_VERSION, ".", MATIO_RELEASE_LEVEL);
}

}  // namespace duet::data

#else

namespace duet::data {

std::unique_ptr<ArrayFile> open_matlab(const std::filesystem::path& path) {
  throw Error(DUET_STATUS_UNSUPPORTED, text(path.string(),
                                            ": a MATLAB file, and this build has no libmatio (Debian: libmatio-dev); "
                                            "numpy.savez of its arrays is read without"));
}
std::string matlab_version_text() { return ""; }

}  // namespace duet::data

#endif
