#include "trainer/event_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstring>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "runtime/files/atomic_file.h"
#include "runtime/json_text.h"
#include "trainer/losses.h"
#include "trainer/protobuf.h"

namespace duet {
namespace {

namespace fs = std::filesystem;

// Field numbers of event.proto and summary.proto.
enum EventField { kFieldWallTime = 1, kFieldStep = 2, kFieldFileVersion = 3, kFieldSummary = 5 };
enum SummaryField { kValue = 1 };
enum ValueField { kTag = 1, kSimpleValue = 2 };

constexpr size_t kHead = 12, kTail = 4;  // bytes of a record around its event

constexpr std::array<uint32_t, 256> crc_table() {
  std::array<uint32_t, 256> table{};
  for (uint32_t byte = 0; byte < table.size(); ++byte) {
    uint32_t crc = byte;
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78 : 0);
    table[byte] = crc;
  }
  return table;
}

// As records have it, so that the checksum of bytes that hold checksums is none of theirs.
uint32_t masked_crc(std::string_view bytes) {
  const uint32_t crc = crc32c(bytes);
  return (crc >> 15 | crc << 17) + 0xa282ead8;
}

template <class Integer>
void append_little(std::string& bytes, Integer value) {
  for (size_t k = 0; k < sizeof value; ++k) bytes.push_back(static_cast<char>(value >> 8 * k & 0xff));
}

template <class Integer>
Integer little(std::string_view bytes) {
  Integer value = 0;
  for (size_t k = 0; k < sizeof value; ++k) value |= static_cast<Integer>(static_cast<uint8_t>(bytes[k])) << 8 * k;
  return value;
}

double now() { return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count(); }

ProtobufMessage event_at(int64_t step) {
  ProtobufMessage event;
  event.number(kFieldWallTime, now()).integer(kFieldStep, step);
  return event;
}

}  // namespace

uint32_t crc32c(std::string_view bytes) {
  static constexpr std::array<uint32_t, 256> kTable = crc_table();
  uint32_t crc = 0xffffffff;
  for (const char byte : bytes) crc = crc >> 8 ^ kTable[(crc ^ static_cast<uint8_t>(byte)) & 0xff];
  return ~crc;
}

std::string event_record(std::string_view bytes) {
  std::string record;
  append_little(record, static_cast<uint64_t>(bytes.size()));
  append_little(record, masked_crc(record));
  record += bytes;
  append_little(record, masked_crc(bytes));
  return record;
}

WholeRecords whole_records(std::string_view bytes, size_t most) {
  WholeRecords whole;
  while (whole.count < most) {
    const std::string_view rest = bytes.substr(whole.bytes);
    if (rest.size() < kHead + kTail || little<uint32_t>(rest.substr(8)) != masked_crc(rest.substr(0, 8))) break;
    const auto size = little<uint64_t>(rest);
    if (size > rest.size() - kHead - kTail) break;
    const std::string_view event = rest.substr(kHead, size);
    if (little<uint32_t>(rest.substr(kHead + size)) != masked_crc(event)) break;
    whole.bytes += kHead + size + kTail;
    ++whole.count;
  }
  return whole;
}

std::vector<std::pair<std::string, float>> scalars_of(const nlohmann::ordered_json& line) {
  std::vector<std::pair<std::string, float>> scalars;
  const auto add = [&](const std::string& tag, const nlohmann::ordered_json& value) {
    if (value.is_number() && std::isfinite(value.get<double>())) scalars.emplace_back(tag, value.get<float>());
  };
  if (!line.contains("step") || !whole_number(line["step"])) return scalars;
  if (line.contains("map")) {
    const std::string split = line.value("split", "test") + (line.value("model", "last") == "best" ? "_best" : "");
    for (const auto& [direction, value] : line["map"].items()) add(split + "/map/" + direction, value);
    if (line.contains("recall") && line["recall"].contains("1")) {
      const nlohmann::ordered_json& recall = line["recall"]["1"];
      if (recall.contains("mean")) add(split + "/recall_at_1/mean", recall["mean"]);
    }
    return scalars;
  }
  const std::string kind = line.contains("seconds") ? "epoch/" : "step/";
  const auto add_key = [&](const char* key) {
    if (const auto found = line.find(key); found != line.end()) add(kind + key, *found);
  };
  for (const LossName& name : kLossNames) add_key(name.key);
  for (const char* key : {"learning_rate", "ratio", "rho", "concord", "pair_weight"}) add_key(key);
  return scalars;
}

EventFile::EventFile(const fs::path& path, std::span<const nlohmann::ordered_json> lines) : path_(path) {
  std::vector<const nlohmann::ordered_json*> events;
  for (const nlohmann::ordered_json& line : lines)
    if (!scalars_of(line).empty()) events.push_back(&line);
  std::string before;
  if (std::ifstream file(path, std::ios::binary); file) before.assign(std::istreambuf_iterator<char>(file), {});
  descriptor_ = ::open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
  if (descriptor_ < 0) fail();
  const WholeRecords kept = whole_records(before, 1 + events.size());  // the first one says the version
  if (::ftruncate(descriptor_, static_cast<off_t>(kept.bytes)) != 0) fail();
  if (kept.count == 0)
    append(ProtobufMessage().number(kFieldWallTime, now()).text(kFieldFileVersion, "brain.Event:2").bytes());
  for (size_t k = kept.count == 0 ? 0 : kept.count - 1; k < events.size(); ++k) add(*events[k]);
}

EventFile::~EventFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

void EventFile::add(const nlohmann::ordered_json& line) {
  const std::vector<std::pair<std::string, float>> scalars = scalars_of(line);
  if (scalars.empty()) return;
  ProtobufMessage summary;
  for (const auto& [tag, value] : scalars)
    summary.message(kValue, ProtobufMessage().text(kTag, tag).number(kSimpleValue, value));
  append(event_at(whole_number(line["step"]).value()).message(kFieldSummary, summary).bytes());
}

void EventFile::append(std::string_view event) {
  const std::string record = event_record(event);
  const off_t before = ::lseek(descriptor_, 0, SEEK_END);
  for (size_t done = 0; done < record.size();) {
    const ssize_t written = ::write(descriptor_, record.data() + done, record.size() - done);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) {
      const int reason = errno;
      const bool whole = ::ftruncate(descriptor_, before) == 0;  // the records before it
      static_cast<void>(whole);
      errno = reason;
      fail();
    }
    done += static_cast<size_t>(written);
  }
}

void EventFile::fail() const {
  const int reason = errno;
  throw FileError(text(path_.string(), ": cannot be written (", std::strerror(reason), ")"), reason);
}

}  // namespace duet
