// report.html: what is plotted is what the run's files say, whatever the run was.

#include <doctest/doctest.h>

#include <cmath>
#include <numeric>
#include <set>

#include "tests/trainer/page.h"
#include "tests/trainer/stopped_run.h"
#include "trainer/report/alignment.h"
#include "trainer/report/html.h"
#include "trainer/report/png.h"
#include "trainer/report/projection.h"
#include "trainer/report/svg.h"

using namespace duet;
using namespace duet::testing;

namespace {

int64_t sum_of(const json& counts) {
  int64_t sum = 0;
  for (const json& row : counts)
    for (const json& count : row) sum += count.get<int64_t>();
  return sum;
}

void check_probabilities(const json& values, size_t rows) {
  REQUIRE(values.size() == rows * rows);
  for (size_t i = 0; i < rows; ++i) {
    double sum = 0;
    for (size_t j = 0; j < rows; ++j) sum += values[i * rows + j].get<double>();
    CHECK(std::abs(sum - 1) <= 0.5e-4 * static_cast<double>(rows));  // each is rounded to a 10,000th
  }
}

// One epoch of small encoders on a set of so many classes.
std::string page_of(const TemporaryFolder& folder, const data::SyntheticOptions& options,
                    std::vector<std::string> more = {}) {
  const std::string data = folder / "data", run = folder / "run";
  test::write_dataset(data, data::synthetic_dataset(options));
  std::vector<std::string> arguments = {"train",    "--data", data,    "--run",         run,
                                        "--epochs", "1",      "--set", "hidden_units=", "embedding_dim=8"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  const Outcome trained = run_program(arguments);
  INFO(trained.err);
  REQUIRE(trained.code == 0);
  return read_text(run + "/report.html");
}

}  // namespace

TEST_CASE("a recorded alignment is of whole numbers, or none") {
  const TemporaryFolder folder;
  const std::vector<int32_t> labels = {4};
  const auto recorded = [&](const std::string& row, const std::string& label) {
    write_text(folder / "alignment.json",
               R"({"rows":[)" + row + R"(],"classes":[)" + label + R"(],"student":[1],"teacher":[1]})");
    return report::read_alignment(folder / "", labels).has_value();
  };
  CHECK(recorded("0", "4"));
  for (const char* const row : {"1", "0.5", "4e29", "-1e300", "18446744073709551615", "null", "[0]"}) {
    INFO(row);
    CHECK_FALSE(recorded(row, "4"));
  }
  for (const char* const label : {"5", "4.5", "4294967300", "4e29", "\"4\""}) {
    INFO(label);
    CHECK_FALSE(recorded("0", label));
  }
}

TEST_CASE("a page plots what the log and the evaluation say") {
  const TemporaryFolder folder;
  const std::string data = folder / "data", run = folder / "run";
  write_small_set(data);
  REQUIRE(run_program(train(data, run, {"--set", "epochs=6"})).code == 0);
  const std::string page = read_text(run + "/report.html");
  const json plotted = data_of(page);
  std::vector<double> losses;
  size_t evaluations = 0;
  for (const json& line : metrics_of(run)) {
    if (line.contains("learning_rate")) losses.push_back(line["loss"]);
    evaluations += line.contains("map");
  }
  CHECK(plotted["training"]["epoch"] == json({1, 2, 3, 4, 5, 6}));
  CHECK(plotted["training"]["loss"] == losses);
  CHECK(plotted["training"]["map"].size() == evaluations);
  for (const char* title : {"Loss", "Learning rate", "Schedules and concord"}) CHECK(points_of(page, title) == 6);
  CHECK(points_of(page, "Mean average precision") == evaluations);
  CHECK(points_of(page, "Precision over recall") == 11);

  const json measured = json::parse(run_program({"eval", "--run", run, "--data", data, "--json"}).out);
  for (const std::string direction : {"a_to_v", "v_to_a"}) {
    CAPTURE(direction);
    CHECK(plotted["precision_recall"][direction] == measured["precision_recall"][direction]);
    const json& confusion = plotted["confusion"][direction];
    CHECK(sum_of(confusion["counts"]) == measured["queries"][direction]);
    CHECK(confusion["queries"] == measured["queries"][direction]);
    CHECK(confusion["rows"].size() == 4);
    CHECK(confusion["columns"] == confusion["rows"]);
    // The first item of a query is of its class as often as the diagonal counts.
    double right = 0;
    for (size_t k = 0; k < 4; ++k) right += confusion["counts"][k][k].get<double>();
    CHECK(right / confusion["queries"].get<double>() ==
          doctest::Approx(measured["recall"]["1"][direction].get<double>()));
    CHECK(plotted["examples"][direction].size() == 8);
    for (const json& example : plotted["examples"][direction]) CHECK(example["items"].size() == 6);
  }
  CHECK(plotted["per_class"].size() == 4);
  CHECK(plotted["projection"]["a"].size() == 60);
  CHECK(plotted["projection"]["v"].size() == 60);
  for (const char* key : {"student_before", "teacher_before", "student_now", "teacher_now"}) {
    CAPTURE(key);
    check_probabilities(plotted["alignment"][key], 24);
  }
  CHECK(plotted["alignment"]["student_before"] != plotted["alignment"]["student_now"]);
  // Every plot's numbers stand in a table that a key opens.
  CHECK(count_of(page, "<svg class=\"plot\"") + count_of(page, "<svg class=\"heat\"") >= 11);
  CHECK(count_of(page, "<details><summary>numbers: ") >= 8);
  CHECK(count_of(page, "role=\"img\" aria-label=\"") ==
        count_of(page, "<svg class=\"plot\"") + count_of(page, "<svg class=\"heat\""));

  // The same page from the run's files alone, but for the words on scaling.
  const Outcome again = run_program({"report", "--run", run});
  REQUIRE(again.code == 0);
  CHECK(again.out.starts_with(run + "/report.html: "));
  CHECK(data_of(read_text(run + "/report.html")) == plotted);
}

TEST_CASE("what is shown is escaped") {
  CHECK(report::escaped("a<b>&\"c'\n") == "a&lt;b&gt;&amp;&quot;c&#39;\\x0a");
  CHECK(report::escaped("\xff") == "\\xff");
  const TemporaryFolder folder;
  const fs::path data = folder / "data", run = folder / "a<i>'&";
  write_small_set(data);
  for (const std::string split : {"train", "test"}) {
    std::string table = "id,label\n";
    for (int i = 0; i < (split == "train" ? 240 : 60); ++i)
      table += std::to_string(i) + (i % 2 ? ",</script><b>odd\n" : ",even\n");
    fs::remove(data / split / "labels.npy");
    write_text(data / split / "labels.csv", table);
  }
  REQUIRE(run_program(train(data, run)).code == 0);
  const std::string page = read_text(run / "report.html");
  const json plotted = data_of(page);
  CHECK(plotted["run"] == "a<i>'&");
  CHECK(plotted["confusion"]["a_to_v"]["rows"] == json({"</script><b>odd", "even"}));
  CHECK(count_of(page, "<b>") == 0);
  CHECK(count_of(page, "<i>") == 0);
  CHECK(count_of(page, "duet: a&lt;i&gt;&#39;&amp;") > 0);
}

TEST_CASE("a run that was interrupted has a page, and what was before training outlives a resume") {
  const Stopped stopped;  // by --steps: it has ended, and is resumed to more
  const std::string before = read_text(fs::path(stopped.run) / "alignment.json");
  const json first = data_of(read_text(fs::path(stopped.run) / "report.html"));
  CHECK(first["training"]["epoch"].size() == 2);
  REQUIRE(resume(stopped.run, {"--steps", "0"}).code == 0);
  CHECK(read_text(fs::path(stopped.run) / "alignment.json") == before);
  const json last = data_of(read_text(fs::path(stopped.run) / "report.html"));
  CHECK(last["training"]["epoch"].size() == 3);
  for (const char* key : {"student_before", "teacher_before", "rows"})
    CHECK(last["alignment"][key] == first["alignment"][key]);

  const TemporaryFolder folder;
  const fs::path run = folder / "run";
  const Program program(train(stopped.data, run, {"--set", "epochs=100000"}));
  while (!fs::exists(run / "config.json")) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  program.signal(SIGTERM);
  CHECK(program.wait().code == 128 + SIGTERM);
  const std::string page = read_text(run / "report.html");
  const json plotted = data_of(page);
  CHECK(page.find("Interrupted after step ") != std::string::npos);
  CHECK_FALSE(plotted.contains("confusion"));
  check_probabilities(plotted["alignment"]["student_now"], 24);
  REQUIRE(run_program({"report", "--run", run}).code == 0);
  CHECK(data_of(read_text(run / "report.html")).contains("confusion"));
}

TEST_CASE("the built-in digits have pictures, and the page has less than 1 MB") {
  const TemporaryFolder folder;
  const std::string run = folder / "run";
  REQUIRE(run_program({"train", "--run", run, "--epochs", "1"}).code == 0);
  const std::string page = read_text(run + "/report.html");
  CHECK(page.size() < 1'000'000);
  const json plotted = data_of(page);
  for (const char* direction : {"a_to_v", "v_to_a"}) CHECK(sum_of(plotted["confusion"][direction]["counts"]) == 400);
  CHECK(count_of(page, "<img src=\"data:image/png;base64,iVBORw0KGgo") == 8 * 6 + 8);  // found, and queries
  // Of zlib and Python's struct: 2 x 1 pixels, black and white.
  CHECK(report::png_address(std::vector<uint8_t>{0, 255}, 2) ==
        "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAIAAAABCAAAAADRSSBWAAAADklEQVR4AQEDAPz/AAD/AQIBALcBLvcAAAAASUVO"
        "RK5CYII=");
}

TEST_CASE("a page of other data than the run's has their figures, and no pictures of the digits") {
  const TemporaryFolder folder;
  const std::string run = folder / "run";
  REQUIRE(run_program({"train", "--run", run, "--epochs", "1"}).code == 0);
  data::SyntheticOptions options = small_set();
  options.widths = {128, 400};
  options.test_rows = 600;  // more than the digits have
  test::write_dataset(folder / "data", data::synthetic_dataset(options));
  const Outcome outcome = run_program({"report", "--run", run, "--data", folder / "data"});
  REQUIRE_MESSAGE(outcome.code == 0, outcome.err);
  const std::string page = read_text(run + "/report.html");
  CHECK(page.find("<img") == std::string::npos);
  const json measured = json::parse(run_program({"eval", "--run", run, "--data", folder / "data", "--json"}).out);
  char tile[64];
  std::snprintf(tile, sizeof tile, "<dt>MAP, mean</dt><dd>%.3f</dd>", measured["map"]["mean"].get<double>());
  CHECK_MESSAGE(page.find(tile) != std::string::npos, tile);
}

TEST_CASE("many classes are cut to the largest, and still every query counts") {
  data::SyntheticOptions options = small_set();
  options.classes = 60;
  options.train_rows = 600;
  options.test_rows = 300;
  const TemporaryFolder folder;
  const std::string page = page_of(folder, options);
  const json plotted = data_of(page);
  CHECK(plotted["per_class"].size() == 40);
  CHECK(page.find("The 40 classes with the most queries, of 60.") != std::string::npos);
  for (const char* direction : {"a_to_v", "v_to_a"}) {
    const json& confusion = plotted["confusion"][direction];
    CHECK(confusion["rows"].size() == 21);
    CHECK(confusion["rows"].back() == "others");
    CHECK(sum_of(confusion["counts"]) == 300);
  }
  CHECK(page.find("The 20 largest classes; what is of another class stands under others.") != std::string::npos);
}

TEST_CASE("a page that cannot be written is a warning, and the run has ended well") {
  const TemporaryFolder folder;
  const std::string data = folder / "data", run = folder / "run";
  write_small_set(data);
  // The page has over 60,000 bytes, everything else less than 20,000.
  const Outcome outcome =
      run_program({"train", "--data", data, "--run", run, "--epochs", "2", "--set", "hidden_units=", "embedding_dim=4"},
                  {.largest_file = 25000});
  INFO(outcome.err);
  CHECK(outcome.code == 0);
  CHECK(outcome.err.find("warning: no report.html: " + run + "/report.html: cannot be written") != std::string::npos);
  CHECK(fs::exists(run + "/model.safetensors"));
  CHECK_FALSE(fs::exists(run + "/report.html"));
  for (const auto& [name, content] : files_in(run)) CHECK_FALSE(name.ends_with(".part"));
}

TEST_CASE("report says what it lacks") {
  const TemporaryFolder folder;
  const std::string data = folder / "data", run = folder / "run";
  check_refused(run_program({"report", "--run", folder / "none"}), 2, "none/model.safetensors: no such file");
  page_of(folder, small_set());
  fs::rename(data, folder / "moved");
  check_refused(run_program({"report", "--run", run}), 2, data);
  CHECK(run_program({"report", "--run", run, "--data", folder / "moved"}).code == 0);
  // Damaged checkpoints are said, and the student is not known then.
  for (const auto& entry : fs::directory_iterator(run + "/checkpoints"))
    if (entry.path().extension() == ".safetensors") fs::resize_file(entry.path(), 1000);
  const Outcome damaged = run_program({"report", "--run", run, "--data", folder / "moved"});
  CHECK(damaged.code == 0);
  CHECK(damaged.err.find("step-") != std::string::npos);
  CHECK_FALSE(data_of(read_text(run + "/report.html"))["alignment"].contains("student_now"));
  // Without checkpoints the student is not known; without alignment.json what was before.
  fs::remove_all(run + "/checkpoints");
  fs::remove(run + "/alignment.json");
  CHECK(run_program({"report", "--run", run, "--data", folder / "moved"}).code == 0);
  const json alignment = data_of(read_text(run + "/report.html"))["alignment"];
  CHECK_FALSE(alignment.contains("student_now"));
  CHECK_FALSE(alignment.contains("teacher_before"));
  check_probabilities(alignment["teacher_now"], 24);
  // Of a log whose last line is not whole the others count; a whole line that is none is named.
  const std::string log = read_text(run + "/metrics.jsonl");
  write_text(run + "/metrics.jsonl", log.substr(0, log.size() - 20));
  CHECK(run_program({"report", "--run", run, "--data", folder / "moved"}).code == 0);
  write_text(run + "/metrics.jsonl", "{\"format\": 1}\n{\"epoch\": 1,\n");
  check_refused(run_program({"report", "--run", run, "--data", folder / "moved"}), 2, "metrics.jsonl: line 2: ");
}

TEST_CASE("a set without labels, and one of a single class, have a page") {
  data::SyntheticOptions options = small_set();
  options.classes = 1;
  const TemporaryFolder one;
  const json single = data_of(page_of(one, options));
  CHECK(single["confusion"]["a_to_v"]["counts"] == json({{60}}));
  const TemporaryFolder none;
  const fs::path data = none / "data", run = none / "run";
  write_small_set(data);
  test::write_labels(data / "train/labels.npy", std::vector<int32_t>(240, -1));
  test::write_labels(data / "test/labels.npy", std::vector<int32_t>(60, -1));
  REQUIRE(run_program(train(data, run, {"--method", "contrastive"})).code == 0);
  const json unlabelled = data_of(read_text(run / "report.html"));
  CHECK(unlabelled["confusion"]["a_to_v"]["queries"] == 0);
  CHECK(unlabelled["per_class"].empty());
  CHECK(unlabelled["projection"]["a"].size() == 60);
}

TEST_CASE("the batch that is aligned: 24 rows of eight classes, ordered by class") {
  std::vector<int32_t> labels(1000);
  for (size_t i = 0; i < labels.size(); ++i) labels[i] = static_cast<int32_t>(i % 20);
  const report::AlignmentBatch batch = report::draw_batch(labels, 7);
  CHECK(batch.rows.size() == 24);
  CHECK(std::ranges::is_sorted(batch.classes));
  CHECK(std::set<int64_t>(batch.rows.begin(), batch.rows.end()).size() == 24);
  CHECK(std::set<int32_t>(batch.classes.begin(), batch.classes.end()).size() == 8);
  CHECK(report::draw_batch(labels, 7).rows == batch.rows);
  CHECK(report::draw_batch(labels, 8).rows != batch.rows);
  // Few rows, a class of one, rows without a label last.
  const report::AlignmentBatch few = report::draw_batch(std::vector<int32_t>{-1, 3, 3, -1, 0}, 1);
  CHECK(few.rows.size() == 5);
  CHECK(few.classes == std::vector<int32_t>{-1, -1, 0, 3, 3});
  CHECK(report::draw_batch({}, 1).rows.empty());
}

TEST_CASE("the plane of the rows is that of their first two components") {
  // Variances 9, 4 and 1 along three axes, which are turned.
  constexpr int64_t kRows = 200;
  data::Features rows(kRows, 3);
  std::array<std::vector<double>, 3> along;
  for (int64_t i = 0; i < kRows; ++i) {
    const double angle = 0.1 * static_cast<double>(i);
    const std::array<double, 3> z = {3 * std::sin(angle), 2 * std::cos(1.7 * angle), std::sin(3.1 * angle + 1)};
    for (size_t k = 0; k < 3; ++k) along[k].push_back(z[k]);
    rows.row(i)[0] = static_cast<float>(5 + 0.6 * z[0] - 0.8 * z[1]);
    rows.row(i)[1] = static_cast<float>(0.8 * z[0] + 0.6 * z[1]);
    rows.row(i)[2] = static_cast<float>(z[2]);
  }
  const report::Projection plane = report::principal_plane(rows);
  for (size_t axis = 0; axis < 2; ++axis) {
    double product = 0, own = 0, other = 0, mean = 0;
    for (const double value : along[axis]) mean += value / kRows;
    for (size_t i = 0; i < plane.points.size(); ++i) {
      const double x = static_cast<double>(plane.points[i][axis]), y = along[axis][i] - mean;
      product += x * y, own += x * x, other += y * y;
    }
    // The three axes are uncorrelated but for the ends of their periods.
    CHECK(std::abs(product) / std::sqrt(own * other) > 0.99);
  }
  CHECK(plane.share[0] > plane.share[1]);
  CHECK(plane.share[0] + plane.share[1] < 1);
  // One row, equal rows, one column.
  CHECK(report::principal_plane(data::Features(1, 3)).points.size() == 1);
  CHECK(report::principal_plane(data::Features(5, 3)).share[0] == 0);
  data::Features line(3, 1);
  line.values = {1, 2, 6};
  CHECK(report::principal_plane(line).points[2] == std::array<float, 2>{3, 0});
}

TEST_CASE("lines: long ones are thinned, and a number that is none leaves a gap") {
  report::Series series{"loss", {}, {}};
  for (int i = 0; i < 5000; ++i) {
    series.x.push_back(i + 1);
    series.y.push_back(i == 3000 ? std::nan("") : 1.0 / (i + 1));
  }
  const std::string chart = report::line_chart("Loss", {"epoch", "loss", 0}, {series});
  CHECK(points_of(chart, "Loss") <= report::kMostPoints + 1);
  CHECK(chart.find("nan") == std::string::npos);
  CHECK(count_of(chart, "<tr>") <= 202);
  series.x = {1, 2, 3}, series.y = {1, std::nan(""), 2};
  const std::string gap = report::line_chart("Loss", {"epoch", "loss"}, {series});
  CHECK(points_of(gap, "Loss") == 2);
  // No point, one point, all equal: a plot with finite coordinates.
  for (const std::vector<double>& y : {std::vector<double>{}, {0.5}, {0, 0, 0}, {std::nan("")}}) {
    std::vector<double> x(y.size());
    std::iota(x.begin(), x.end(), 1.0);
    const std::string plot = report::line_chart("t", {"epoch", "y"}, {{"s", x, y}});
    CHECK(plot.find("nan") == std::string::npos);
    CHECK(plot.find("inf") == std::string::npos);
  }
}
