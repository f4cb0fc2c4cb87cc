// `duet search`: for each row of one file the nearest rows of another, by the cosine similarity of their embeddings.
// Exact. Of a side the file's bytes and the embeddings are held, of the scores those of the best rows.

#include <algorithm>
#include <cstdio>
#include <iostream>
#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

#include "runtime/device.h"
#include "runtime/memory.h"
#include "trainer/commands/command.h"
#include "trainer/commands/options.h"
#include "trainer/interrupt.h"
#include "trainer/side.h"

namespace duet {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kQueriesOfBlock = 4096;  // whose results are written before the next are looked for

std::string score_text(float score) {
  char text[32];
  std::snprintf(text, sizeof text, "%.6f", static_cast<double>(score));
  return text;
}

void print(const Side& query, const Side& gallery, int64_t row, std::span<const int32_t> indices,
           std::span<const float> scores, bool json) {
  if (json) {
    nlohmann::ordered_json results = nlohmann::ordered_json::array();
    for (size_t k = 0; k < indices.size() && indices[k] >= 0; ++k)
      results.push_back({{"id", gallery.id(indices[k])}, {"row", indices[k]}, {"score", scores[k]}});
    std::cout << nlohmann::ordered_json{{"query", query.id(row)}, {"row", row}, {"results", std::move(results)}}.dump(
                     -1, ' ', false, nlohmann::json::error_handler_t::replace)
              << '\n';
    return;
  }
  for (size_t k = 0; k < indices.size() && indices[k] >= 0; ++k)
    std::cout << query.shown_id(row) << '\t' << k + 1 << '\t' << gallery.shown_id(indices[k]) << '\t'
              << score_text(scores[k]) << '\n';
}

class SearchCommand final : public Command {
 public:
  void declare(CLI::App& app) override {
    add_run(app, run_);
    add_best(app, best_);
    add_path(app, "--gallery", gallery_, "file or folder of arrays: where to search", "PATH")->required();
    add_path(app, "--query", query_, "file or folder of arrays: what to search for, row by row", "PATH")->required();
    add_text(app, "--from", from_, "the query's modality", "MODALITY")->required();
    add_text(app, "--to", to_, "the gallery's modality", "MODALITY")->required();
    app.add_option("--top", top_, "results a query [10]")->type_name("K")->check(CLI::Range(1, 1 << 30));
    app.add_flag("--json", json_, "print a JSON object a query and line");
    app.add_flag("--exclude-self", exclude_self_,
                 "leave out the gallery row of the query's number, as a set searched in itself needs");
    place_.declare(app);
  }
  // Prints, query by query, lines "query, rank, id, score" with tabs between them, or with --json an object a line,
  // {"query": ID, "row": NUMBER, "results": [{"id": ID, "row": NUMBER, "score": S}, ...]}.
  int run() override;

 private:
  std::optional<fs::path> run_, gallery_, query_;
  std::string from_, to_;  // modalities of query and gallery
  int64_t top_ = 10;
  bool best_ = false, json_ = false, exclude_self_ = false;
  Workplace place_;
};

int SearchCommand::run() {
  const Device device(place_.choose().options);
  duet_context* const context = device.context();
  const std::unique_ptr<Model> model = load_model(*run_, best_, context);
  const Side gallery = open_side(*model, "--gallery", *gallery_, modality_of(*model, "--to", to_)),
             query = open_side(*model, "--query", *query_, modality_of(*model, "--from", from_));
  const int64_t n = query.rows(), m = gallery.rows(), top = std::min(top_, m);
  const InterruptGuard interrupt;
  const data::Features items = embed(*model, context, gallery, 0, m);
  const DeviceArray<float> gallery_rows(context, std::span(items.values));
  if (!json_) std::cout << "query\trank\tid\tscore\n";
  for (int64_t first = 0; first < n && !interrupt.requested(); first += kQueriesOfBlock) {
    const int64_t count = std::min(kQueriesOfBlock, n - first);
    const data::Features asked = embed(*model, context, query, first, count);
    const DeviceArray<float> query_rows(context, std::span(asked.values));
    const DeviceArray<int32_t> indices(context, count * top);
    const DeviceArray<float> scores(context, count * top);
    duet_retrieval_inputs inputs = DUET_RETRIEVAL_INPUTS_INIT;
    inputs.queries = duet_f32_const_matrix(query_rows.data(), count, asked.columns);
    inputs.gallery = duet_f32_const_matrix(gallery_rows.data(), m, items.columns);
    inputs.first_row = first;
    inputs.exclude_own = exclude_self_;
    size_t bytes = 0;
    succeed(duet_retrieval_workspace(context, &inputs, &bytes));
    const Memory scratch(context, bytes);
    succeed(duet_retrieval_top_k(
        context, &inputs,
        sized<duet_retrieval_top_k_outputs>({.indices = duet_i32_matrix(indices.data(), count, top),
                                             .scores = duet_f32_matrix(scores.data(), count, top)}),
        {scratch.get(), bytes}));
    const std::vector<int32_t> best = indices.read();
    const std::vector<float> cosines = scores.read();
    for (int64_t i = 0; i < count; ++i)
      print(query, gallery, first + i, std::span(best).subspan(static_cast<size_t>(i * top), static_cast<size_t>(top)),
            std::span(cosines).subspan(static_cast<size_t>(i * top), static_cast<size_t>(top)), json_);
  }
  std::cout.flush();
  if (const int number = interrupt.requested()) {
    std::cerr << "interrupted: the queries so far are written\n";
    return kExitSignal + number;
  }
  return kExitDone;
}

}  // namespace

std::unique_ptr<Command> make_search() { return std::make_unique<SearchCommand>(); }

}  // namespace duet
