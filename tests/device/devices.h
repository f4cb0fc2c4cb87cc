// The same training on both devices of this program: the CPU, and CUDA as the emulator plays it.
#pragma once

#include <array>
#include <optional>
#include <vector>

#include "kernels/simt/simt.h"
#include "runtime/device.h"
#include "tests/trainer/program.h"
#include "trainer/method.h"
#include "trainer/preparation.h"

namespace duet::testing {

// A model of a config on a device, and its step.
struct Trained {
  Trained(const DeviceOptions& options, const Config& config, int64_t steps = 100)
      : device(options), preparation(prepare(config)) {
    model.emplace(preparation.description, device.context());
    step.emplace(device, *model, preparation.dataset.train, preparation.labels,
                 preparation.evidence.value_or(Evidence{}), steps, preparation.sampler->batch_rows());
  }

  std::vector<float> values(ParameterKind kind) const { return model->parameters().read(kind); }

  Device device;
  Preparation preparation;
  mutable std::optional<Model> model;
  std::optional<TrainingStep> step;
};

inline DeviceOptions on_cpu() { return {.kind = DUET_DEVICE_CPU, .threads = 1}; }
inline DeviceOptions on_emulator(int64_t small_rows = 0) {
  return {.kind = DUET_DEVICE_CUDA, .precision = DUET_PRECISION_FP32, .small_rows = small_rows};
}

// A few epochs of a small set; change: what a case is about.
inline Config small_config(const fs::path& data, const std::string& method) {
  Config config;
  config.data = data;
  config.method = method;
  config.hidden_units = {24, 16};
  config.embedding_dim = 8;
  config.labels = 0.5;
  config.epochs = 4;
  config.batch_size = 52;  // of 240 rows: four batches, and one of 32
  config.decorrelation_weight = method == "psd" ? 0.25 : 0;
  return config;
}

}  // namespace duet::testing
