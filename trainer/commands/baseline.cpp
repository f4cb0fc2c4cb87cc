// `duet baseline`: a linear baseline of the data, measured as a trained model is.
#include <iostream>
#include <nlohmann/json.hpp>

#include "trainer/cca.h"
#include "trainer/commands/command.h"
#include "trainer/commands/options.h"
#include "trainer/evaluate.h"
#include "trainer/preparation.h"
#include "trainer/report.h"
#include "trainer/usage_error.h"

namespace duet {
namespace {

class BaselineCommand final : public Command {
 public:
  void declare(CLI::App& app) override;
  int run() override;

 private:
  Cca fit(const Preparation& preparation) const;

  std::optional<std::filesystem::path> data_;
  Config config_;
  std::vector<std::string> assignments_;
  std::string method_;
  double ridge_ = kDefaultRidge;
  Workplace place_;
  bool json_ = false;
};

void BaselineCommand::declare(CLI::App& app) {
  add_path(app, "--data", data_, "folder or file of the data set; without it the digits embedded in the program",
           "PATH");
  add_key(app, "--modalities", "modalities", config_, "A,B");
  add_key(app, "--map", "map", config_, "ARRAY/SPLIT=PATH,...");
  const auto take_method = [this](const std::string& word) {
    usage_require(word == "cca" || word == "cluster_cca", "--method: expected cca or cluster_cca, got '", word, "'");
    method_ = word;
  };
  app.add_option_function<std::string>("--method", take_method,
                                       "cca: of the pairs, without labels; cluster_cca: of all pairs of one label")
      ->type_name("METHOD")
      ->required();
  add_key(app, "--labels", "labels", config_, "SHARE");
  add_key(app, "--seed", "seed", config_, "N");
  add_key(app, "--dim", "embedding_dim", config_, "K");
  const auto take_ridge = [this](const double& value) {
    usage_require(std::isfinite(value) && value >= kLeastRidge, "--ridge: expected a number of at least ", kLeastRidge,
                  ", got ", value);
    ridge_ = value;
  };
  app.add_option_function<double>(
         "--ridge", take_ridge,
         text("added to each column's variance, as a share of the columns' mean variance [", kDefaultRidge, "]"))
      ->type_name("R");
  app.add_option("--set", assignments_, "any config keys, of which those of data and labels count; may be repeated")
      ->type_name("KEY=VALUE");
  place_.declare(app);
  app.add_flag("--json", json_, "print JSON");
}

Cca BaselineCommand::fit(const Preparation& preparation) const {
  const auto& [a, v] = preparation.dataset.train.features;
  usage_require(method_ == "cca" || !preparation.dataset.several_labels(), preparation.dataset.name, ": ", method_,
                ": several labels a row; expected one (cca looks at none)");
  try {
    return Cca(a, v, preparation.labels,
               {.clusters = method_ == "cluster_cca", .dim = config_.embedding_dim, .ridge = ridge_});
  } catch (const Error& error) {
    throw UsageError(text(preparation.dataset.name, ": ", method_, ": ", error.what()));
  }
}

int BaselineCommand::run() {
  std::vector<std::string> notes;
  for (const std::string& assignment : assignments_)
    for (std::string& line : set_from_assignment(config_, assignment)) notes.push_back(std::move(line));
  print_notes(notes);
  if (data_) set_from_text(config_, "data", data_->string(), "--data");
  config_.method = "contrastive";                   // which needs no labels: cluster_cca says itself what it needs
  config_.patience = 0;                             // there are no epochs
  config_.sampler = "shuffled";                     // and no batches,
  config_.smallest_batch = config_.batch_size = 2;  // and so none is too small
  validate(config_);
  const Device device(place_.choose().options);
  const Preparation preparation = prepare(config_);
  if (!json_) print_notes(scaling_notes(preparation.description));
  print_notes(label_notes(preparation.description, preparation.dataset.test, "test"));
  const Cca cca = fit(preparation);
  if (cca.dim() < config_.embedding_dim)
    print_notes({text("no more than ", cca.dim(), " of the ", config_.embedding_dim,
                      " directions asked for correlate: the others are left out")});
  const data::Split& test = preparation.dataset.test;
  const Evaluation evaluation =
      evaluate(device.context(), cca.embed(0, test.features[0]), cca.embed(1, test.features[1]), test);
  const auto& [a, v] = preparation.description.modalities;
  std::cerr << coincidence_warning(evaluation, a, v);
  if (json_) {
    nlohmann::ordered_json facts = to_json(evaluation);
    facts["baseline"] = {{"method", method_}, {"labels", config_.labels}, {"seed", config_.seed},
                         {"ridge", ridge_},   {"dim", cca.dim()},         {"correlations", cca.correlations()}};
    std::cout << facts.dump(2) << '\n';
  } else {
    std::cout << evaluation_table(directions(evaluation), direction_names(a, v, 2));
  }
  return kExitDone;
}

}  // namespace

std::unique_ptr<Command> make_baseline() { return std::make_unique<BaselineCommand>(); }

}  // namespace duet
