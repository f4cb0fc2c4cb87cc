#include "data/zip.h"

#include <algorithm>
#include <set>
#include <string_view>
#include <utility>

#include "kernels/core/error.h"
#include "runtime/files/file_bytes.h"
#include "runtime/files/reading_limit.h"
#include "runtime/printable.h"

#ifdef DUET_HAS_ZLIB
#include <zlib.h>
#endif

namespace duet::data {
namespace {

// Of the format (PKWARE's APPNOTE.TXT, 4.3 and 4.5): signatures, and bytes of each record's fixed part.
constexpr uint32_t kLocalHeader = 0x04034B50, kDirectoryEntry = 0x02014B50, kEnd = 0x06054B50, kEnd64 = 0x06064B50,
                   kLocator64 = 0x07064B50;
constexpr uint64_t kLocalBytes = 30, kEntryBytes = 46, kEndBytes = 22, kEnd64Bytes = 56, kLocatorBytes = 20,
                   kLongestComment = 65535;
constexpr uint16_t kStored = 0, kDeflated = 8, kEncrypted = 1, kZip64Extra = 1;
constexpr uint32_t kIn64 = 0xFFFFFFFF;    // "in the Zip64 record"
constexpr uint64_t kMostInflated = 1032;  // of a byte: no deflated stream holds more (zlib's technical details)

class Record {
 public:
  Record(std::span<const std::byte> bytes, uint64_t at) : bytes_(bytes), at_(at) {}
  template <class Integer>
  Integer get(uint64_t offset) const {
    Integer value = 0;
    for (size_t k = 0; k < sizeof(Integer); ++k)
      value = static_cast<Integer>(
          value | static_cast<Integer>(Integer{std::to_integer<uint8_t>(bytes_[at_ + offset + k])} << (8 * k)));
    return value;
  }
  uint16_t u16(uint64_t offset) const { return get<uint16_t>(offset); }
  uint32_t u32(uint64_t offset) const { return get<uint32_t>(offset); }
  uint64_t u64(uint64_t offset) const { return get<uint64_t>(offset); }

 private:
  std::span<const std::byte> bytes_;
  uint64_t at_;
};

struct Directory {
  uint64_t offset = 0, bytes = 0, members = 0;
};

class Reader {
 public:
  explicit Reader(const std::filesystem::path& path) : path_(path) {}

  std::vector<ZipMember> members() {
    const Directory directory = find_directory();
    const FileBytes file(path_, directory.offset, directory.bytes);
    const std::span<const std::byte> bytes = file.bytes();
    std::vector<ZipMember> out;
    std::set<std::string> names;
    uint64_t at = 0;
    for (uint64_t k = 0; k < directory.members; ++k) {
      check(at + kEntryBytes <= bytes.size() && Record(bytes, at).u32(0) == kDirectoryEntry,
            "its directory is damaged at member ", k);
      const Record entry(bytes, at);
      const uint64_t name_bytes = entry.u16(28), extra_bytes = entry.u16(30), comment_bytes = entry.u16(32);
      const uint64_t next = at + kEntryBytes + name_bytes + extra_bytes + comment_bytes;
      check(next <= bytes.size(), "its directory is damaged at member ", k);
      ZipMember member = read_entry(bytes, at, name_bytes, extra_bytes);
      check(names.insert(member.name).second, shown(member.name), ": two members of this name");
      if (!member.name.ends_with('/')) out.push_back(std::move(member));
      at = next;
    }
    return out;
  }

 private:
  template <class... Parts>
  void check(bool condition, const Parts&... parts) const {
    require(condition, path_.string(), ": ", parts...);
  }

  Directory find_directory() {
    const uint64_t size = FileBytes(path_, 0, 0).file_size();
    check(size >= kEndBytes, "not a .npz file, which is a ZIP archive: ", size, " bytes");
    const uint64_t length = std::min(size, kEndBytes + kLocatorBytes + kLongestComment), first = size - length;
    const FileBytes tail(path_, first, length);
    const std::span<const std::byte> bytes = tail.bytes();
    // The last place where an end record fits: its comment reaches to the file's end.
    uint64_t at = length - kEndBytes;
    const auto is_end = [&](uint64_t place) {
      const Record record(bytes, place);
      return record.u32(0) == kEnd && place + kEndBytes + record.u16(20) == length;
    };
    while (at > 0 && !is_end(at)) --at;
    check(is_end(at), "truncated, or no ZIP archive: no directory at its end");
    const Record end(bytes, at);
    Directory directory{end.u32(16), end.u32(12), end.u16(10)};
    check(end.u16(4) == 0 && end.u16(6) == 0 && end.u16(8) == end.u16(10),
          "an archive of several parts; expected one of one part");
    if (at >= kLocatorBytes && Record(bytes, at - kLocatorBytes).u32(0) == kLocator64) {
      const uint64_t place = Record(bytes, at - kLocatorBytes).u64(8);
      check(place <= size && size - place >= kEnd64Bytes, "its Zip64 record is said to be at byte ", place, " of ",
            size);
      const FileBytes file(path_, place, kEnd64Bytes);
      const Record end64(file.bytes(), 0);
      check(end64.u32(0) == kEnd64, "no Zip64 record at byte ", place);
      directory = {end64.u64(48), end64.u64(40), end64.u64(32)};
    }
    check(directory.offset <= size && directory.bytes <= size - directory.offset, "its directory is said to be ",
          directory.bytes, " bytes from byte ", directory.offset, " on, of ", size);
    check(directory.members <= directory.bytes / kEntryBytes, "its directory of ", directory.bytes,
          " bytes is said to name ", directory.members, " members");
    file_bytes_ = size;
    return directory;
  }

  ZipMember read_entry(std::span<const std::byte> bytes, uint64_t at, uint64_t name_bytes, uint64_t extra_bytes) const {
    const Record entry(bytes, at);
    ZipMember member;
    member.name.assign(reinterpret_cast<const char*>(bytes.data() + at + kEntryBytes), name_bytes);
    const std::string name = shown(member.name);
    check(is_harmless(member.name), "'", name, "': expected a name that stays within its folder");
    check((entry.u16(8) & kEncrypted) == 0, name, ": encrypted; expected a member that is not");
    const uint16_t method = entry.u16(10);
    check(method == kStored || method == kDeflated, name, ": compression method ", method,
          "; expected stored or deflated (numpy.savez or numpy.savez_compressed)");
    member.deflated = method == kDeflated;
    member.crc = entry.u32(16);
    member.stored = entry.u32(20);
    member.content = entry.u32(24);
    member.offset = entry.u32(42);
    read_zip64(bytes, at + kEntryBytes + name_bytes, extra_bytes, member, name);
    check(member.offset <= file_bytes_ && file_bytes_ - member.offset >= kLocalBytes &&
              member.stored <= file_bytes_ - member.offset - kLocalBytes,
          name, ": ", member.stored, " bytes from byte ", member.offset, " on are beyond the file's ", file_bytes_);
    check(member.deflated ? member.content / kMostInflated <= member.stored : member.content == member.stored, name,
          ": ", member.stored, " bytes cannot hold the ", member.content, " that it is said to have");
    return member;
  }

  // What did not fit into 32 bits, in this order, is in an extra field.
  void read_zip64(std::span<const std::byte> bytes, uint64_t at, uint64_t length, ZipMember& member,
                  const std::string& name) const {
    uint64_t* const wanted[] = {&member.content, &member.stored, &member.offset};
    const uint64_t end = at + length;
    while (end - at >= 4) {
      const Record field(bytes, at);
      const uint64_t field_end = at + 4 + field.u16(2);
      check(field_end <= end, name, ": its extra fields are damaged");
      if (field.u16(0) == kZip64Extra) {
        uint64_t place = at + 4;
        for (uint64_t* value : wanted) {
          if (*value != kIn64) continue;
          check(place + 8 <= field_end, name, ": its Zip64 field is too short");
          *value = Record(bytes, place).u64(0);
          place += 8;
        }
        return;
      }
      at = field_end;
    }
  }

  static bool is_harmless(const std::string& name) {
    if (name.empty() || name[0] == '/' || name.find_first_of(std::string_view("\\\0", 2)) != std::string::npos)
      return false;
    for (size_t start = 0; start <= name.size();) {
      const size_t end = std::min(name.find('/', start), name.size());
      if (std::string_view(name).substr(start, end - start) == "..") return false;
      start = end + 1;
    }
    return true;
  }

  const std::filesystem::path& path_;
  uint64_t file_bytes_ = 0;
};

#ifdef DUET_HAS_ZLIB
uint32_t checksum(std::span<const std::byte> bytes) {
  return static_cast<uint32_t>(crc32_z(0, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size()));
}

HeldBytes inflate(std::span<const std::byte> from, uint64_t content, const std::string& place) {
  const auto out = std::make_shared<ReadBytes>(content);
  const std::span<std::byte> to = out->bytes();
  z_stream stream = {};
  constexpr int kRaw = -15;  // windows of any size, no header of zlib's own
  require(inflateInit2(&stream, kRaw) == Z_OK, place, ": zlib cannot be started");
  size_t taken = 0, given = 0;
  int result = Z_OK;
  // zlib counts in 32 bits; what is made of so many bytes leaves memory where it lies in a file.
  constexpr size_t kMost = size_t{16} << 20;
  while (result == Z_OK) {
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(from.data()) + taken);
    stream.avail_in = static_cast<uInt>(std::min(kMost, from.size() - taken));
    stream.next_out = reinterpret_cast<Bytef*>(to.data()) + given;
    stream.avail_out = static_cast<uInt>(std::min(kMost, to.size() - given));
    const uInt in = stream.avail_in, room = stream.avail_out;
    result = ::inflate(&stream, Z_NO_FLUSH);
    taken += in - stream.avail_in;
    given += room - stream.avail_out;
    out->made(given);
    if (result == Z_OK && in == stream.avail_in && room == stream.avail_out) break;
  }
  inflateEnd(&stream);
  require(result == Z_STREAM_END && given == content, place, ": damaged: its deflated bytes give ", given, " of the ",
          content, " that it is said to have");
  return {out, to, out->mapping()};
}
#endif

}  // namespace

std::vector<ZipMember> zip_members(const std::filesystem::path& path) { return Reader(path).members(); }

HeldBytes read_zip_member(const std::filesystem::path& path, const ZipMember& member) {
  const std::string place = path.string() + ": " + shown(member.name);
  const FileBytes header(path, member.offset, kLocalBytes);
  const Record local(header.bytes(), 0);
  require(local.u32(0) == kLocalHeader, place, ": no member at byte ", member.offset);
  const uint64_t start = member.offset + kLocalBytes + local.u16(26) + local.u16(28);
  const auto file = std::make_shared<const FileBytes>(path, start, member.stored);
  HeldBytes out{file, file->bytes(), file->mapping()};
#ifdef DUET_HAS_ZLIB
  if (member.deflated) out = inflate(out.bytes, member.content, place);
  require(checksum(out.bytes) == member.crc, place, ": damaged: its checksum is another");
#else
  if (member.deflated)
    throw Error(DUET_STATUS_UNSUPPORTED, text(place, ": deflated, and this build has no zlib (numpy.savez stores)"));
#endif
  return out;
}

std::string zlib_version_text() {
#ifdef DUET_HAS_ZLIB
  return zlibVersion();
#else
  return "";
#endif
}

}  // namespace duet::data
