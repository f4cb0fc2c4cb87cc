// The numbers of a run's log as TensorBoard reads them: a file of records, each an Event of event.proto.
// A record is its length (8 bytes), the masked CRC32C of those, the bytes of the event and their masked CRC32C (4 bytes
// each), all little-endian. https://github.com/tensorflow/tensorflow/blob/master/tensorflow/core/lib/io/record_writer.h
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace duet {

// What a line of metrics.jsonl says, by tag; empty where it says nothing of a step. Numbers that are null are left out.
//   of an epoch       epoch/loss, epoch/loss_label, ..., epoch/learning_rate, epoch/ratio, epoch/rho, epoch/concord
//   of a step         step/loss, ...
//   of an evaluation  test/map/a_to_v, test/map/v_to_a, test/map/mean, test/recall_at_1/mean; of another split its
//                     name, of the best model test_best/...
std::vector<std::pair<std::string, float>> scalars_of(const nlohmann::ordered_json& line);

class EventFile {
 public:
  // lines: what metrics.jsonl holds. Afterwards the file holds the events of these and no other: those of a log that
  // was cut back go, those that were not written before are added. Throws FileError, naming the file.
  EventFile(const std::filesystem::path& path, std::span<const nlohmann::ordered_json> lines);
  ~EventFile();
  EventFile(const EventFile&) = delete;
  EventFile& operator=(const EventFile&) = delete;

  // The event of a line, where it has one; on the disk's way at once. One that does not fit on the disk is taken back.
  void add(const nlohmann::ordered_json& line);

 private:
  void append(std::string_view event);
  [[noreturn]] void fail() const;

  std::filesystem::path path_;
  int descriptor_ = -1;
};

// CRC-32 with the polynomial of Castagnoli (RFC 3720, B.4).
uint32_t crc32c(std::string_view bytes);
// bytes as a record.
std::string event_record(std::string_view bytes);
// The first records, most of them at most, as far as each is whole: how many, and where the last one ends.
struct WholeRecords {
  size_t count = 0, bytes = 0;
};
WholeRecords whole_records(std::string_view bytes, size_t most);

}  // namespace duet
