#include "trainer/progress.h"

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "trainer/report.h"

using namespace duet;

namespace {

ProgressState state() {
  ProgressState state;
  state.title = "psd";
  state.epoch = 12;
  state.epochs = 40;
  state.step = 250;
  state.steps = 1000;
  state.elapsed_s = 2.5;
  state.losses = {1.5, 0.25, 0, 0.125, 0, 0.5, 0};
  state.last_map = 0.912;
  return state;
}

// Characters as a terminal counts them: bytes that start one.
size_t width(const std::string& line) {
  size_t count = 0;
  for (const char c : line) count += (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  return count;
}

}  // namespace

TEST_CASE("a wide terminal shows everything") {
  CHECK(progress_bar(state(), {200, false, false}) ==
        "psd 12/40  =====---------------  100 steps/s  0:08 left  MAP 0.912  loss 1.500  label 0.250 cross 0.125 pair "
        "0.500");
}

TEST_CASE("whatever the terminal's width, the line leaves its last column free") {
  for (int columns = 1; columns < 200; ++columns)
    for (const bool unicode : {false, true})
      CHECK(static_cast<int>(width(progress_bar(state(), {columns, false, unicode}))) <= std::max(0, columns - 1));
}

TEST_CASE("a narrow terminal shows epoch and time left") {
  CHECK(progress_bar(state(), {25, false, false}) == "psd 12/40  0:08 left");
}

TEST_CASE("colour only where it is asked for") {
  CHECK(progress_bar(state(), {200, false, true}).find('\x1b') == std::string::npos);
  CHECK(progress_bar(state(), {200, true, true}).find('\x1b') != std::string::npos);
}

TEST_CASE("the first line knows neither rate nor MAP") {
  ProgressState first;
  first.title = "label";
  first.epochs = 2;
  first.steps = 10;
  CHECK(progress_bar(first, {120, false, false}) == "label 0/2  --------------------  0 steps/s  loss 0.000");
}

TEST_CASE("of a validation split the best one is shown too") {
  ProgressState validates = state();
  validates.validates = true;
  validates.best_map = 0.934;
  validates.best_epoch = 9;
  CHECK(progress_line(validates).ends_with("  val MAP 0.912 (best 0.934, epoch 9)"));
  CHECK(progress_bar(validates, {200, false, false}).find("  val MAP 0.912 (best 0.934, epoch 9)  loss") !=
        std::string::npos);
  validates.last_map = std::nan("");
  CHECK(progress_line(validates).find("MAP") == std::string::npos);
}

TEST_CASE("the line of a log") {
  CHECK(progress_line(state()) ==
        "psd epoch 12/40  step 250  2.5 s  100 steps/s  loss 1.5000 (label 0.250 cross 0.125 pair 0.500)  MAP 0.912");
  ProgressState nothing = state();
  nothing.losses = kNoLosses;
  CHECK(progress_line(nothing) == "psd epoch 12/40  step 250  2.5 s  100 steps/s  loss -  MAP 0.912");
}

TEST_CASE("durations") {
  CHECK(duration_text(-1) == "0:00");
  CHECK(duration_text(59.2) == "1:00");
  CHECK(duration_text(3725) == "1:02:05");
}

TEST_CASE("the report's columns line up, and what is not known is a dash") {
  Evaluation known;
  known.a_to_v.map = 0.5;
  known.v_to_a.map = 0.75;
  known.a_to_v.recall = known.v_to_a.recall = {1, 1, 1};
  CHECK(report_table({{"triplet", known, 1.25}, {"psd", Evaluation{}, 12}}, "audio", "visual") ==
        "method   MAP audio to visual  MAP visual to audio   mean    R@1  seconds\n"
        "triplet                0.500                0.750  0.625  1.000      1.2\n"
        "psd                        -                    -      -      -     12.0\n");
  const nlohmann::ordered_json json = nlohmann::ordered_json::parse(to_json(Evaluation{}).dump());
  CHECK(json["map"]["mean"].is_null());
  CHECK(json["queries"]["a_to_v"] == 0);
}
