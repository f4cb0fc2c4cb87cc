// What the kernels were designed to reach on one H200, and how a line of duet-bench tells: `./dev gpu-check` runs the
// lines of this table and writes each figure beside its goal. The emulator runs them on a small shape, where the
// figures mean nothing and the way to them is the same.
#pragma once

#include <cmath>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>

namespace duet::gpu {

enum class Figure {
  product_share,  // of the rate of the bare product, cuBLAS's in the same precision (fp32 where it is tf32x3), over the
                  // products that the pass is
  milliseconds,   // of the pass
  extra_gib  // device memory in use while the calls are under way beyond what was in use before the workspace was taken
};

struct Goal {
  const char *operation, *variant, *pass, *precision;
  int64_t n, d;  // n rows and n columns
  Figure figure;
  double bound;  // product_share: at least, the others: at most
};

inline constexpr const char* kGoalDevice = "H200";  // in the name of the device that the bounds are for
inline constexpr Goal kGoals[] = {
    {"distance", "sqeuclidean", "forward", "fp32", 16384, 512, Figure::product_share, 0.8},
    {"distance", "sqeuclidean", "forward", "tf32x3", 16384, 512, Figure::product_share, 1},
    {"distance", "sqeuclidean", "forward", "tf32", 16384, 512, Figure::product_share, 0.5},
    {"distance", "sqeuclidean", "forward", "bf16", 16384, 512, Figure::product_share, 0.5},
    {"alignment", "log_sum_exp", "forward", "fp32", 16384, 512, Figure::product_share, 0.8},
    {"alignment", "log_sum_exp", "forward", "tf32x3", 16384, 512, Figure::product_share, 1},
    {"alignment", "log_sum_exp", "forward", "tf32", 16384, 512, Figure::product_share, 0.5},
    {"alignment", "log_sum_exp", "forward", "bf16", 16384, 512, Figure::product_share, 0.5},
    {"distillation", "agreement", "both", "bf16", 32768, 512, Figure::product_share, 0.35},
    {"distillation", "teacher", "both", "bf16", 32768, 512, Figure::product_share, 0.35},
    {"triplet", "all_soft", "both", "tf32x3", 8192, 512, Figure::milliseconds, 20},
    {"triplet", "all_hard_labels", "both", "tf32x3", 8192, 512, Figure::milliseconds, 20},
    {"distillation", "agreement", "both", "tf32x3", 262144, 256, Figure::extra_gib, 4},
    {"alignment", "log_sum_exp", "both", "tf32x3", 262144, 256, Figure::extra_gib, 4},
};

inline std::string name_of(const Goal& goal) {
  std::ostringstream out;
  out << goal.operation << ' ' << goal.variant << ' ' << goal.pass << ' ' << goal.precision << ", " << goal.n << " x "
      << goal.n << " x " << goal.d;
  return out.str();
}

// What duet-bench is called with. A forward pass is timed with its backward pass beside it; at 262144 a call takes
// seconds, and once is enough.
inline std::string arguments_of(const Goal& goal, bool emulated) {
  std::ostringstream out;
  out << "--operation " << goal.operation << " --variant " << goal.variant << " --precision " << goal.precision;
  if (std::string(goal.pass) == "both") out << " --pass both";
  if (emulated)
    out << " --n 37 --m 29 --d 11 --classes 3";
  else
    out << " --n " << goal.n << " --m " << goal.n << " --d " << goal.d;
  if (emulated || goal.figure == Figure::extra_gib) out << " --repeat 1";
  return out.str();
}

inline bool is_of(const Goal& goal, const nlohmann::ordered_json& line) {
  return line.contains("median_s") && line["operation"] == goal.operation && line["variant"] == goal.variant &&
         line["pass"] == goal.pass && line["precision"] == goal.precision;
}

inline double figure_of(const Goal& goal, const nlohmann::ordered_json& line) {
  const auto number = [&](const char* key) { return line.at(key).is_number() ? line.at(key).get<double>() : NAN; };
  switch (goal.figure) {
    case Figure::product_share: return number("products") * number("product_s") / number("median_s");
    case Figure::milliseconds: return 1e3 * number("median_s");
    default: return (number("memory_during_bytes") - number("memory_before_bytes")) / (int64_t{1} << 30);
  }
}

inline std::string text_of(const Goal& goal) {
  std::ostringstream out;
  switch (goal.figure) {
    case Figure::product_share: out << "at least " << goal.bound << " of the bare product's rate"; break;
    case Figure::milliseconds: out << "at most " << goal.bound << " ms"; break;
    case Figure::extra_gib: out << "at most " << goal.bound << " GiB of extra device memory"; break;
  }
  return out.str();
}

// A training step beside PyTorch's of the same model, loss and optimizer on the same device: psd at the shapes of VEGAS
// (bench/training_step_bench.cpp, bench/peers/step_rates.py), steps a second of the wall clock.
enum class Peer {
  eager,
  best  // of all modes: graphs and what is compiled too
};

struct TrainingGoal {
  int64_t batch;
  Peer peer;
  double bound;  // duet's steps a second over the peer's: at least
};

inline constexpr TrainingGoal kTrainingGoals[] = {{128, Peer::eager, 20},  {128, Peer::best, 3},
                                                  {512, Peer::eager, 20},  {512, Peer::best, 3},
                                                  {4096, Peer::eager, 20}, {4096, Peer::best, 3}};

inline std::string name_of(const TrainingGoal& goal) {
  return "training step psd, batch " + std::to_string(goal.batch) +
         (goal.peer == Peer::eager ? ", eager PyTorch" : ", best PyTorch");
}

inline std::string text_of(const TrainingGoal& goal) {
  std::ostringstream out;
  out << "at least " << goal.bound << " x the steps a second of "
      << (goal.peer == Peer::eager ? "eager PyTorch" : "PyTorch's fastest mode");
  return out.str();
}

// lines: of duet-bench and of step_rates.py; any_batch: duet's line may be of another batch. NaN where one of the two
// is not there.
inline double figure_of(const TrainingGoal& goal, const nlohmann::ordered_json& lines, bool any_batch) {
  double ours = NAN, theirs = NAN;
  for (const nlohmann::ordered_json& line : lines) {
    if (line.contains("loop_rate") && line["loop_rate"].is_number() && line["operation"] == "training_step" &&
        line["variant"] == "psd" && (any_batch || line["n"] == goal.batch))
      ours = line["loop_rate"];
    if (line.contains("steps_per_s") && line["batch"] == goal.batch &&
        (goal.peer == Peer::best || line["mode"] == "eager"))
      theirs = std::fmax(theirs, line["steps_per_s"].get<double>());  // of NaN and a number it is the number
  }
  return ours / theirs;
}

inline bool reaches(const Goal& goal, double figure) {
  return goal.figure == Figure::product_share ? figure >= goal.bound : figure <= goal.bound;
}

}  // namespace duet::gpu
