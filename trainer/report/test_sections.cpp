// What the test split tells of the model: precision over recall, classes, what is confused, what some queries find.
#include <algorithm>

#include "kernels/core/error.h"
#include "trainer/report/sections.h"

namespace duet::report {
namespace {

constexpr size_t kMostClassRows = 40;

std::string bar(double share, bool second) {
  if (std::isnan(share)) return "";
  return std::string("<span class=\"bar") + (second ? " v" : "") + "\"><i style=\"--share:" + fixed_text(share, 3) +
         "\"></i></span>";
}

// A row a class: its queries, and MAP of both directions as a number and a bar.
std::string class_table(const RunPage& page, nlohmann::ordered_json& data) {
  const Evaluation& evaluation = page.test->evaluation;
  struct Row {
    std::array<int64_t, 2> queries = {0, 0};
    std::array<double, 2> map = {std::nan(""), std::nan("")};
  };
  std::map<int32_t, Row> rows;
  for (size_t k = 0; k < 2; ++k)
    for (const ClassScores& scores : (k == 0 ? evaluation.a_to_v : evaluation.v_to_a).classes) {
      rows[scores.label].queries[k] = scores.queries;
      rows[scores.label].map[k] = scores.map;
    }
  std::vector<std::pair<int32_t, Row>> shown(rows.begin(), rows.end());
  const size_t all = shown.size();
  const auto queries = [](const std::pair<int32_t, Row>& row) { return row.second.queries[0] + row.second.queries[1]; };
  std::ranges::stable_sort(shown, std::ranges::greater(), queries);
  if (all > kMostClassRows) shown.resize(kMostClassRows);
  std::ranges::sort(shown, {}, &std::pair<int32_t, Row>::first);

  nlohmann::ordered_json& plotted = data["per_class"] = nlohmann::ordered_json::array();
  std::string out = "<table><thead><tr><th scope=\"col\">class</th><th scope=\"col\">queries</th>";
  for (size_t k = 0; k < 2; ++k) out += "<th scope=\"col\">" + escaped(page.direction(k)) + "</th>";
  out += "</tr></thead><tbody>\n";
  for (const auto& [label, row] : shown) {
    const std::string name = page.class_name(label);
    out +=
        text("<tr><th scope=\"row\">", escaped(name), "</th><td>", std::max(row.queries[0], row.queries[1]), "</td>");
    for (size_t k = 0; k < 2; ++k) out += "<td>" + fixed_text(row.map[k], 3) + bar(row.map[k], k == 1) + "</td>";
    out += "</tr>\n";
    plotted.push_back({{"class", name},
                       {"queries", {{"a_to_v", row.queries[0]}, {"v_to_a", row.queries[1]}}},
                       {"map", {{"a_to_v", row.map[0]}, {"v_to_a", row.map[1]}}}});
  }
  const std::string note =
      all > shown.size() ? text("The ", shown.size(), " classes with the most queries, of ", all, ".") : "";
  return figure("Average precision by class", scrolling("average precision by class", out + "</tbody></table>"), note);
}

std::string measures_table(const RunPage& page) {
  const DirectionScores &a = page.test->evaluation.a_to_v, &v = page.test->evaluation.v_to_a;
  std::vector<Cells> rows;
  const auto add = [&](const std::string& name, double to_v, double to_a) {
    rows.push_back({name, fixed_text(to_v, 4), fixed_text(to_a, 4), fixed_text((to_v + to_a) / 2, 4)});
  };
  add("MAP", a.map, v.map);
  add("MAP@R", a.map_at_r, v.map_at_r);
  for (size_t k = 0; k < kRecallCutoffs.size(); ++k) add(text("recall@", kRecallCutoffs[k]), a.recall[k], v.recall[k]);
  add("matching_1_of_2", a.matching_1_of_2, v.matching_1_of_2);
  for (size_t k = 0; k < kRecallCutoffs.size(); ++k)
    add(text("pair_recall@", kRecallCutoffs[k]), a.pair_recall[k], v.pair_recall[k]);
  return figure("Measures on the test split",
                table("measures", {"measure", page.direction(0), page.direction(1), "mean"}, rows));
}

std::string item(const RunPage& page, const std::string& kind, const std::string& picture, int64_t row, int32_t label,
                 const std::string& line) {
  std::string out = "<div class=\"item " + kind + "\">";
  if (!picture.empty())
    out += "<img src=\"" + picture + "\" width=\"48\" height=\"48\" alt=\"" +
           escaped(text("picture of row ", row, ", class ", page.label_name(label, page.test_sets))) + "\">";
  return out + "<span>" + escaped(page.label_name(label, page.test_sets)) +
         text("</span><span class=\"quiet\">row ", row) + "</span><span class=\"mark\">" + escaped(line) +
         "</span></div>";
}

}  // namespace

Section retrieval_section(const RunPage& page, nlohmann::ordered_json& data) {
  const Evaluation& evaluation = page.test->evaluation;
  std::vector<Series> curves;
  for (size_t k = 0; k < 2; ++k) {
    const DirectionScores& scores = k == 0 ? evaluation.a_to_v : evaluation.v_to_a;
    Series curve{page.direction(k), {}, {scores.precision_recall.begin(), scores.precision_recall.end()}};
    for (size_t l = 0; l < curve.y.size(); ++l) curve.x.push_back(static_cast<double>(l) / 10);
    data["precision_recall"][kDirections[k]] = curve.y;
    curves.push_back(std::move(curve));
  }
  return {"retrieval", "Retrieval on the test split",
          "<div class=\"grid\">\n" +
              line_chart("Precision over recall", {"recall", "precision", 0, 1}, curves,
                         "The largest precision at this recall or above, the mean over the queries.") +
              measures_table(page) + class_table(page, data) + "</div>\n"};
}

Section confusion_section(const RunPage& page, nlohmann::ordered_json& data) {
  const std::string title = "Class of the first item retrieved";
  if (page.test_sets.given())
    return {"confusion", title, paragraph("A row may have several labels here: no class is taken for another one.")};
  std::string content = "<div class=\"grid\">\n";
  for (size_t k = 0; k < 2; ++k) {
    const Confusion& confusion = page.test->confusion[k];
    Cells names;
    for (const int32_t label : confusion.classes) names.push_back(page.class_name(label));
    if (confusion.others) names.push_back("others");
    Cells columns = names;
    if (confusion.unlabelled) columns.push_back("unlabelled");
    std::string out = "<table class=\"confusion\"><thead><tr><th scope=\"col\">query</th>";
    for (const std::string& name : columns) out += "<th scope=\"col\">" + escaped(name) + "</th>";
    out += "</tr></thead><tbody>\n";
    for (size_t i = 0; i < confusion.counts.size(); ++i) {
      int64_t sum = 0;
      for (const int64_t count : confusion.counts[i]) sum += count;
      out += "<tr><th scope=\"row\">" + escaped(names[i]) + "</th>";
      for (size_t j = 0; j < confusion.counts[i].size(); ++j) {
        const int64_t count = confusion.counts[i][j];
        const double share = sum > 0 ? static_cast<double>(count) / static_cast<double>(sum) : 0;
        out += text("<td", i == j ? " class=\"own\"" : "", " style=\"--share:", fixed_text(share, 2), "\">", count,
                    "</td>");
      }
      out += "</tr>\n";
    }
    const std::string direction = page.direction(k);
    const std::string note = confusion.others ? text("The ", confusion.classes.size(),
                                                     " largest classes; what is of another class stands under others.")
                                              : "";
    content += figure(direction, scrolling("confusion, " + direction, out + "</tbody></table>"), note);
    data["confusion"][kDirections[k]] = {
        {"rows", names}, {"columns", columns}, {"counts", confusion.counts}, {"queries", confusion.queries}};
  }
  return {"confusion", title,
          paragraph("Rows: class of the query. Columns: class of the first item. A cell is the darker, the larger its "
                    "share of the row's queries.") +
              content + "</div>\n"};
}

Section examples_section(const RunPage& page, nlohmann::ordered_json& data) {
  const SplitMeasures& test = *page.test;
  std::string content = paragraph(
      text("The first items of some queries, best first. Items ",
           page.test_sets.given() ? "that share a class with the query" : "of the query's class", " are marked."));
  for (size_t k = 0; k < 2; ++k) {
    content += "<h3>" + escaped(page.direction(k)) + "</h3>\n<ul class=\"examples\">\n";
    nlohmann::ordered_json& plotted = data["examples"][kDirections[k]] = nlohmann::ordered_json::array();
    const auto picture = [&](size_t side, int64_t row) {
      const auto found = test.pictures.find(row);
      const bool there = static_cast<int>(side) == test.picture_side && found != test.pictures.end();
      return there ? found->second : std::string();
    };
    for (const Example& example : test.examples[k]) {
      const int32_t label = page.labels[static_cast<size_t>(example.query)];
      content += "<li>" + item(page, "query", picture(k, example.query), example.query, label, "query");
      for (size_t i = 0; i < example.items.size(); ++i) {
        const int64_t row = example.items[i];
        const int32_t found = page.labels[static_cast<size_t>(row)];
        const bool right = data::alike(page.test_sets, label, found), own = row == example.query;
        const std::string line = text(right ? "✓ "
                                      : own ? ""
                                            : "✗ ",
                                      own ? "own pair " : "", fixed_text(static_cast<double>(example.scores[i]), 2));
        content += item(page, right ? "right" : "wrong", picture(1 - k, row), row, found, line);
      }
      content += "</li>\n";
      plotted.push_back({{"query", example.query}, {"items", example.items}});
    }
    content += "</ul>\n";
  }
  return {"examples", "Retrieval examples", content};
}

}  // namespace duet::report
