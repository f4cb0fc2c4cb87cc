// report.html of a run's folder: what the run did, to look at.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>

#include "trainer/evaluation.h"
#include "trainer/preparation.h"
#include "trainer/report/sections.h"

namespace duet::report {

struct ReportOrder {
  std::filesystem::path run;  // it has config.json and metrics.jsonl
  duet_context* context = nullptr;
  const Model* model = nullptr;    // whose moving average is measured
  const Model* trained = nullptr;  // the student and the moving average that go on; null: the student is not known
  const data::Split *train = nullptr, *test = nullptr;
  DataFacts facts;
  data::Classes called;                  // what the labels' ids stand for
  std::optional<Evaluation> evaluation;  // of model on the test split; none: the split is not measured
  std::string note;
  std::function<void()> between = {};  // called before each part of the work that takes long; what it throws ends it
  bool is_built_in = false;            // test is that of the digits in the program, whose pictures it has
};

// The page. Throws what reading the run's files and measuring throw.
std::string run_page(const ReportOrder& order);

// What a new run keeps for its page: how a batch is aligned before the first step. A file that cannot be written is
// none: the page does without.
void record_alignment(const std::filesystem::path& run, duet_context* context, const Model& model,
                      const Preparation& preparation);
// Of a run that has ended, by itself or early. evaluation: none where it was interrupted. Where a signal comes
// meanwhile (between throws Interrupted) the test split is left out. Nothing fails a run: returns a line that says why
// there is no page, else "".
std::string write_report(const std::filesystem::path& run, duet_context* context, const Model& model,
                         const Preparation& preparation, const std::optional<Evaluation>& evaluation,
                         const std::string& note, const std::function<void()>& between);

DataFacts facts_of(const std::string& name, const ModelDescription& description, const data::Split& train,
                   const data::Split& test, int64_t labelled);

}  // namespace duet::report
