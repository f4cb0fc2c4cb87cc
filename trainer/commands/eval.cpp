// `duet eval`: measures a trained model on a split.
#include <iostream>
#include <nlohmann/json.hpp>

#include "data/dataset.h"
#include "trainer/commands/command.h"
#include "trainer/commands/options.h"
#include "trainer/evaluate.h"
#include "trainer/preparation.h"
#include "trainer/report.h"

namespace duet {
namespace {

namespace fs = std::filesystem;

class EvalCommand final : public Command {
 public:
  void declare(CLI::App& app) override {
    add_run(app, run_);
    add_best(app, best_);
    add_split(app, data_, split_);
    place_.declare(app);
    app.add_flag("--json", json_, "print JSON");
    app.add_flag("--per-class", per_class_, "print the MAP of each class as well; JSON always has it");
  }
  int run() override;

 private:
  std::optional<fs::path> run_, data_;
  std::string split_ = "test";
  Workplace place_;
  bool best_ = false, json_ = false, per_class_ = false;
};

int EvalCommand::run() {
  const Device device(place_.choose().options);
  const std::unique_ptr<Model> model = load_model(*run_, best_, device.context());
  const data::Split split = load_for(*model, data_.value_or(fs::path()), split_);
  if (!json_) print_notes(scaling_notes(model->description()));
  print_notes(label_notes(model->description(), split, split_));
  const Evaluation evaluation = evaluate(device.context(), *model, split);
  const auto& [a, v] = model->description().modalities;
  std::cerr << coincidence_warning(evaluation, a, v);
  const data::Classes called = {split.label_values, split.label_names};
  if (json_) {
    nlohmann::ordered_json measured = to_json(evaluation);
    measured["classes"] = classes_json(evaluation, called);
    std::cout << measured.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) << '\n';
  } else {
    std::cout << evaluation_table(evaluation, a, v);
    if (per_class_) std::cout << '\n' << class_table(evaluation, called, a, v);
    if (evaluation.a_to_v.queries == 0)
      std::cerr << "no query with a label and a relevant item: measures by label are left out\n";
  }
  return kExitDone;
}

}  // namespace

std::unique_ptr<Command> make_eval() { return std::make_unique<EvalCommand>(); }

}  // namespace duet
