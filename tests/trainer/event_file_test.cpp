// The event files of --tensorboard, as bytes; tests/tensorboard reads them as TensorBoard does.

#include "trainer/event_file.h"

#include <doctest/doctest.h>

#include "tests/trainer/stopped_run.h"

using namespace duet;
using namespace duet::testing;

namespace {

const std::string kEvents = "events.out.tfevents.duet";

// The records of a file, but for the times in them: the step and the numbers.
std::vector<std::string> records_of(const fs::path& path) {
  const std::string bytes = read_text(path);
  std::vector<std::string> records;
  for (size_t at = 0; at < bytes.size();) {
    const WholeRecords one = whole_records(std::string_view(bytes).substr(at), 1);
    REQUIRE(one.count == 1);
    constexpr size_t kBefore = 12 + 9, kAfter = 4;  // of a record; the first field is the time, 1 + 8 bytes
    records.push_back(bytes.substr(at + kBefore, one.bytes - kBefore - kAfter));
    at += one.bytes;
  }
  return records;
}

}  // namespace

TEST_CASE("CRC32C and records are those of their definitions") {
  CHECK(crc32c("123456789") == 0xe3069283);
  CHECK(crc32c(std::string(32, '\0')) == 0x8a9136aa);  // RFC 3720, B.4
  CHECK(crc32c("") == 0);
  const std::string record = event_record("event"), two = record + event_record("");
  CHECK(record.size() == 8 + 4 + 5 + 4);
  CHECK(whole_records(two, 9).count == 2);
  CHECK(whole_records(two, 9).bytes == two.size());
  CHECK(whole_records(two, 1).bytes == record.size());
  for (size_t cut = 0; cut < record.size(); ++cut) CHECK(whole_records(record.substr(0, cut), 9).count == 0);
  for (size_t at = 0; at < record.size(); ++at) {
    std::string damaged = record;
    damaged[at] = static_cast<char>(damaged[at] ^ 1);
    CHECK(whole_records(damaged, 9).count == 0);
  }
}

TEST_CASE("a line's numbers have a tag each, by what the line is of") {
  const auto tags = [](const char* line) {
    std::vector<std::string> names;
    for (const auto& scalar : scalars_of(nlohmann::ordered_json::parse(line))) names.push_back(scalar.first);
    return names;
  };
  using Names = std::vector<std::string>;
  CHECK(tags(R"({"format": 1})").empty());
  CHECK(tags(R"({"step": 3, "resumed": ["epochs: 3"]})").empty());
  CHECK(tags(R"({"epoch": 1, "step": 4, "seconds": 1, "learning_rate": 0.1, "loss": null})") ==
        Names{"epoch/learning_rate"});
  CHECK(tags(R"({"epoch": 1, "step": 4, "loss": 2, "concord": 0.5})") == Names{"step/loss", "step/concord"});
  CHECK(tags(R"({"step": 4, "map": {"mean": 0.5}, "recall": {"1": {"mean": 0.5}}})") ==
        Names{"test/map/mean", "test/recall_at_1/mean"});
  CHECK(tags(R"({"step": 4, "split": "val", "map": {"mean": 0.5, "a_to_v": null}})") == Names{"val/map/mean"});
  CHECK(tags(R"({"step": 4, "split": "test", "model": "best", "map": {"mean": 0.5}})") == Names{"test_best/map/mean"});
}

TEST_CASE("a run writes events as it goes, and a resumed one has those of a run that nobody interrupted") {
  const TemporaryFolder folder;
  const std::string data = folder / "data", run = folder / "run", whole = folder / "whole", late = folder / "late";
  write_small_set(data);
  REQUIRE(run_program(train(data, whole, {"--tensorboard"})).code == 0);
  const std::vector<std::string> expected = records_of(fs::path(whole) / kEvents);
  CHECK(expected.size() == 1 + 12 + 3 + 2);  // the version, steps, epochs, evaluations

  REQUIRE(run_program(train(data, run, {"--tensorboard", "--steps", "7", "--set", "checkpoint_every_steps=2"})).code ==
          0);
  const fs::path events = fs::path(run) / kEvents;
  const std::string before = read_text(events);
  // Taken back to an older checkpoint, by a process that died while it wrote.
  for (const char* ending : {".json", ".safetensors"})
    fs::remove(fs::path(run) / "checkpoints" / ("step-7" + std::string(ending)));
  write_text(events, before + "half a record");
  REQUIRE(resume(run, {"--steps", "0"}).code == 0);
  CHECK(records_of(events) == expected);

  // Asked for at the resume alone: all that the log holds.
  REQUIRE(run_program(train(data, late, {"--steps", "7"})).code == 0);
  CHECK_FALSE(fs::exists(fs::path(late) / kEvents));
  REQUIRE(resume(late, {"--steps", "0", "--tensorboard"}).code == 0);
  CHECK(records_of(fs::path(late) / kEvents) == expected);
}
