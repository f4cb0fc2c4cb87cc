// Which device a command works on: --device and --precision. They are no config keys: machine.json says what a run ran
// on.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "runtime/device.h"

namespace duet {

struct DeviceChoice {
  std::string device = "auto";       // auto, cpu, cuda, emulated
  std::string precision = "tf32x3";  // tf32x3, fp32, tf32, bf16: of a CUDA device, emulated or not
};

struct ChosenDevice {
  DeviceOptions options;
  std::string name;    // "cpu", "NVIDIA H200 (CUDA)", "emulator"
  std::string reason;  // of auto: why it is not a CUDA device; else empty
  std::string precision;
  bool has_cuda = false;  // whether this build has a CUDA backend, so that a reason is news
};

// Throws, naming --device or --precision: UsageError where this build lacks what is asked for, std::runtime_error where
// this machine does.
ChosenDevice choose_device(const DeviceChoice& choice, int64_t threads);

// version, simd_target, for `duet info`; with the device, its precision and the threads, for machine.json.
nlohmann::ordered_json program_facts();
nlohmann::ordered_json machine_facts(const ChosenDevice& chosen, const Device& device);
// Every device that there is, or why there is none.
nlohmann::ordered_json device_facts();

}  // namespace duet
