#include "trainer/commands/options.h"

#include <iostream>

#include "runtime/printable.h"
#include "trainer/run_directory.h"
#include "trainer/usage_error.h"

namespace duet {

namespace fs = std::filesystem;

void Workplace::declare(CLI::App& app) {
  app.add_option_function<std::string>(
         "--threads",
         [this](const std::string& value) {
           Config read;
           set_from_text(read, "threads", value, "--threads");
           threads = read.threads;
         },
         "CPU threads; 0: what affinity mask and cgroup allow [0]")
      ->type_name("N");
  declare_device(app, device);
}

ChosenDevice Workplace::choose() const {
  ChosenDevice chosen = choose_device(device, threads);
  if (chosen.options.kind == DUET_DEVICE_CUDA)
    print_notes({text("on ", chosen.name, ", ", chosen.precision)});
  else if (!chosen.reason.empty() && chosen.has_cuda)
    print_notes({"on the CPU: " + chosen.reason});
  return chosen;
}

void declare_device(CLI::App& app, DeviceChoice& device) {
  app.add_option("--device", device.device,
                 "auto, cpu, cuda or emulated; auto: CUDA where there is such a device [\"auto\"]")
      ->type_name("DEVICE");
  app.add_option("--precision", device.precision,
                 "of a CUDA device's products: tf32x3, fp32, tf32 or bf16 [\"tf32x3\"]")
      ->type_name("PRECISION");
}

CLI::Option* add_text(CLI::App& app, const std::string& option, std::string& target, const std::string& description,
                      const std::string& value_name) {
  return app.add_option(option, target, description)->type_name(value_name);
}

CLI::Option* add_path(CLI::App& app, const std::string& option, std::optional<fs::path>& target,
                      const std::string& description, const std::string& value_name) {
  const auto take = [option, &target](const std::string& value) {
    usage_require(!value.empty(), option, ": expected a path, got nothing");
    target = value;
  };
  return app.add_option_function<std::string>(option, take, description)->type_name(value_name);
}

CLI::Option* add_key(CLI::App& app, const std::string& option, const std::string& key, Config& config,
                     const std::string& value_name) {
  const auto take = [option, key, &config](const std::string& value) { set_from_text(config, key, value, option); };
  return app.add_option_function<std::string>(option, take, key_words(*find_key(key)))->type_name(value_name);
}

CLI::Option* add_run(CLI::App& app, std::optional<fs::path>& run) {
  return add_path(app, "--run", run, "run directory of duet train", "DIR")->required();
}

void add_best(CLI::App& app, bool& best) {
  app.add_flag("--best", best, "use the model with the best MAP of the validation split in place of the last one");
}

void add_split(CLI::App& app, std::optional<fs::path>& data, std::string& split) {
  add_path(app, "--data", data, "folder or file of the data set; without it the one that the run was trained on",
           "PATH");
  app.add_option("--split", split, "train, val or test [\"test\"]")
      ->type_name("SPLIT")
      ->check(CLI::IsMember({"train", "val", "test"}));
}

fs::path data_for(const std::optional<fs::path>& given, const Model& model) {
  return given.value_or(fs::path(model.description().config.data));
}

void add_force(CLI::App& app, bool& force) {
  app.add_flag("--force", force, "write over files that are there; never over one that this command reads");
}

std::string key_words(const ConfigKey& key) {
  std::string words = key.description;
  if (!key.choices.empty()) words += ": " + range_text(key);
  return words + " [" + default_text(key) + "]";
}

fs::path model_path(const fs::path& run, bool best) {
  const fs::path last = run / kModelFile, path = best ? run / kBestFile : last;
  std::error_code refused, ignored;
  const bool there = fs::exists(path, refused);
  usage_require(there, path.string(), ": ", refused ? refused.message() : "no such file",
                best && fs::exists(last, ignored) ? "; a run with a validation split has a best model"
                                                  : "; --run takes the run directory of duet train");
  return path;
}

std::unique_ptr<Model> load_model(const fs::path& run, bool best, duet_context* context) {
  return Model::load(model_path(run, best), context);
}

void print_notes(const std::vector<std::string>& lines) {
  for (const std::string& line : lines) std::cerr << printable(line) << '\n';
}

std::string shown_path(const fs::path& path) { return printable(path.string()); }

}  // namespace duet
