// .npz archives: a member NAME.npy an array.
#include <algorithm>

#include "data/array_file.h"
#include "data/npy.h"
#include "data/zip.h"
#include "kernels/core/error.h"
#include "runtime/printable.h"

namespace duet::data {
namespace {

constexpr std::string_view kEnding = ".npy";

class NpzFile final : public ArrayFile {
 public:
  explicit NpzFile(std::filesystem::path path) : path_(std::move(path)), members_(zip_members(path_)) {}

  std::vector<std::string> names() const override {
    std::vector<std::string> out;
    for (const ZipMember& member : members_)
      if (member.name.ends_with(kEnding)) out.push_back(member.name.substr(0, member.name.size() - kEnding.size()));
    std::ranges::sort(out);
    return out;
  }

  StoredArray open(const std::string& name) const override {
    for (const ZipMember& member : members_) {
      if (member.name != name + std::string(kEnding)) continue;
      HeldBytes held = read_zip_member(path_, member);
      return {std::move(held.memory), parse_npy(held.bytes, array_place(path_, name)), held.mapping};
    }
    throw Error(DUET_STATUS_INVALID_ARGUMENT, text(path_.string(), ": no array '", shown(name), "'"));
  }

 private:
  std::filesystem::path path_;
  std::vector<ZipMember> members_;
};

}  // namespace

std::unique_ptr<ArrayFile> open_npz(const std::filesystem::path& path) { return std::make_unique<NpzFile>(path); }

}  // namespace duet::data
