// HDF5 files, read with libhdf5 in a child process. Its arrays are the data sets of all groups.
#include "data/array_file.h"
#include "kernels/core/error.h"
#include "runtime/printable.h"

#ifdef DUET_HAS_HDF5
#include <hdf5.h>

#include <algorithm>
#include <memory>
#include <string_view>

#include "data/child.h"

namespace duet::data {
namespace {

constexpr std::string_view kVersion =
    std::string_view(H5_VERS_INFO).substr(std::string_view("HDF5 library version: ").size());
constexpr hsize_t kBlockBytes = 4 << 20;  // rows are read in blocks of about so many bytes

// An identifier of libhdf5's. The child ends without closing any: the system takes all back.
using Id = hid_t;

class Hdf5Child {
 public:
  static constexpr const char* kLibrary = "libhdf5";

  explicit Hdf5Child(const std::filesystem::path& path) : path_(path.string()) {
    H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
    H5PLset_loading_state(0);  // no code from elsewhere, as filters are
    const Id access = H5Pcreate(H5P_FILE_ACCESS);
    H5Pset_fclose_degree(access, H5F_CLOSE_WEAK);
    file_ = H5Fopen(path.c_str(), H5F_ACC_RDONLY, access);
    if (file_ < 0) refuse(path_, "cannot be opened");
  }

  void send_names(ChildOutput& out) const {
    std::vector<std::string> names;
    if (H5Lvisit(file_, H5_INDEX_NAME, H5_ITER_INC, &Hdf5Child::visit, &names) < 0) refuse(path_, "cannot be listed");
    out.number(std::ssize(names));
    for (const std::string& name : names) out.words(name);
  }

  void send_array(ChildOutput& out, const std::string& name) const {
    const std::string place = array_place(path_, name);
    H5L_info_t link;
    if (H5Lget_info(file_, name.c_str(), &link, H5P_DEFAULT) < 0)
      throw Error(DUET_STATUS_INVALID_ARGUMENT, text(path_, ": no array '", shown(name), "'"));
    require(link.type != H5L_TYPE_EXTERNAL, place, ": a link into another file; expected an array of this one");
    const Id array = H5Dopen2(file_, name.c_str(), H5P_DEFAULT);
    if (array < 0) refuse(place, "cannot be opened");
    const Id properties = H5Dget_create_plist(array);
    require(H5Pget_external_count(properties) <= 0 && H5Pget_layout(properties) != H5D_VIRTUAL, place,
            ": its values lie in other files; expected them in this one");
    check_filters(properties, place);
    const Id space = H5Dget_space(array);
    const int rank = H5Sget_simple_extent_ndims(space);
    require(rank > 0, place, ": a single value, or none; expected an array");
    std::vector<hsize_t> shape(static_cast<size_t>(rank));
    H5Sget_simple_extent_dims(space, shape.data(), nullptr);

    ArrayView view{.name = place};
    for (const hsize_t extent : shape) view.shape.push_back(static_cast<int64_t>(std::min<hsize_t>(extent, INT64_MAX)));
    const Id stored = H5Dget_type(array);
    if (H5Tget_class(stored) == H5T_STRING) return send_strings(out, view, array, stored);
    const Id type = memory_type(stored, view);
    send_description(out, view);
    const auto each = static_cast<hsize_t>(checked_bytes(view.shape, element_bytes(view), place));
    if (each == 0) return;
    const hsize_t row_bytes = each / shape[0];
    hsize_t block = std::max<hsize_t>(1, kBlockBytes / row_bytes);
    // A chunk is inflated as a whole, each time that a part of it is read.
    std::vector<hsize_t> chunk(shape.size());
    if (H5Pget_layout(properties) == H5D_CHUNKED && H5Pget_chunk(properties, rank, chunk.data()) == rank)
      block = (block + chunk[0] - 1) / chunk[0] * chunk[0];
    block = std::min(block, shape[0]);
    std::vector<std::byte> values(block * row_bytes);
    std::vector<hsize_t> start(shape.size(), 0), count = shape;
    for (; start[0] < shape[0]; start[0] += block) {
      count[0] = std::min(block, shape[0] - start[0]);
      H5Sselect_hyperslab(space, H5S_SELECT_SET, start.data(), nullptr, count.data(), nullptr);
      const Id part = H5Screate_simple(rank, count.data(), nullptr);
      if (H5Dread(array, type, part, space, H5P_DEFAULT, values.data()) < 0) refuse(place, "cannot be read");
      H5Sclose(part);
      out.bytes(std::span(values).first(count[0] * row_bytes));
    }
  }

 private:
  // Data sets, whether by their own name or by a soft link, and links into other files, which are refused when they are
  // opened.
  static herr_t visit(Id group, const char* name, const H5L_info_t* link, void* names) {
    bool taken = link->type == H5L_TYPE_EXTERNAL;
    if (!taken) {
      const Id object = H5Oopen(group, name, H5P_DEFAULT);
      taken = object >= 0 && H5Iget_type(object) == H5I_DATASET;
      if (object >= 0) H5Oclose(object);
      // A data set that cannot be opened is named when it is.
      H5O_info_t info;
      if (object < 0 && H5Oget_info_by_name2(group, name, &info, H5O_INFO_BASIC, H5P_DEFAULT) >= 0)
        taken = info.type == H5O_TYPE_DATASET;
    }
    if (taken) static_cast<std::vector<std::string>*>(names)->push_back(name);
    return 0;
  }

  static herr_t collect(unsigned, const H5E_error2_t* error, void* words) {
    *static_cast<std::string*>(words) += error->desc ? std::string(error->desc) + "; " : "";
    return 0;
  }

  [[noreturn]] static void refuse(const std::string& place, const char* what) {
    std::string words;
    H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, &Hdf5Child::collect, &words);
    const bool newer = words.find("bad version number") != std::string::npos ||
                       words.find("bad superblock version") != std::string::npos;
    const std::string first = words.substr(0, words.find("; "));
    throw Error(DUET_STATUS_IO_ERROR,
                text(place, ": ", what, ": ",
                     newer ? text("written by a newer HDF5 than the ", kVersion,
                                  " of this build (h5py.File(..., libver='earliest') writes for it), or damaged")
                           : text("damaged, or no HDF5 file (", shown(first), ")")));
  }

  static void check_filters(Id properties, const std::string& place) {
    const int count = H5Pget_nfilters(properties);
    for (int k = 0; k < count; ++k) {
      unsigned flags = 0, config = 0;
      size_t values = 0;
      char name[64] = "";
      const H5Z_filter_t filter =
          H5Pget_filter2(properties, static_cast<unsigned>(k), &flags, &values, nullptr, sizeof name, name, &config);
      if (filter >= 0 && H5Zfilter_avail(filter) > 0) continue;
      name[sizeof name - 1] = '\0';
      throw Error(DUET_STATUS_UNSUPPORTED,
                  text(place, ": compressed with ", name[0] ? shown(name) : text("filter ", filter),
                       ", which libhdf5 is not registered for; expected gzip, szip, shuffle or none"));
    }
  }

  static Id memory_type(Id stored, ArrayView& view) {
    const size_t bytes = H5Tget_size(stored);
    switch (H5Tget_class(stored)) {
      case H5T_FLOAT: return float_type(stored, bytes, view);
      case H5T_INTEGER: {
        const bool sign = H5Tget_sign(stored) == H5T_SGN_2;
        require(bytes <= 8, view.name, ": integers of ", bytes, " bytes; expected at most 8");
        const int size = bytes <= 1 ? 0 : bytes <= 2 ? 1 : bytes <= 4 ? 2 : 3;
        constexpr ElementType kSigned[] = {ElementType::i1, ElementType::i2, ElementType::i4, ElementType::i8},
                              kUnsigned[] = {ElementType::u1, ElementType::u2, ElementType::u4, ElementType::u8};
        const Id signed_types[] = {H5T_NATIVE_INT8, H5T_NATIVE_INT16, H5T_NATIVE_INT32, H5T_NATIVE_INT64},
                 unsigned_types[] = {H5T_NATIVE_UINT8, H5T_NATIVE_UINT16, H5T_NATIVE_UINT32, H5T_NATIVE_UINT64};
        view.type = sign ? kSigned[size] : kUnsigned[size];
        return sign ? signed_types[size] : unsigned_types[size];
      }
      case H5T_ENUM:  // as h5py writes bool
        require(bytes == 1, view.name, ": an enumeration of ", bytes, " bytes; expected numbers");
        view.type = ElementType::b1;
        return H5Tcopy(stored);
      case H5T_OPAQUE:
        throw Error(DUET_STATUS_INVALID_ARGUMENT, text(view.name, ": an opaque type of ", bytes, " bytes",
                                                       bytes == 2 ? ", as bfloat16 is written" : "",
                                                       "; expected numbers (save x.astype(numpy.float32))"));
      default: throw Error(DUET_STATUS_INVALID_ARGUMENT, text(view.name, ": no numbers; expected numbers or strings"));
    }
  }

  static Id float_type(Id stored, size_t bytes, ArrayView& view) {
    size_t sign = 0, exponent_at = 0, exponent = 0, mantissa_at = 0, mantissa = 0;
    H5Tget_fields(stored, &sign, &exponent_at, &exponent, &mantissa_at, &mantissa);
    if (bytes == 2 && ((exponent == 5 && mantissa == 10) || (exponent == 8 && mantissa == 7))) {
      view.type = exponent == 5 ? ElementType::f2 : ElementType::bf2;
      const Id type = H5Tcopy(stored);
      H5Tset_order(type, H5T_ORDER_LE);
      return type;
    }
    view.type = bytes <= 4 ? ElementType::f4 : ElementType::f8;
    return bytes <= 4 ? H5T_NATIVE_FLOAT : H5T_NATIVE_DOUBLE;
  }

  static void send_strings(ChildOutput& out, ArrayView& view, Id array, Id stored) {
    const auto count = static_cast<size_t>(checked_bytes(view.shape, 1, view.name));
    std::vector<std::string> strings(count);
    if (count > 0 && H5Tis_variable_str(stored) > 0) {
      std::vector<char*> values(count, nullptr);
      if (H5Dread(array, stored, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()) < 0) refuse(view.name, "cannot be read");
      for (size_t k = 0; k < count; ++k)
        if (values[k]) strings[k] = values[k];
    } else if (count > 0) {
      const size_t bytes = H5Tget_size(stored);
      std::vector<char> values(static_cast<size_t>(checked_bytes(view.shape, static_cast<int64_t>(bytes), view.name)));
      if (H5Dread(array, stored, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()) < 0) refuse(view.name, "cannot be read");
      for (size_t k = 0; k < count; ++k) {
        std::string& value = strings[k];
        value.assign(values.data() + k * bytes, bytes);
        value.resize(std::min(value.find('\0'), value.size()));
        if (H5Tget_strpad(stored) == H5T_STR_SPACEPAD) value.erase(value.find_last_not_of(' ') + 1);
      }
    }
    send_text_array(out, view, strings);
  }

  std::string path_;
  Id file_;
};

}  // namespace

std::unique_ptr<ArrayFile> open_hdf5(const std::filesystem::path& path) {
  return std::make_unique<ChildFile<Hdf5Child>>(path);
}
std::string hdf5_version_text() { return std::string(kVersion); }

}  // namespace duet::data

#else

namespace duet::data {

std::unique_ptr<ArrayFile> open_hdf5(const std::filesystem::path& path) {
  throw Error(DUET_STATUS_UNSUPPORTED, text(path.string(),
                                            ": an HDF5 file, and this build has no libhdf5 (Debian: libhdf5-dev); "
                                            "numpy.savez of its arrays is read without"));
}
std::string hdf5_version_text() { return ""; }

}  // namespace duet::data

#endif
