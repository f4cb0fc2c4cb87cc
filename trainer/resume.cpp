#include "trainer/resume.h"

#include <algorithm>
#include <cstring>
#include <span>

#include "kernels/core/error.h"
#include "runtime/files/checksum.h"
#include "trainer/usage_error.h"

namespace duet {
namespace {

constexpr const char* kAdvice = "; --run and --init start a new run from its weights";

template <class T>
std::string checksum_of(std::span<const T> values) {
  Checksum checksum;
  checksum.add(values.data(), values.size_bytes());
  return checksum_text(checksum.value());
}

std::string checksum_of(const data::Features& features) {
  constexpr int64_t kBytes = 32 << 20;  // of the memory that a part of features in a file takes
  const int64_t part =
      std::max<int64_t>(1, kBytes / (std::max<int64_t>(1, features.columns) * static_cast<int64_t>(sizeof(float))));
  Checksum checksum;
  for (int64_t first = 0; first < features.rows; first += part) {
    const int64_t count = std::min(part, features.rows - first);
    checksum.add(features.row(first), static_cast<size_t>(count * features.columns) * sizeof(float));
    features.release(first, count);
  }
  return checksum_text(checksum.value());
}

template <class T>
void require_same_values(const Checkpoint& checkpoint, const std::string& name, duet_dtype dtype,
                         const std::vector<T>& now) {
  std::vector<T> was(now.size());
  const NamedArray* const array = checkpoint.file.find(name);
  bool same = array != nullptr && array->size() == std::ssize(now);
  if (same) checkpoint.file.read(name, dtype, {std::ssize(now)}, was.data());
  same = same && (now.empty() || std::memcmp(was.data(), now.data(), now.size() * sizeof(T)) == 0);
  usage_require(same, checkpoint.path.string(), ": ", name, " is other than that of the data", kAdvice);
}

}  // namespace

nlohmann::ordered_json data_facts(const Preparation& preparation) {
  nlohmann::ordered_json facts;
  const data::Dataset& dataset = preparation.dataset;
  const auto add = [&](const std::string& split, const data::Split& of, const std::vector<int32_t>& labels) {
    for (size_t side = 0; side < data::kModalities; ++side)
      facts[split + dataset.modalities[side]] = checksum_of(of.features[side]);
    facts[split + "labels"] = checksum_of(std::span(labels));
    if (of.sets.given()) facts[split + "label sets"] = checksum_of(std::span(of.sets.words));
    facts[split + "groups"] = checksum_of(std::span(of.groups));
  };
  add("train ", dataset.train, preparation.labels);
  add("test ", dataset.test, dataset.test.labels);
  if (dataset.validation.rows() > 0) add("val ", dataset.validation, dataset.validation.labels);
  return facts;
}

std::vector<std::string> require_same_config(const Checkpoint& checkpoint, Config& now) {
  const Config& was = checkpoint.config;
  if (now.modalities.empty()) now.modalities = was.modalities;
  if (now.scaling_a == "auto") now.scaling_a = was.scaling_a;
  if (now.scaling_v == "auto") now.scaling_v = was.scaling_v;
  const nlohmann::ordered_json before = to_json(was), after = to_json(now);
  std::vector<std::string> lines;
  for (const ConfigKey& key : config_keys()) {
    const auto &old_value = before.at(key.name), &new_value = after.at(key.name);
    if (key.on_resume == ConfigKey::OnResume::any || old_value == new_value) continue;
    const bool larger = key.on_resume == ConfigKey::OnResume::larger;
    usage_require(larger && new_value > old_value, checkpoint.path.string(), ": ", key.name, ": the run has ",
                  old_value.dump(), ", got ", new_value.dump(),
                  larger ? "; a run that is resumed may have more" : kAdvice);
    lines.push_back(text(key.name, ": ", new_value.dump(), " in place of ", old_value.dump()));
  }
  usage_require(now.steps == 0 || now.steps >= checkpoint.training.steps, checkpoint.path.string(), ": steps: got ",
                now.steps, ", and the run has done ", checkpoint.training.steps);
  return lines;
}

std::vector<std::string> require_same_machine(const Checkpoint& checkpoint, const nlohmann::ordered_json& now,
                                              bool other_machine) {
  const nlohmann::ordered_json& was = checkpoint.facts.machine;
  std::vector<std::string> lines;
  for (const char* fact : {"version", "simd_target", "device", "precision"}) {
    const nlohmann::ordered_json before = was.value(fact, nlohmann::ordered_json("none")),
                                 after = now.value(fact, nlohmann::ordered_json("none"));
    if (before == after) continue;
    usage_require(other_machine, checkpoint.path.string(), ": ", fact, ": the run has ", before.dump(), ", here it is ",
                  after.dump(), ", which changes bits; --other-machine goes on all the same");
    lines.push_back(text(fact, ": ", after.dump(), " in place of ", before.dump()));
  }
  return lines;
}

void require_same_data(const Checkpoint& checkpoint, const nlohmann::ordered_json& now,
                       const ModelDescription& description) {
  const nlohmann::ordered_json& was = checkpoint.facts.data;
  for (const auto& [part, checksum] : now.items())
    usage_require(was.contains(part) && was.at(part) == checksum, checkpoint.path.string(), ": data: ", part,
                  " is other than it was", kAdvice);
  for (const auto& [part, checksum] : was.items())
    usage_require(now.contains(part), checkpoint.path.string(), ": data: ", part, " is not there any more", kAdvice);
  for (size_t side = 0; side < data::kModalities; ++side) {
    const std::string name = side == 0 ? "input_a" : "input_v";
    require_same_values(checkpoint, name + ".mean", DUET_DTYPE_F64, description.inputs[side].mean);
    require_same_values(checkpoint, name + ".scale", DUET_DTYPE_F64, description.inputs[side].scale);
  }
  require_same_values(checkpoint, "class_values", DUET_DTYPE_I64, description.class_values);
}

nlohmann::ordered_json resumed_line(const Checkpoint& checkpoint, const std::vector<std::string>& changes) {
  return {{"step", checkpoint.training.steps}, {"resumed", changes}};
}

}  // namespace duet
