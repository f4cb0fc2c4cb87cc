// `duet export`: a trained model in the forms that other programs take.
//   --onnx FILE  trainer/onnx.h
//   --hub DIR    a folder as model hubs hold one: model.safetensors, config.json, README.md, the model's card

#include <fstream>
#include <iostream>
#include <iterator>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>

#include "runtime/device.h"
#include "runtime/json_text.h"
#include "runtime/printable.h"
#include "trainer/commands/command.h"
#include "trainer/commands/options.h"
#include "trainer/onnx.h"
#include "trainer/output_files.h"
#include "trainer/run_directory.h"
#include "trainer/usage_error.h"

namespace duet {
namespace {

namespace fs = std::filesystem;

std::string bytes_of(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::string bytes{std::istreambuf_iterator<char>(file), {}};
  usage_require(file.good() || file.eof(), path.string(), ": cannot be read");
  return bytes;
}

// The last evaluation of the test split in a run's metrics, by its best model or by the last one, where there is one
// that can be read: a card without figures is a card.
std::optional<nlohmann::json> last_evaluation(const fs::path& metrics, bool best) {
  std::ifstream file(metrics);
  std::optional<nlohmann::json> last;
  for (std::string line; std::getline(file, line);) {
    nlohmann::json parsed = nlohmann::json::parse(line, nullptr, false);
    if (!parsed.is_object() || !parsed.contains("map") || !parsed["map"].is_object()) continue;
    // A line of an earlier version names neither split nor model.
    const std::string split = parsed.value("split", "test"), model = parsed.value("model", "last");
    if (split == "test" && model == (best ? "best" : "last")) last = std::move(parsed);
  }
  return last;
}

// Words of a file's or a modality's name in Markdown and in YAML: as code, on one line.
std::string quoted(const std::string& name) {
  std::string out = shown(name);
  std::erase(out, '`');
  return "`" + out + "`";
}

std::string card(const ModelDescription& description, const std::optional<nlohmann::json>& evaluation) {
  const Config& config = description.config;
  const auto& [a, v] = description.modalities;
  std::ostringstream out;
  out << "---\nlibrary_name: duet\ntags:\n- cross-modal-retrieval\n- metric-learning\n- feature-extraction\n---\n\n"
      << "# Embeddings of " << quoted(a) << " and " << quoted(v) << "\n\n"
      << "Two encoders into one space of " << config.embedding_dim << " dimensions, trained by duet " << duet_version()
      << " with the method `" << config.method << "`, " << config.labels * 100 << " % of the labels and "
      << config.epochs << " epochs, seed " << config.seed << ".\n\n"
      << "| modality | columns of its features | scaling |\n| --- | --- | --- |\n";
  for (size_t side = 0; side < description.modalities.size(); ++side)
    out << "| " << quoted(description.modalities[side]) << " | " << description.width(static_cast<int>(side)) << " | "
        << data::scaling_name(description.inputs[side].scaling) << " |\n";
  out << "\nIt tells " << description.classes() << " classes apart, whose labels `class_values` of model.safetensors "
      << "lists. Hidden layers: ";
  for (size_t k = 0; k < config.hidden_units.size(); ++k) out << (k ? ", " : "") << config.hidden_units[k];
  if (config.hidden_units.empty()) out << "none";
  out << " units, " << config.activation << (config.layer_norm ? ", layer norm" : "") << ".\n\n";
  if (evaluation) {
    out << "Mean average precision on the test split";
    if (const auto epochs = whole_number(evaluation->value("epoch", nlohmann::json())))
      out << " after " << *epochs << " epochs";
    out << ", ranked by cosine similarity:\n\n| query | gallery | MAP |\n| --- | --- | --- |\n";
    const nlohmann::json& map = (*evaluation)["map"];
    const auto row = [&](const std::string& from, const std::string& to, const char* key) {
      if (!map.contains(key) || !map[key].is_number()) return;
      char value[32];
      std::snprintf(value, sizeof value, "%.3f", map[key].get<double>());
      out << "| " << quoted(from) << " | " << quoted(to) << " | " << value << " |\n";
    };
    row(a, v, "a_to_v");
    row(v, a, "v_to_a");
    out << '\n';
  }
  out << "To embed the features of a folder with a `.npy` a modality in `test/`:\n\n"
      << "    duet embed --run . --data FOLDER --out EMBEDDINGS\n";
  return out.str();
}

class ExportCommand final : public Command {
 public:
  void declare(CLI::App& app) override {
    add_run(app, run_);
    add_best(app, best_);
    add_path(app, "--onnx", onnx_, "ONNX file of both encoders, scaling and classifier included", "FILE");
    add_path(app, "--hub", hub_, "folder for model.safetensors, config.json and README.md, the model's card", "DIR");
    add_force(app, force_);
  }
  int run() override;

 private:
  std::optional<fs::path> run_, onnx_, hub_;
  bool best_ = false, force_ = false;
};

int ExportCommand::run() {
  usage_require(onnx_ || hub_, "export: expected --onnx FILE, --hub DIR or both");
  const fs::path path = model_path(*run_, best_);
  const Device device({.threads = 1});  // of the weights, not of products
  const std::unique_ptr<Model> model = load_model(*run_, best_, device.context());
  // What is written, in order; the parts of a hub's folder all or none but for a system that fails between two names.
  std::map<fs::path, std::string> files;
  if (onnx_) files[*onnx_] = onnx_model(*model);
  if (hub_) {
    const ModelDescription& description = model->description();
    files[*hub_ / kModelFile] = bytes_of(path);
    nlohmann::ordered_json config = to_json(description.config);
    files[*hub_ / "config.json"] = config.dump(2) + "\n";
    files[*hub_ / "README.md"] = card(description, last_evaluation(*run_ / "metrics.jsonl", best_));
  }
  InputFiles inputs;
  inputs.add(*run_);
  if (hub_) make_output_folder(*hub_);
  for (const auto& [to, bytes] : files) require_free(inputs, to, force_);
  for (const auto& [to, bytes] : files) {
    write_output(to, bytes, force_);
    std::cout << printable(to.string()) << ": " << bytes.size() << " bytes\n";
  }
  return kExitDone;
}

}  // namespace

std::unique_ptr<Command> make_export() { return std::make_unique<ExportCommand>(); }

}  // namespace duet
