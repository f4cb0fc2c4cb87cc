// What a step costs beside its kernels: nodes, the longest path through them, launches, allocations, waits.
#include <doctest/doctest.h>

#include <cstdio>

#include "kernels/simt/global_memory.h"
#include "tests/device/devices.h"
#include "tests/support/count_allocations.h"

using namespace duet;
using namespace duet::testing;

namespace {

// The shapes of VEGAS (METHOD.md 6): audio 128, visual 1024, hidden 256-256, d 64, 10 classes, batch 128.
struct Shapes {
  int64_t rows = 128, width_a = 128, width_v = 1024;
};

TrainingStep::GraphShape shape_of_step(const Config& config, const Shapes& shapes, int64_t small_rows = 0) {
  data::SyntheticOptions options;
  options.train_rows = shapes.rows;
  options.test_rows = 1;
  options.classes = 10;
  options.widths = {shapes.width_a, shapes.width_v};
  const data::Dataset dataset = data::synthetic_dataset(options);
  ModelDescription description;
  description.config = config;
  description.modalities = dataset.modalities;
  for (int side = 0; side < data::kModalities; ++side)
    description.inputs[static_cast<size_t>(side)].mean.resize(static_cast<size_t>(dataset.width(side)));
  description.class_values.assign(dataset.class_values().begin(), dataset.class_values().end());
  Device device(on_emulator(small_rows));
  Model model(std::move(description), device.context());
  TrainingStep step(device, model, dataset.train, dataset.train.labels, {}, 100, shapes.rows);
  std::vector<int64_t> rows(static_cast<size_t>(shapes.rows));
  for (size_t i = 0; i < rows.size(); ++i) rows[i] = static_cast<int64_t>(i);
  step.run(rows);
  return step.graph_shape(shapes.rows);
}

}  // namespace

TEST_CASE("a step's nodes and its longest path do not grow") {
  const simt::Schedule before = simt::schedule();
  simt::set_schedule({simt::Order::forward, 1});
  struct Bound {
    const char* method;
    int64_t nodes, longest_path;
  };
  for (const Bound& bound : {Bound{"psd", 45, 23}, {"triplet", 34, 21}, {"contrastive", 28, 18}, {"label", 26, 17}}) {
    Config config;
    config.method = bound.method;
    const TrainingStep::GraphShape shape = shape_of_step(config, {});
    std::printf("%-12s %3lld nodes, %3lld on the longest path\n", bound.method, static_cast<long long>(shape.nodes),
                static_cast<long long>(shape.longest_path));
    CHECK(shape.nodes <= bound.nodes);
    CHECK(shape.longest_path <= bound.longest_path);
  }
  // What the forms for small batches are worth: the same step in the forms for large ones.
  const TrainingStep::GraphShape tiles = shape_of_step({}, {}, -1);
  std::printf("%-12s %3lld nodes, %3lld on the longest path\n", "psd in tiles", static_cast<long long>(tiles.nodes),
              static_cast<long long>(tiles.longest_path));
  CHECK(tiles.nodes > 80);
  simt::set_schedule(before);
}

TEST_CASE("a step after the first of its size is one launch, and neither allocates nor waits") {
  const TemporaryFolder folder;
  write_small_set(folder / "data");
  Trained trained(on_emulator(), small_config(folder / "data", "psd"));
  data::BatchSampler& sampler = *trained.preparation.sampler;
  const auto run_epoch = [&](int64_t epoch) {
    sampler.start_epoch(static_cast<uint32_t>(epoch));
    trained.step->start_epoch(epoch);
    for (int64_t batch = 0; batch < sampler.batches(); ++batch) {
      trained.step->start(sampler.batch(batch));
      if (trained.step->unfinished() > 1) trained.step->finish();
    }
    while (trained.step->unfinished() > 0) trained.step->finish();
  };
  run_epoch(0);
  simt::reset_device_counts();
#ifdef DUET_TEST_COUNTS_ALLOCATIONS
  // What the emulator takes to play the device is not the step's.
  is_counted = [] { return simt::reaches == 0; };
  counting = true;
#endif
  run_epoch(1);
  run_epoch(2);
#ifdef DUET_TEST_COUNTS_ALLOCATIONS
  counting = false;
  CHECK(allocations.exchange(0) == 0);
#endif
  const simt::DeviceCounts counts = simt::device_counts();
  CHECK(counts.graph_launches == 2 * sampler.batches());
  CHECK(counts.launches == 0);
  CHECK(counts.copies == 0);
  CHECK(counts.fills == 0);
  CHECK(counts.allocations == 0);
  CHECK(counts.releases == 0);
  CHECK(counts.waits == 0);
}
