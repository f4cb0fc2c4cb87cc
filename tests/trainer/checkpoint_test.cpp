// Checkpoints that are damaged, half-written or without room: an older whole one is taken, or one line says why not.
#include "trainer/checkpoint.h"

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>
#include <set>

#include "tests/trainer/stopped_run.h"
#include "trainer/usage_error.h"

using namespace duet;
using namespace duet::testing;

namespace {

// Gives a key of a manifest this number.
void set_number(const fs::path& manifest, const std::string& key, const std::string& number) {
  nlohmann::json written = nlohmann::json::parse(read_text(manifest));
  written.erase(key);
  write_text(manifest, "{\"" + key + "\":" + number + "," + written.dump().substr(1));
}

}  // namespace

TEST_CASE("of damaged checkpoints an older whole one is taken, and one line says so") {
  const Stopped made(true);
  struct Damage {
    const char* words;
    void (*make)(const fs::path& checkpoints);
  };
  int number = 0;
  for (const Damage& damage :
       {Damage{"step-7.safetensors: its checksum is wrong",
               [](const fs::path& in) { flip_bit(in / "step-7.safetensors", 9000); }},
        Damage{"step-7.safetensors has 5000 bytes of ",
               [](const fs::path& in) { fs::resize_file(in / "step-7.safetensors", 5000); }},
        Damage{"step-7.safetensors: No such file", [](const fs::path& in) { fs::remove(in / "step-7.safetensors"); }},
        Damage{"step-7.json: left out: ", [](const fs::path& in) { write_text(in / "step-7.json", "{\"f"); }},
        Damage{"step-7.json: left out: ",
               [](const fs::path& in) { write_text(in / "step-7.json", R"({"format":1,"file":[]})"); }},
        Damage{"step-7.json: left out: bytes: expected a whole number, got 0.5",
               [](const fs::path& in) { set_number(in / "step-7.json", "bytes", "0.5"); }},
        Damage{"step-7.json: left out: best: expected a whole number, got 3.9e+29",
               [](const fs::path& in) { set_number(in / "step-7.json", "best", "390000000000000000000000000000"); }}}) {
    const fs::path run = made.folder / ("damaged" + std::to_string(++number)), checkpoints = run / "checkpoints";
    fs::copy(made.run, run, fs::copy_options::recursive);
    damage.make(checkpoints);
    const Outcome outcome = resume(run, {"--steps", "0"});
    INFO(outcome.err);
    CHECK(outcome.code == 0);
    CHECK(outcome.err.find(damage.words) != std::string::npos);
    CHECK(outcome.err.find("left out") == outcome.err.rfind("left out"));
    CHECK(outcome.err.find("resumed after step 6\n") != std::string::npos);
    check_same(run, made.whole);
    CHECK(std::distance(fs::directory_iterator(checkpoints), fs::directory_iterator()) == 4);
  }
}

TEST_CASE("checkpoints that are all damaged, or of a newer format, are refused") {
  const Stopped made;
  for (const int step : {6, 7}) flip_bit(made.checkpoint(step), 9000);
  check_refused(resume(made.run), 2, "checksum is wrong, so it is not as it was written; there is no older checkpoint");
  for (const int step : {6, 7}) flip_bit(made.checkpoint(step), 9000);
  std::string manifest = read_text(made.checkpoint(7, ".json"));
  manifest.replace(manifest.find("\"format\": 1"), 11, "\"format\": 2");
  write_text(made.checkpoint(7, ".json"), manifest);
  check_refused(resume(made.run), 2, "step-7.json: its format is 2, and this duet reads up to 1");
}

TEST_CASE("every flipped bit of a checkpoint's files shows") {
  const Stopped made;
  for (const char* ending : {".json", ".safetensors"}) {
    const fs::path path = made.checkpoint(7, ending);
    const std::string sound = read_text(path);
    const size_t stride = ending == std::string(".json") ? 1 : 997;  // a prime: every place in a tensor's number
    for (size_t byte = 0; byte < sound.size(); byte += stride) {
      INFO(ending, " byte ", byte);
      std::string bytes = sound;
      bytes[byte] = static_cast<char>(bytes[byte] ^ (1 << (byte % 8)));
      if (ending == std::string(".json") && json::accept(bytes) && json::parse(bytes) == json::parse(sound))
        continue;  // another blank
      write_text(path, bytes);
      CheckpointFolder checkpoints(made.run);
      std::vector<std::string> notes;
      try {
        CHECK(checkpoints.newest(notes)->training.steps == 6);
        CHECK(notes.size() == 1);
      } catch (const UsageError& error) {  // another number of the format
        CHECK(std::string(error.what()).find("format") != std::string::npos);
      }
    }
    write_text(path, sound);
  }
}

TEST_CASE("what a killed run left half-written goes, and what it had not begun is taken over") {
  const Stopped made(true);
  write_text(made.run + "/config.json.77.0.part", "{");
  write_text(made.run + "/model.safetensors.77.0.part", "half");
  write_text(made.run + "/mine.part", "keep");
  write_text(made.checkpoint(7).string() + ".77.0.part", "half");
  write_text(made.checkpoint(9), "without a manifest");
  // Lines after the checkpoint, the last one a part.
  std::ofstream(made.run + "/metrics.jsonl", std::ios::app) << R"({"step":8,"epoch":2})"
                                                            << "\n{\"st";
  REQUIRE(resume(made.run, {"--steps", "0"}).code == 0);
  check_same(made.run, made.whole);
  std::set<std::string> left;
  for (const auto& entry : fs::recursive_directory_iterator(made.run))
    if (entry.path().extension() == ".part" || entry.path().filename() == "step-9.safetensors")
      left.insert(entry.path().filename());
  CHECK(left == std::set<std::string>{"mine.part"});

  const fs::path dead = made.folder / "dead";
  fs::create_directories(dead / "checkpoints");
  write_text(dead / "metrics.jsonl", "{\"for");
  write_text(dead / "machine.json.5.0.part", "{");
  fs::copy_file(made.checkpoint(12, ".json"), dead / "checkpoints/step-0.json");
  check_refused(resume(dead), 2, "dead: no run to resume: none has begun here, and --run starts one");
  CHECK(run_program(train(made.data, dead)).code == 0);
  check_same(dead, made.whole);
  CHECK_FALSE(fs::exists(dead / "machine.json.5.0.part"));
}

TEST_CASE("metrics that are gone do not keep a run from going on") {
  const Stopped made(true);
  fs::remove(made.run + "/metrics.jsonl");
  const Outcome outcome = resume(made.run, {"--steps", "0"});
  INFO(outcome.err);
  CHECK(outcome.code == 0);
  CHECK(outcome.err.find("metrics.jsonl: lines are missing: it has 0 bytes") != std::string::npos);
  CHECK(tensors_of(made.run) == tensors_of(made.whole));
  CHECK(metrics_of(made.run).front()["format"] == 1);
}

TEST_CASE("a full disk in a resumed run ends it with one line, and it goes on afterwards") {
  const Stopped made(true);
  std::vector<std::string> arguments = {"train", "--resume", made.run, "--steps", "0"};
  // Room for metrics and config, not for a checkpoint.
  const Outcome full = run_program(arguments, {.largest_file = 9000});
  INFO(full.err);
  CHECK(full.code == 1);
  CHECK(full.err.find("cannot be written (File too large)") != std::string::npos);
  CHECK(resume(made.run, {"--steps", "0"}).code == 0);
  check_same(made.run, made.whole);
}
