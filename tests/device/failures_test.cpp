// What ends a run on a device: a bad label, a loss that is no number, no memory. Nothing that a step changes has
// changed then.
#include <doctest/doctest.h>

#include <limits>

#include "tests/device/devices.h"

using namespace duet;
using namespace duet::testing;

namespace {

std::vector<int64_t> first_rows(size_t count) {
  std::vector<int64_t> rows(count);
  for (size_t i = 0; i < count; ++i) rows[i] = static_cast<int64_t>(i);
  return rows;
}

// What body throws, "" where it throws nothing.
template <class Body>
std::string error_of(const Body& body) {
  try {
    body();
  } catch (const std::runtime_error& error) {
    return error.what();
  }
  return "";
}

// Everything that a step changes.
struct State {
  std::vector<float> values, teacher, first, second, frequencies;
  explicit State(const Trained& trained)
      : values(trained.values(ParameterKind::value)),
        teacher(trained.values(ParameterKind::teacher)),
        first(trained.values(ParameterKind::first_moment)),
        second(trained.values(ParameterKind::second_moment)),
        frequencies(trained.step->class_frequencies()) {}
  bool operator==(const State&) const = default;
};

}  // namespace

TEST_CASE("a replayed step with one bad label names its row, and neither it nor the next one changes anything") {
  const TemporaryFolder folder;
  write_small_set(folder / "data");
  Trained trained(on_emulator(), small_config(folder / "data", "psd"));
  const std::vector<int64_t> rows = first_rows(48);
  REQUIRE(trained.step->run(rows));
  REQUIRE(trained.step->run(rows));
  const State before(trained);
  std::vector<int64_t> bad = rows;
  bad[17] = 240;  // the split has rows 0 to 239
  trained.step->start(bad);
  trained.step->start(rows);
  CHECK_THROWS_WITH_AS(trained.step->finish(), doctest::Contains("[17]: expected 0 to 239, got 240"), Error);
  CHECK(State(trained) == before);
  // What was under way has been given up; a new step goes on from there.
  CHECK(trained.step->unfinished() == 0);
  REQUIRE(trained.step->run(rows));
  CHECK_FALSE(State(trained) == before);
}

TEST_CASE("after a row that the split does not have the next step is done, on both devices") {
  const TemporaryFolder folder;
  write_small_set(folder / "data");
  const std::vector<int64_t> rows = first_rows(48);
  std::vector<int64_t> bad = rows;
  bad[5] = -1;
  DeviceOptions sent = on_emulator();
  sent.data_bytes = 1000;  // the host reads the rows itself
  for (const DeviceOptions& options : {on_cpu(), on_emulator(), sent}) {
    CAPTURE(options.kind);
    CAPTURE(options.data_bytes);
    Trained trained(options, small_config(folder / "data", "psd"));
    const auto try_bad = [&] {
      CHECK_THROWS_WITH_AS(trained.step->run(bad), doctest::Contains("[5]: expected 0 to 239, got -1"), Error);
    };
    const State before(trained);
    try_bad();
    CHECK(trained.step->unfinished() == 0);
    CHECK(State(trained) == before);
    CHECK(trained.step->run(rows));
    CHECK(trained.step->unfinished() == 0);
    try_bad();
    CHECK(trained.step->run(rows));
    CHECK_FALSE(State(trained) == before);
    trained.step->require_finite();
  }
}

TEST_CASE("a loss that is not finite is told as on the CPU, and changes nothing") {
  const TemporaryFolder folder;
  write_small_set(folder / "data");
  Config config = small_config(folder / "data", "psd");
  config.margin = 1e38;
  std::vector<std::string> told;
  for (const DeviceOptions& options : {on_cpu(), on_emulator()}) {
    Trained trained(options, config);
    const State before(trained);
    told.push_back(error_of([&] { trained.step->run(first_rows(48)); }));
    CHECK(State(trained) == before);
  }
  CHECK(told[0] ==
        "step 1: the loss is inf: loss_cross is inf, though every embedding and logit is finite; the batch has rows 0, "
        "1, 2, 3, 4 and 43 more of the training split");
  CHECK(told[1] == told[0]);
}

TEST_CASE("a rate that is too high is told from a replayed step, one step late") {
  const TemporaryFolder folder;
  write_small_set(folder / "data");
  Config config = small_config(folder / "data", "label");
  config.learning_rate = 1e30;
  std::vector<std::string> told;
  for (const DeviceOptions& options : {on_cpu(), on_emulator()}) {
    Trained trained(options, config);
    told.push_back(error_of([&] {
      for (int k = 0; k < 6; ++k) {
        trained.step->start(first_rows(48));
        if (trained.step->unfinished() > 1) trained.step->finish();
      }
    }));
  }
  CHECK(told[0].find("; a lower learning_rate may help") != std::string::npos);
  CHECK(told[1] == told[0]);
}

TEST_CASE("a step without any loss term changes nothing, and the schedule goes on") {
  const TemporaryFolder folder;
  write_small_set(folder / "data");
  Config config = small_config(folder / "data", "psd");
  config.cross_weight = config.label_weight = config.pair_weight = config.decorrelation_weight = 0;
  Trained trained(on_emulator(), config);
  const State before(trained);
  for (int k = 0; k < 3; ++k) CHECK_FALSE(trained.step->run(first_rows(48)));
  CHECK(State(trained) == before);
  CHECK(trained.step->last().step == 3);
  trained.step->start_epoch(2);
  CHECK(trained.step->run(first_rows(48)));
  CHECK_FALSE(State(trained) == before);
}

TEST_CASE("memory that a device does not have is one line that says how much was asked for") {
  Device device(on_emulator());
  CHECK_THROWS_WITH_AS(DeviceArray<float>(device.context(), int64_t{1} << 40),
                       doctest::Contains("allocating 4398046511104 bytes, "), Error);
}
