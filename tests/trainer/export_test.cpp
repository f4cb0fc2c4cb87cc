// `duet export`: what it writes, where it refuses to, and the bytes of its protobuf writer. tests/onnx runs the models.

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "runtime/safetensors.h"
#include "tests/trainer/program.h"
#include "trainer/protobuf.h"

using namespace duet;
using namespace duet::testing;

namespace {

// A run of one epoch on the small set.
std::string make_run(const TemporaryFolder& folder, const std::vector<std::string>& more = {}) {
  const std::string data = folder / "data", run = folder / "run";
  write_small_set(data);
  std::vector<std::string> arguments = {"train", "--data",   data,    "--run",          run,
                                        "--set", "epochs=1", "--set", "hidden_units=16"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  REQUIRE(run_program(arguments).code == 0);
  return run;
}

void check_refused(const std::vector<std::string>& arguments, const std::string& words) {
  const Outcome outcome = run_program(arguments);
  CHECK(outcome.code == 2);
  CHECK(outcome.out.empty());
  CHECK(outcome.err.find(words) != std::string::npos);
  CHECK(std::ranges::count(outcome.err, '\n') == 1);
}

}  // namespace

TEST_CASE("protobuf: numbers, strings and messages as the wire has them") {
  // From the encoding guide: field 1 with 150, field 2 with "testing", field 3 with a message of field 1 with 150.
  CHECK(ProtobufMessage().integer(1, 150).bytes() == "\x08\x96\x01");
  CHECK(ProtobufMessage().text(2, "testing").bytes() == "\x12\x07testing");
  CHECK(ProtobufMessage().message(3, ProtobufMessage().integer(1, 150)).bytes() == "\x1a\x03\x08\x96\x01");
  // A negative number takes ten bytes, a field past 15 a tag of two, 0 and "" are written.
  CHECK(ProtobufMessage().integer(1, -1).bytes() == "\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01");
  CHECK(ProtobufMessage().integer(20, 1).bytes() == "\xa0\x01\x01");
  CHECK(ProtobufMessage().integer(1, 0).bytes() == std::string("\x08\0", 2));
  CHECK(ProtobufMessage().text(1, "").bytes() == std::string("\x0a\0", 2));
  CHECK(ProtobufMessage().number(2, 1.0f).bytes() == std::string("\x15\0\0\x80\x3f", 5));
}

TEST_CASE("export writes a hub's folder and an ONNX file, and over nothing") {
  const TemporaryFolder folder;
  const std::string run = make_run(folder), hub = folder / "made/hub", onnx = folder / "model.onnx";
  const Outcome first = run_program({"export", "--run", run, "--hub", hub, "--onnx", onnx});
  CHECK(first.code == 0);
  CHECK(first.out.find(onnx + ": ") != std::string::npos);
  // The very model, its configuration, a card that names what it takes and how well it did.
  CHECK(read_text(hub + "/model.safetensors") == read_text(run + "/model.safetensors"));
  const auto config = nlohmann::json::parse(read_text(hub + "/config.json"));
  CHECK(config["hidden_units"] == std::vector<int>{16});
  const std::string card = read_text(hub + "/README.md");
  CHECK(card.starts_with("---\nlibrary_name: duet\n"));
  CHECK(card.find("| `audio` | 12 | zscore |") != std::string::npos);
  CHECK(card.find("4 classes apart") != std::string::npos);
  CHECK(card.find("| `audio` | `visual` | 0.") != std::string::npos);
  CHECK(read_text(onnx).find("audio_embedding") != std::string::npos);

  const std::string again = "not written: it is there already (--force writes over it)";
  check_refused({"export", "--run", run, "--onnx", onnx}, onnx + ": " + again);
  check_refused({"export", "--run", run, "--hub", hub}, again);
  CHECK(run_program({"export", "--run", run, "--onnx", onnx, "--hub", hub, "--force"}).code == 0);
  // Not even then over what it reads.
  check_refused({"export", "--run", run, "--onnx", run + "/model.safetensors", "--force"}, "model.safetensors");
  check_refused({"export", "--run", run, "--hub", run, "--force"}, run);
  CHECK(run_program({"eval", "--run", run, "--data", folder / "data"}).code == 0);
}

TEST_CASE("export says what it lacks") {
  const TemporaryFolder folder;
  check_refused({"export", "--run", folder / "none", "--onnx", folder / "x"}, "no such file");
  const std::string run = make_run(folder);
  check_refused({"export", "--run", run}, "export: expected --onnx FILE, --hub DIR or both");
  check_refused({"export", "--onnx", folder / "x"}, "--run");
  check_refused({"export", "--run", run, "--onnx", ""}, "--onnx: expected a path, got nothing");
  check_refused({"export", "--run", run, "--onnx", folder / "there/is/none.onnx"}, "none.onnx");
  check_refused({"export", "--run", run, "--onnx", folder.path()}, "it is a folder");
}

TEST_CASE("export refuses modalities whose outputs would have one name") {
  const TemporaryFolder folder;
  const fs::path data = folder / "data";
  write_small_set(data);
  for (const std::string split : {"train", "test"})
    fs::rename(data / split / "visual.npy", data / split / "audio_logits.npy");
  const std::string run = folder / "run";
  REQUIRE(run_program({"train", "--data", data, "--run", run, "--set", "epochs=1", "--set", "hidden_units="}).code ==
          0);
  check_refused({"export", "--run", run, "--onnx", folder / "x.onnx"}, "an output of one would have the other's name");
  CHECK(run_program({"export", "--run", run, "--hub", folder / "hub"}).code == 0);
}
