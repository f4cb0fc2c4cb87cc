// `duet eval`: measures a trained model on the pairs of a split, on one direction of it, or on queries and a gallery.
#include <iostream>
#include <nlohmann/json.hpp>

#include "data/dataset.h"
#include "trainer/commands/command.h"
#include "trainer/commands/options.h"
#include "trainer/confidence.h"
#include "trainer/evaluate.h"
#include "trainer/preparation.h"
#include "trainer/report.h"
#include "trainer/side.h"
#include "trainer/usage_error.h"

namespace duet {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

class EvalCommand final : public Command {
 public:
  void declare(CLI::App& app) override;
  int run() override;

 private:
  void evaluate_pairs(duet_context* context, const Model& model) const;
  void evaluate_one_way_of_split(duet_context* context, const Model& model) const;
  void evaluate_sides(duet_context* context, const Model& model) const;
  void note_scaling(const Model& model, std::vector<int> modalities) const;
  // names: of the directions. called: what the ids of their classes stand for. groups: of the queries. measured: the
  // measures.
  void print(const Directions& directions, const std::vector<std::string>& names, const data::Classes& called,
             const std::vector<int32_t>& groups, Json measured) const;
  void print_one_way(const OneWayEvaluation& evaluation, const data::Classes& called,
                     const std::vector<int32_t>& groups) const;

  std::optional<fs::path> run_, data_, query_, gallery_, query_labels_, gallery_labels_;
  std::string split_ = "test", from_, to_;
  const CLI::Option* one_way_ = nullptr;  // --from
  Workplace place_;
  int64_t draws_ = BootstrapOptions{}.draws, seed_ = 0;
  bool best_ = false, json_ = false, per_class_ = false, exclude_self_ = false;
};

void EvalCommand::declare(CLI::App& app) {
  constexpr int64_t kMostDraws = 1'000'000, kLargestSeed = int64_t{1} << 53;  // which JSON holds exactly
  add_run(app, run_);
  add_best(app, best_);
  add_split(app, data_, split_);
  CLI::Option* const query = add_path(app, "--query", query_, "file or folder of arrays that asks, row by row", "PATH");
  CLI::Option* const gallery = add_path(app, "--gallery", gallery_, "file or folder of arrays that is ranked", "PATH");
  CLI::Option* const from =
      add_text(app, "--from", from_, "the query's modality; of a split: measure this direction alone", "MODALITY");
  CLI::Option* const to =
      add_text(app, "--to", to_, "the gallery's modality; of a split the same one, too: each row searches the others",
               "MODALITY");
  add_path(app, "--query-labels", query_labels_, "labels of the query's rows: .npy, .csv or .tsv; else those beside it",
           "FILE")
      ->needs(query);
  add_path(app, "--gallery-labels", gallery_labels_, "labels of the gallery's rows, likewise", "FILE")->needs(gallery);
  app.add_flag("--exclude-self", exclude_self_,
               "leave out the gallery row of the query's number, as a set searched in itself needs")
      ->needs(from);
  one_way_ = from;
  query->needs(gallery)->needs(from)->needs(to);
  gallery->needs(query);
  from->needs(to);
  to->needs(from);
  query->excludes(app.get_option("--data"))->excludes(app.get_option("--split"));
  place_.declare(app);
  app.add_option("--draws", draws_, "draws of the bootstrap for the intervals of MAP and recall@1; 0: none [1000]")
      ->type_name("N")
      ->check(CLI::Range(int64_t{0}, kMostDraws));
  app.add_option("--seed", seed_, "seed of the draws [0]")->type_name("N")->check(CLI::Range(int64_t{0}, kLargestSeed));
  app.add_flag("--per-class", per_class_, "print the MAP of each class as well; JSON always has it");
  app.add_flag("--json", json_, "print JSON");
}

int EvalCommand::run() {
  constexpr int64_t kLeastDraws = 40;  // one of which lies in a tail of 2.5 %
  usage_require(draws_ == 0 || draws_ >= kLeastDraws, "--draws: expected 0 or at least ", kLeastDraws, ", got ",
                draws_);
  const Device device(place_.choose().options);
  const std::unique_ptr<Model> model = load_model(*run_, best_, device.context());
  if (query_)
    evaluate_sides(device.context(), *model);
  else if (one_way_->count() > 0)
    evaluate_one_way_of_split(device.context(), *model);
  else
    evaluate_pairs(device.context(), *model);
  return kExitDone;
}

void EvalCommand::evaluate_pairs(duet_context* context, const Model& model) const {
  const data::Split split = load_for(model, data_for(data_, model), split_);
  note_scaling(model, {0, 1});
  print_notes(label_notes(model.description(), split, split_));
  const Evaluation evaluation = evaluate(context, model, split);
  const auto& [a, v] = model.description().modalities;
  std::cerr << coincidence_warning(evaluation, a, v);
  print(directions(evaluation), direction_names(a, v, 2), {split.label_values, split.label_names}, split.groups,
        to_json(evaluation));
}

void EvalCommand::evaluate_one_way_of_split(duet_context* context, const Model& model) const {
  const int from = modality_of(model, "--from", from_), to = modality_of(model, "--to", to_);
  const data::Split split = load_for(model, data_for(data_, model), split_, data::SplitUse::labelled_features);
  const auto embedded = [&](int modality) {
    const data::Features& features = split.features[static_cast<size_t>(modality)];
    usage_require(features.rows > 0, data_for(data_, model).string(), ": the ", split_, " split has no modality '",
                  model.description().modalities[static_cast<size_t>(modality)], "'");
    return model.embed(context, modality, features, model.description().config.evaluation_block_rows);
  };
  const data::Features queries = embedded(from), gallery = embedded(to);
  note_scaling(model, {from, to});
  print_notes(label_notes(model.description(), split, split_));
  print_one_way(evaluate(context, {queries, split.labels, split.groups, split.sets},
                         {gallery, split.labels, split.groups, split.sets},
                         {.paired = true, .exclude_own = exclude_self_ || from == to}),
                {split.label_values, split.label_names}, split.groups);
}

void EvalCommand::evaluate_sides(duet_context* context, const Model& model) const {
  const Side query = open_side(model, "--query", *query_, modality_of(model, "--from", from_)),
             gallery = open_side(model, "--gallery", *gallery_, modality_of(model, "--to", to_));
  usage_require(!exclude_self_ || query.rows() == gallery.rows(), "--exclude-self: ", query.features->name(), " has ",
                query.rows(), " rows and ", gallery.features->name(), " has ", gallery.rows(),
                "; expected the same rows");
  const data::LabelColumn query_labels = read_labels(query, query_labels_),
                          gallery_labels = read_labels(gallery, gallery_labels_);
  const ModelDescription& description = model.description();
  const data::LabelIds labels = reading_input([&] {
    return data::ids_by_classes(std::array{&query_labels, &gallery_labels}, description.called());
  });
  const data::Features queries = embed(model, context, query, 0, query.rows()),
                       items = embed(model, context, gallery, 0, gallery.rows());
  note_scaling(model, {query.modality, gallery.modality});
  print_notes(label_notes(description, labels.ids[0], "query rows"));
  print_notes(label_notes(description, labels.ids[1], "gallery rows"));
  std::error_code ignored;
  if (!exclude_self_ && query.modality == gallery.modality && fs::equivalent(*query_, *gallery_, ignored))
    print_notes({"query and gallery are the same rows, and each finds itself; --exclude-self leaves it out"});
  for (const fs::path& path : {*query_, *gallery_})
    if (fs::exists(path / (std::string(data::kGroups) + ".npy"), ignored))
      print_notes({path.string() + ": groups.npy is passed over: each row is an item of its own here"});
  const std::vector<int32_t> no_groups;
  print_one_way(evaluate(context, {queries, labels.ids[0], no_groups, labels.sets},
                         {items, labels.ids[1], no_groups, labels.sets}, {.exclude_own = exclude_self_}),
                {labels.values, labels.names}, no_groups);
}

void EvalCommand::note_scaling(const Model& model, std::vector<int> modalities) const {
  if (json_) return;
  if (modalities[0] == modalities[1]) modalities.pop_back();
  const std::vector<std::string> notes = scaling_notes(model.description());
  for (const int modality : modalities) print_notes({notes[static_cast<size_t>(modality)]});
}

void EvalCommand::print(const Directions& directions, const std::vector<std::string>& names,
                        const data::Classes& called, const std::vector<int32_t>& groups, Json measured) const {
  std::optional<Confidence> confidence;
  if (draws_ > 0) confidence = bootstrap(directions, groups, {.draws = draws_, .seed = static_cast<uint64_t>(seed_)});
  if (json_) {
    if (confidence) measured["confidence"] = to_json(*confidence);
    measured["classes"] = classes_json(directions, called);
    std::cout << measured.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) << '\n';
    return;
  }
  std::cout << evaluation_table(directions, names, confidence ? &*confidence : nullptr);
  if (per_class_) std::cout << '\n' << class_table(directions, names, called);
  if (directions[0]->queries == 0)
    std::cerr << "no query with a label and a relevant item: measures by label are left out\n";
}

void EvalCommand::print_one_way(const OneWayEvaluation& evaluation, const data::Classes& called,
                                const std::vector<int32_t>& groups) const {
  std::cerr << coincidence_warning("query", evaluation.coinciding[0])
            << coincidence_warning("gallery", evaluation.coinciding[1]);
  Json measured = {{"from", from_}, {"to", to_}};
  measured.update(to_json(evaluation));
  print(directions(evaluation), direction_names(from_, to_, 1), called, groups, std::move(measured));
}

}  // namespace

std::unique_ptr<Command> make_eval() { return std::make_unique<EvalCommand>(); }

}  // namespace duet
