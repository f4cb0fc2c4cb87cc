#include "trainer/checkpoint_reader.h"

#include <array>
#include <cmath>

#include "kernels/core/error.h"
#include "runtime/files/checksum.h"
#include "runtime/files/file_bytes.h"
#include "runtime/json_text.h"
#include "trainer/format.h"

namespace duet {
namespace {

namespace fs = std::filesystem;

nlohmann::json read_json_file(const fs::path& path) {
  const FileBytes file(path);
  return read_json({reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()});
}

void demand(bool condition, const auto&... parts) {
  if (!condition) throw DamagedCheckpoint(text(parts...));
}

int64_t whole_number_at(const nlohmann::json& object, const char* key) {
  const nlohmann::json& value = object.at(key);
  const std::optional<int64_t> number = whole_number(value);
  demand(number.has_value(), key, ": expected a whole number, got ", shown_json(value));
  return *number;
}

// A manifest without the key names no best model.
int64_t best_step_of(const nlohmann::json& manifest) {
  return manifest.contains(kCheckpointBest) ? whole_number_at(manifest, kCheckpointBest) : 0;
}

}  // namespace

int64_t best_step_in(const fs::path& manifest_path) {
  const nlohmann::json manifest = read_json_file(manifest_path);
  demand(manifest.is_object(), "it is no manifest");
  return best_step_of(manifest);
}

Checkpoint read_checkpoint(const fs::path& manifest_path, const fs::path& path, int64_t step) {
  const nlohmann::json manifest = read_json_file(manifest_path);
  demand(manifest.is_object() && manifest.contains(kFormatKey), "it is no manifest");
  require_known_format(manifest[kFormatKey], kCheckpointFormat, manifest_path.string());
  demand(manifest.at("file").get<std::string>() == path.filename().string(), "it names another file");
  const int64_t bytes = whole_number_at(manifest, "bytes");
  std::error_code refused;
  const auto size = static_cast<int64_t>(fs::file_size(path, refused));
  demand(!refused, path.filename().string(), ": ", refused.message());
  demand(size == bytes, path.filename().string(), " has ", size, " bytes of ", bytes);
  demand(checksum_text(file_checksum(path).value()) == manifest.at("xxh64").get<std::string>(),
         path.filename().string(), ": its checksum is wrong, so it is not as it was written");

  Checkpoint out{path, SafetensorsFile(path), {}, {}, {}, {}};
  const Metadata& metadata = out.file.metadata();
  demand(metadata.contains(kCheckpointRun) && metadata.contains("config"), path.filename().string(),
         " is no checkpoint");
  set_from_json(out.config, read_json(metadata.at("config")), path.string());
  const nlohmann::json run = read_json(metadata.at(kCheckpointRun));
  out.facts = {run.at("machine"), run.at("data")};
  out.training.steps = whole_number_at(run, "step");
  out.training.updates = whole_number_at(run, "updates");
  out.loop.epoch = whole_number_at(run, "epoch");
  out.loop.batch = whole_number_at(run, "batch");
  out.loop.changes = whole_number_at(run, "changes");
  out.loop.seconds = run.at("seconds").get<double>();
  out.loop.metrics_bytes = whole_number_at(run, "metrics_bytes");
  if (run.contains(kCheckpointBest)) {
    const nlohmann::json& best = run.at(kCheckpointBest);
    out.loop.best = {.epoch = whole_number_at(best, "epoch"),
                     .step = whole_number_at(best, "step"),
                     .map = best.at("map").is_null() ? std::nan("") : best.at("map").get<double>(),
                     .evaluations_since = whole_number_at(best, "evaluations_since"),
                     .checksum = best.at("xxh64").get<std::string>()};
  }
  demand(best_step_of(manifest) == out.loop.best.step, "it names another best model");
  demand(out.training.steps == step, "it is of step ", out.training.steps);

  const NamedArray* const frequencies = out.file.find("run.class_frequencies");
  demand(frequencies != nullptr, path.filename().string(), " is no checkpoint");
  out.training.frequencies.resize(static_cast<size_t>(frequencies->size()));
  out.file.read(frequencies->name, DUET_DTYPE_F32, frequencies->shape, out.training.frequencies.data());
  out.file.read("run.concord", DUET_DTYPE_F32, {1}, &out.training.concord);
  std::array<double, 2> rates{};
  out.file.read("run.rates", DUET_DTYPE_F64, {2}, rates.data());
  out.training.pair_weight = rates[0], out.training.learning_rate = rates[1];
  std::array<double, kLossNames.size()> losses{};
  out.file.read("run.losses", DUET_DTYPE_F64, {kLossCount}, losses.data());
  for (size_t k = 0; k < losses.size(); ++k) out.loop.sum.*kLossNames[k].value = losses[k];
  return out;
}

}  // namespace duet
