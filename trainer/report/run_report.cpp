#include "trainer/report/run_report.h"

#include <nlohmann/json.hpp>

#include "kernels/core/error.h"
#include "runtime/files/atomic_file.h"
#include "trainer/format.h"
#include "trainer/interrupt.h"
#include "trainer/run_directory.h"

namespace duet::report {
namespace {

namespace fs = std::filesystem;

void write_file(const fs::path& path, const std::string& bytes) {
  AtomicFile file(path);
  file.write(bytes.data(), bytes.size());
  file.commit();
}

std::function<std::string(int32_t)> names_of(const data::Classes& called) {
  return [called](int32_t id) -> std::string {
    if (id < 0) return "unlabelled";
    return static_cast<size_t>(id) < called.values.size() ? called.name(id) : text("label ", id);
  };
}

SplitMeasures measure_test(const ReportOrder& order) {
  const Config& config = order.model->description().config;
  std::array<data::Features, data::kModalities> embeddings;
  for (size_t side = 0; side < embeddings.size(); ++side)
    embeddings[side] = order.model->embed(order.context, static_cast<int>(side), order.test->features[side],
                                          config.evaluation_block_rows, order.between);
  SplitMeasures measures =
      measure(order.context, embeddings, *order.test, *order.evaluation, config.seed, order.between);
  if (order.is_built_in) add_pictures(measures, order.model->description().modalities);
  return measures;
}

std::optional<AlignmentViews> alignment_views(const ReportOrder& order) {
  AlignmentViews views;
  if (std::optional<RecordedAlignment> recorded = read_alignment(order.run, order.train->labels)) {
    views.batch = std::move(recorded->batch);
    views.before = std::move(recorded->alignment);
  } else {
    views.batch = draw_batch(order.train->labels, order.model->description().config.seed);
  }
  const Model& model = order.trained ? *order.trained : *order.model;
  views.now =
      align(order.context, model, order.train->features, views.batch, order.trained ? Members::both : Members::teacher);
  if (views.now.teacher.empty()) return std::nullopt;
  return views;
}

}  // namespace

DataFacts facts_of(const std::string& name, const ModelDescription& description, const data::Split& train,
                   const data::Split& test, int64_t labelled) {
  DataFacts facts{name, train.rows(), labelled, test.rows(), description.classes(), {}, {}};
  for (size_t side = 0; side < data::kModalities; ++side) {
    facts.widths[side] = description.width(static_cast<int>(side));
    facts.scaling[side] = description.inputs[side].reason;
  }
  return facts;
}

std::string run_page(const ReportOrder& order) {
  RunPage page;
  const fs::path folder = fs::absolute(order.run).lexically_normal();
  page.name = (folder.has_filename() ? folder : folder.parent_path()).filename().string();
  page.note = order.note;
  page.history = read_history(order.run);
  page.modalities = order.model->description().modalities;
  page.data = order.facts;
  page.class_name = names_of(order.called);
  page.labels = order.test->labels;
  page.train_sets = order.train->sets, page.test_sets = order.test->sets;
  if (order.evaluation) page.test = measure_test(order);
  page.alignment = alignment_views(order);

  nlohmann::ordered_json data = {{kFormatKey, kReportFormat}, {"run", page.name}};
  std::vector<Section> sections = {training_section(page, data)};
  if (page.test) {
    sections.push_back(retrieval_section(page, data));
    sections.push_back(confusion_section(page, data));
    sections.push_back(space_section(page, data));
  }
  if (page.alignment) sections.push_back(alignment_section(page, data));
  if (page.test) sections.push_back(examples_section(page, data));
  sections.push_back(setup_section(page));

  const Config& config = page.history.config;
  std::string introduction =
      paragraph(text("Method ", config.method, " on ", page.data.name, ", ", number_text(100 * config.labels),
                     " % of the labels, seed ", config.seed, "."));
  if (!page.note.empty()) introduction += paragraph(page.note);
  return report::page("duet: " + page.name, introduction + tiles(page), sections, data);
}

void record_alignment(const fs::path& run, duet_context* context, const Model& model, const Preparation& preparation) {
  const data::Split& train = preparation.dataset.train;
  const AlignmentBatch batch = draw_batch(train.labels, model.description().config.seed);
  const Alignment alignment = align(context, model, train.features, batch, Members::both);
  nlohmann::ordered_json content = {{kFormatKey, kAlignmentFormat}};
  content.update(to_json(batch, alignment));
  try {
    write_file(run / kAlignmentFile, content.dump() + '\n');
  } catch (const FileError&) {
    // The checkpoint that comes next is larger: where the disk is full, that ends the run.
  }
}

std::string write_report(const fs::path& run, duet_context* context, const Model& model, const Preparation& preparation,
                         const std::optional<Evaluation>& evaluation, const std::string& note,
                         const std::function<void()>& between) {
  const data::Dataset& dataset = preparation.dataset;
  ReportOrder order{run,
                    context,
                    &model,
                    &model,
                    &dataset.train,
                    &dataset.test,
                    facts_of(dataset.name, model.description(), dataset.train, dataset.test, preparation.labelled()),
                    {dataset.label_values, dataset.label_names},
                    evaluation,
                    note,
                    between,
                    model.description().config.data.empty()};
  try {
    std::string page;
    try {
      page = run_page(order);
    } catch (const Interrupted&) {
      order.evaluation.reset();
      order.note = "A signal came while the test split was measured for this page; duet report measures it.";
      page = run_page(order);
    }
    write_file(run / kReportFile, page);
    return "";
  } catch (const std::exception& error) {
    return text("warning: no ", kReportFile, ": ", error.what());
  }
}

}  // namespace duet::report
