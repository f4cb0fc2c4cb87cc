#include "trainer/device_choice.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "trainer/usage_error.h"

namespace duet {
namespace {

duet_precision parse_precision(const std::string& word) {
  constexpr std::array<std::pair<const char*, duet_precision>, 4> kWords = {{{"tf32x3", DUET_PRECISION_TF32X3},
                                                                             {"fp32", DUET_PRECISION_FP32},
                                                                             {"tf32", DUET_PRECISION_TF32},
                                                                             {"bf16", DUET_PRECISION_BF16}}};
  for (const auto& [name, precision] : kWords)
    if (word == name) return precision;
  throw UsageError("--precision: expected tf32x3, fp32, tf32 or bf16, got '" + word + "'");
}

// What the interface says of the device, without the name of its call.
std::string without_call(const std::string& words) {
  const size_t colon = words.find(": ");
  return colon == std::string::npos ? words : words.substr(colon + 2);
}
std::string reason_of_last_error() { return without_call(duet_last_error()); }

// The devices of a kind that can say what they are, and why another cannot or there is none. Asking one takes it into
// use, so that a command which works on the first asks no other.
struct Found {
  std::vector<duet_device_facts> devices;
  std::string reason;
};
Found find(duet_device kind, int32_t most) {
  Found found;
  int32_t count = 0;
  if (duet_device_count(kind, &count) != DUET_STATUS_OK) {
    found.reason = reason_of_last_error();
    return found;
  }
  for (int32_t index = 0; index < std::min(count, most); ++index) {
    duet_device_facts facts = DUET_DEVICE_FACTS_INIT;
    if (duet_device_describe(kind, index, &facts) == DUET_STATUS_OK)
      found.devices.push_back(facts);
    else if (found.reason.empty())
      found.reason = text("device ", index, ": ", reason_of_last_error());
  }
  return found;
}

// Why no context can be made on it; empty where one can.
std::string refusal_of(const DeviceOptions& options) {
  try {
    const Device device(options);
    return "";
  } catch (const Error& error) {
    return without_call(error.what());
  }
}

// Whether this build has a backend for it, with or without a device on this machine.
bool has_backend(duet_device kind) {
  int32_t count = 0;
  return duet_device_count(kind, &count) != DUET_STATUS_UNSUPPORTED;
}

}  // namespace

ChosenDevice choose_device(const DeviceChoice& choice, int64_t threads) {
  ChosenDevice chosen;
  chosen.options.threads = threads;
  chosen.options.precision = parse_precision(choice.precision);
  chosen.precision = choice.precision;
  chosen.has_cuda = has_backend(DUET_DEVICE_CUDA);
  const std::string& word = choice.device;
  usage_require(word == "auto" || word == "cpu" || word == "cuda" || word == "emulated",
                "--device: expected auto, cpu, cuda or emulated, got '", word, "'");
  if (word != "cpu") {
    const Found found = find(DUET_DEVICE_CUDA, 1);
    const bool there = !found.devices.empty(), emulated = there && found.devices[0].emulated;
    chosen.options.kind = DUET_DEVICE_CUDA;
    if (word == "emulated") {
      usage_require(emulated,
                    "--device emulated: this build has no emulator (cmake --preset emulate makes one that has)");
      chosen.name = "emulator";
      return chosen;
    }
    std::string reason = emulated ? "this build has the emulator in its place (--device emulated)" : found.reason;
    if (reason.empty()) reason = refusal_of(chosen.options);
    if (reason.empty()) {
      chosen.name = std::string(found.devices[0].name) + " (CUDA)";
      return chosen;
    }
    if (word == "cuda" && has_backend(DUET_DEVICE_CUDA) && !emulated)
      throw std::runtime_error("--device cuda: " + reason);
    usage_require(word == "auto", "--device cuda: ", reason);
    chosen.options.kind = DUET_DEVICE_CPU;
    chosen.reason = reason;
  }
  const Found cpu = find(DUET_DEVICE_CPU, 1);
  usage_require(!cpu.devices.empty(), "--device ", word, ": ", cpu.reason,
                chosen.reason.empty() ? "" : "; CUDA: " + chosen.reason);
  chosen.name = "cpu";
  return chosen;
}

nlohmann::ordered_json program_facts() { return {{"version", duet_version()}, {"simd_target", duet_simd_target()}}; }

nlohmann::ordered_json machine_facts(const ChosenDevice& chosen, const Device& device) {
  nlohmann::ordered_json facts = program_facts();
  facts["device"] = chosen.name;
  if (device.options().kind == DUET_DEVICE_CUDA)
    facts["precision"] = chosen.precision;
  else
    facts["threads"] = duet_context_threads(device.context());
  return facts;
}

nlohmann::ordered_json device_facts() {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const duet_device kind : {DUET_DEVICE_CPU, DUET_DEVICE_CUDA}) {
    const Found found = find(kind, INT32_MAX);
    const char* const name = kind == DUET_DEVICE_CPU ? "cpu" : "cuda";
    if (!found.reason.empty()) list.push_back({{"device", name}, {"usable", false}, {"reason", found.reason}});
    for (size_t index = 0; index < found.devices.size(); ++index) {
      const duet_device_facts& facts = found.devices[index];
      nlohmann::ordered_json entry = {{"device", facts.emulated ? "emulated" : name}};
      if (kind == DUET_DEVICE_CUDA) {
        DeviceOptions options;
        options.kind = kind;
        options.index = static_cast<int32_t>(index);
        const std::string reason = refusal_of(options);
        entry["name"] = facts.name;
        entry["compute_capability"] = text(facts.capability / 10, ".", facts.capability % 10);
        entry["memory_bytes"] = facts.memory_bytes;
        entry["free_bytes"] = facts.free_bytes;
        if (!facts.emulated) entry["driver"] = text(facts.driver_version / 1000, ".", facts.driver_version % 1000 / 10);
        entry["usable"] = reason.empty();
        if (!reason.empty()) entry["reason"] = reason;
      } else {
        const Device device;
        entry["threads"] = duet_context_threads(device.context());
        entry["usable"] = true;
      }
      list.push_back(entry);
    }
  }
  return list;
}

}  // namespace duet
