// The shared space: where the test split's embeddings lie, and how a batch of the training split is aligned.
#include <algorithm>

#include "kernels/core/error.h"
#include "trainer/report/sections.h"

namespace duet::report {
namespace {

constexpr size_t kColoured = 10;  // classes that have a colour

std::string percent(double share) { return fixed_text(100 * share, 0) + " %"; }

// Where the points of one class lie.
struct Centre {
  int64_t points = 0;
  std::array<std::array<double, 2>, 2> sum = {};
  std::array<double, 2> of(size_t side) const {
    const double count = static_cast<double>(std::max<int64_t>(1, points));
    return {sum[side][0] / count, sum[side][1] / count};
  }
};

std::string name_cut(const std::string& name) {
  constexpr size_t kLongest = 14;
  if (name.size() <= kLongest) return name;
  size_t end = kLongest;
  while (end > 0 && (static_cast<uint8_t>(name[end]) & 0xc0) == 0x80) --end;  // no character is cut
  return name.substr(0, end) + "..";
}

// The share of each row's alignment on rows of its own class.
std::vector<double> own_class(const AlignmentBatch& batch, const data::LabelSets& sets, const std::vector<float>& p) {
  const size_t n = batch.rows.size();
  std::vector<double> shares;
  for (size_t i = 0; i < n; ++i) {
    double sum = 0;
    for (size_t j = 0; j < n; ++j)
      if (i == j || data::alike(sets, batch.classes[i], batch.classes[j])) sum += static_cast<double>(p[i * n + j]);
    shares.push_back(sum);
  }
  return shares;
}

}  // namespace

Section space_section(const RunPage& page, nlohmann::ordered_json& data) {
  const SplitMeasures& test = *page.test;
  std::vector<int32_t> labels;
  for (const int64_t row : test.projected) labels.push_back(page.labels[static_cast<size_t>(row)]);
  std::vector<int32_t> coloured = largest_classes(labels, kColoured);
  std::ranges::sort(coloured);
  std::map<int32_t, int> colours;
  for (size_t k = 0; k < coloured.size(); ++k) colours[coloured[k]] = static_cast<int>(k);

  // Those without a colour first, under the others.
  std::map<std::pair<int, size_t>, Cloud> clouds;
  std::map<int32_t, Centre> centres;
  nlohmann::ordered_json& plotted = data["projection"] = {{"share", test.share}};
  for (size_t side = 0; side < 2; ++side) {
    nlohmann::ordered_json points = nlohmann::ordered_json::array();
    for (size_t i = 0; i < labels.size(); ++i) {
      const auto found = colours.find(labels[i]);
      const int colour = found == colours.end() ? -1 : found->second;
      const auto& point = test.points[side][i];
      Cloud& cloud = clouds[{colour, side}];
      cloud.colour = colour, cloud.cross = side == 1;
      cloud.points.push_back(point);
      for (size_t axis = 0; axis < 2; ++axis) centres[labels[i]].sum[side][axis] += static_cast<double>(point[axis]);
      if (side == 0) ++centres[labels[i]].points;
      points.push_back({std::round(static_cast<double>(point[0]) * 1e3) / 1e3,
                        std::round(static_cast<double>(point[1]) * 1e3) / 1e3});
    }
    plotted[side == 0 ? "a" : "v"] = std::move(points);
  }
  nlohmann::ordered_json& classes = plotted["classes"] = nlohmann::ordered_json::array();
  for (const int32_t label : labels) classes.push_back(page.label_name(label, page.test_sets));

  std::vector<std::string> keys = {point_key(8, false) + escaped(page.modalities[0]),
                                   point_key(8, true) + escaped(page.modalities[1])};
  std::vector<NamedPlace> names;
  std::vector<Cells> rows;
  for (const auto& [label, colour] : colours) {
    const Centre& centre = centres[label];
    const auto a = centre.of(0), v = centre.of(1);
    const std::string name = page.label_name(label, page.test_sets);
    keys.push_back(point_key(colour, false) + point_key(colour, true) + escaped(name));
    names.push_back({name_cut(name), {(a[0] + v[0]) / 2, (a[1] + v[1]) / 2}});
    rows.push_back({name, std::to_string(centre.points), fixed_text(a[0], 2) + ", " + fixed_text(a[1], 2),
                    fixed_text(v[0], 2) + ", " + fixed_text(v[1], 2),
                    fixed_text(std::hypot(a[0] - v[0], a[1] - v[1]), 2)});
  }
  const bool grey = std::ranges::any_of(labels, [&](int32_t label) { return !colours.contains(label); });
  if (grey) keys.push_back(point_key(-1, false) + point_key(-1, true) + "other classes, or none");
  std::vector<Cloud> drawn;
  for (auto& [key, cloud] : clouds) drawn.push_back(std::move(cloud));
  const std::string title = text("The first two principal components of both modalities (", percent(test.share[0]),
                                 " and ", percent(test.share[1]), " of the variance)");
  const std::string spoken =
      text(title, ", ", labels.size(), " pairs; where each class lies stands in the table below");
  const std::string content =
      legend(keys) + scatter(spoken, drawn, names) +
      details("numbers: centres of the classes",
              table("centres of the classes",
                    {"class", "pairs", page.modalities[0], page.modalities[1], "distance of both"}, rows));
  const std::string note = static_cast<int64_t>(labels.size()) < page.data.test_rows
                               ? text(labels.size(), " of ", page.data.test_rows, " pairs, drawn by the seed.")
                               : "";
  return {"space", "The shared space", figure(title, content, note)};
}

Section alignment_section(const RunPage& page, nlohmann::ordered_json& data) {
  const AlignmentViews& views = *page.alignment;
  const AlignmentBatch& batch = views.batch;
  const auto n = std::ssize(batch.rows);
  struct Part {
    std::string name, key;
    const std::vector<float>* values;
  };
  std::vector<Part> parts;
  if (views.before) {
    parts.push_back({"student, before", "student_before", &views.before->student});
    parts.push_back({"teacher, before", "teacher_before", &views.before->teacher});
  }
  if (!views.now.student.empty()) parts.push_back({"student, now", "student_now", &views.now.student});
  parts.push_back({"teacher, now", "teacher_now", &views.now.teacher});

  float most = 0;
  std::vector<int64_t> rules;
  for (const Part& part : parts) most = std::max(most, *std::ranges::max_element(*part.values));
  for (size_t i = 1; i < batch.classes.size(); ++i)
    if (batch.classes[i] != batch.classes[i - 1]) rules.push_back(static_cast<int64_t>(i));

  nlohmann::ordered_json& plotted = data["alignment"] = {{"rows", batch.rows}, {"classes", batch.classes}};
  Cells head = {"row", "class"};
  std::vector<Cells> rows;
  for (size_t i = 0; i < batch.rows.size(); ++i)
    rows.push_back({std::to_string(batch.rows[i]), page.label_name(batch.classes[i], page.train_sets)});
  std::string maps = "<div class=\"four\">\n";
  for (const Part& part : parts) {
    const std::vector<double> shares = own_class(batch, page.train_sets, *part.values);
    double mean = 0;
    for (size_t i = 0; i < shares.size(); ++i) {
      mean += shares[i] / static_cast<double>(shares.size());
      rows[i].push_back(fixed_text(shares[i], 3));
    }
    head.push_back(part.name);
    nlohmann::ordered_json& values = plotted[part.key] = nlohmann::ordered_json::array();
    for (const float value : *part.values) values.push_back(std::round(static_cast<double>(value) * 1e4) / 1e4);
    const std::string spoken =
        text("alignment by the ", part.name, ": ", percent(mean), " of it lies on rows of the same class");
    maps += figure(part.name, heat_map(spoken, n, *part.values, static_cast<double>(most), rules),
                   percent(mean) + " within the class");
  }
  maps += "</div>\n";
  const std::string words =
      text("A batch of ", n, " training pairs, ordered by class: how each row of ", page.modalities[0],
           " (rows) spreads over the rows of ", page.modalities[1],
           " (columns), a softmax of their scores. Full colour is ", fixed_text(static_cast<double>(most), 2), ".");
  std::string missing;
  if (!views.before) missing = paragraph("The alignment of these rows before training is not known.");
  if (views.now.student.empty()) missing += paragraph("Without a checkpoint the student is not known.");
  return {"alignment", "Alignment of a batch",
          paragraph(words) + maps + missing +
              details("numbers: share of each row within its class", table("share within the class", head, rows))};
}

}  // namespace duet::report
