// The last step of `./dev gpu-check`: what its steps left in a folder becomes one JSON, failures first. Exit status 0:
// everything passed.
// With --goals alone: the lines of goals.h to run, a name and duet-bench's arguments each.
#include <cctype>
#include <cmath>
#include <cstdio>
#include <deque>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "kernels/core/error.h"
#include "kernels/cuda/device.h"
#include "kernels/duet.h"
#include "tests/gpu/goals.h"

namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;
using duet::text;

constexpr size_t kTail = 40;  // lines of a failed step's log

std::vector<std::string> lines_of(const fs::path& path) {
  std::vector<std::string> out;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) out.push_back(line);
  return out;
}

Json tail(const std::vector<std::string>& lines) {
  return std::vector<std::string>(lines.size() > kTail ? lines.end() - kTail : lines.begin(), lines.end());
}

Json device(const fs::path& work) {
  const duet::cuda::DeviceFacts facts = duet::cuda::device_facts(0);
  return {{"name", facts.name},
          {"capability", facts.capability},
          {"multiprocessors", facts.multiprocessors},
          {"memory_bytes", facts.memory_bytes},
          {"l2_bytes", facts.l2_bytes},
          {"shared_bytes_of_block", facts.shared_bytes_of_block},
          {"shared_bytes_of_multiprocessor", facts.shared_bytes_of_multiprocessor},
          {"clock_khz", facts.clock_khz},
          {"memory_clock_khz", facts.memory_clock_khz},
          {"memory_bus_bits", facts.memory_bus_bits},
          {"driver_version", facts.driver_version},
          {"runtime_version", facts.runtime_version},
          {"nvidia_smi", lines_of(work / "nvidia-smi")}};
}

// "NVIDIA H200" is the file nvidia-h200.json.
std::string file_name(const std::string& device) {
  std::string out;
  for (const unsigned char c : device) {
    if (std::isalnum(c))
      out += static_cast<char>(std::tolower(c));
    else if (!out.empty() && out.back() != '-')
      out += '-';
  }
  return out + ".json";
}

bool is_emulated() { return duet::cuda::device_facts(0).name == "emulator"; }

int print_goals() {
  for (const duet::gpu::Goal& goal : duet::gpu::kGoals)
    std::cout << name_of(goal) << '\t' << arguments_of(goal, is_emulated()) << '\n';
  return 0;
}

// Every goal with its figure, null where there is no line of it; missed ones first. They are judged on the device that
// they are for; those beside PyTorch on every device, where there is PyTorch.
Json goals_of(const Json& benchmarks, const Json& training, bool judged) {
  Json missed = Json::array(), others = Json::array();
  for (const duet::gpu::Goal& goal : duet::gpu::kGoals) {
    Json entry = {{"name", name_of(goal)}, {"goal", text_of(goal)}, {"figure", nullptr}, {"reached", nullptr}};
    for (const Json& line : benchmarks) {
      if (!is_of(goal, line) || (!is_emulated() && (line["n"] != goal.n || line["d"] != goal.d))) continue;
      const double figure = figure_of(goal, line);
      entry["figure"] = figure;
      if (judged) entry["reached"] = reaches(goal, figure);
      break;
    }
    (entry["figure"].is_null() || entry["reached"] == false ? missed : others).push_back(entry);
  }
  bool compared = false;
  for (const Json& line : training) compared = compared || line.contains("mode");
  for (const duet::gpu::TrainingGoal& goal : duet::gpu::kTrainingGoals) {
    if (!compared) break;
    Json entry = {{"name", name_of(goal)}, {"goal", text_of(goal)}, {"figure", nullptr}, {"reached", nullptr}};
    const double figure = figure_of(goal, training, is_emulated());
    if (!std::isnan(figure)) entry["figure"] = figure;
    if (!is_emulated()) entry["reached"] = figure >= goal.bound;
    (entry["reached"] == false ? missed : others).push_back(entry);
  }
  for (const Json& entry : others) missed.push_back(entry);
  return missed;
}

int report(const fs::path& work, const fs::path& output, const std::string& commit, double seconds) {
  Json failures = Json::array(), results = Json::array(), benchmarks = Json::array(), training = Json::array();
  size_t passed = 0, skipped = 0;
  std::set<std::string> left_out;  // goals
  for (const std::string& line : lines_of(work / "results.tsv")) {
    std::istringstream fields(line);
    std::string kind, name, status, took, log;
    for (std::string* field : {&kind, &name, &status, &took, &log}) std::getline(fields, *field, '\t');
    const std::vector<std::string> said = lines_of(log);
    results.push_back({{"kind", kind}, {"name", name}, {"status", status}, {"seconds", std::stod(took)}});
    if (status == "skipped" && !said.empty()) results.back()["reason"] = said.back();
    passed += status == "passed";
    skipped += status == "skipped";
    if (status == "skipped" && kind == "goal") left_out.insert(name);
    if (status == "failed") failures.push_back({{"kind", kind}, {"name", name}, {"log", tail(said)}});
    if (kind != "benchmark" && kind != "goal" && kind != "training") continue;
    for (const std::string& text : said) {
      if (!text.starts_with('{')) continue;
      const Json read = Json::parse(text, nullptr, false);  // what PyTorch warns of may begin like an object
      if (!read.is_discarded()) (kind == "training" ? training : benchmarks).push_back(read);
    }
  }
  const Json facts = device(work);
  const std::string device_name = facts["name"];
  const Json goals = goals_of(benchmarks, training, device_name.find(duet::gpu::kGoalDevice) != std::string::npos);
  for (const Json& goal : goals) {
    if (!goal["figure"].is_null() && goal["reached"] != false) continue;
    if (left_out.contains(goal["name"].get<std::string>())) continue;
    const std::string found = goal["figure"].is_null() ? "no figure" : text(goal["figure"].get<double>());
    failures.push_back({{"kind", "goal"},
                        {"name", goal["name"]},
                        {"log", {text(goal["goal"].get<std::string>(), "; found: ", found)}}});
  }
  const bool all_passed = failures.empty() && passed > 0;
  const Json document = {{"passed", all_passed}, {"failures", failures},      {"goals", goals},
                         {"device", facts},      {"version", duet_version()}, {"commit", commit},
                         {"seconds", seconds},   {"results", results},        {"benchmarks", benchmarks},
                         {"training", training}};
  const fs::path path = output / file_name(facts["name"]);
  std::ofstream file(path);
  file << document.dump(1) << '\n';
  file.close();
  if (!file) throw std::runtime_error("cannot write " + path.string());
  for (const Json& failure : failures) {
    std::cout << "failed: " << failure["kind"].get<std::string>() << ' ' << failure["name"].get<std::string>() << '\n';
    for (const Json& line : failure["log"]) std::cout << "    " << line.get<std::string>() << '\n';
  }
  std::cout << passed << " passed, " << failures.size() << " failed, " << skipped << " skipped, " << benchmarks.size()
            << " benchmark lines, " << seconds << " s; wrote " << path.string() << '\n';
  return all_passed ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  const bool goals = argc == 2 && std::string(argv[1]) == "--goals";
  if (argc != 5 && !goals) {
    std::cerr << "usage: duet_gpu_report --goals | STEPS OUTPUT COMMIT SECONDS\n";
    return 2;
  }
  try {
    if (goals) return print_goals();
    return report(argv[1], argv[2], argv[3], std::stod(argv[4]));
  } catch (const std::exception& error) {
    std::cerr << "duet_gpu_report: " << error.what() << '\n';
    return 1;
  }
}
