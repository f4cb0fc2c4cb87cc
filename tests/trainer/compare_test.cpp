// `duet compare`: a table of several runs, what differs between them, and a page with their curves.

#include <doctest/doctest.h>

#include "tests/trainer/page.h"
#include "tests/trainer/stopped_run.h"

using namespace duet;
using namespace duet::testing;

TEST_CASE("runs stand side by side, those of other data are marked") {
  const TemporaryFolder folder;
  const std::string data = folder / "data", first = folder / "first", second = folder / "second";
  write_small_set(data);
  REQUIRE(run_program(train(data, first)).code == 0);
  REQUIRE(run_program(train(data, second,
                            {"--method", "triplet", "--seed", "5", "--steps", "7", "--set", "learning_rate=0.01",
                             "margin=0.3"}))
              .code == 0);
  const Outcome both = run_program({"compare", first, second});
  INFO(both.out, both.err);
  REQUIRE(both.code == 0);
  CHECK(both.err.empty());
  CHECK(both.out.starts_with("run"));
  for (const char* word :
       {"MAP audio to visual", "R@1", "seconds", "psd", "triplet", "2 of 3", "learning_rate", "margin", "steps"})
    CHECK(both.out.find(word) != std::string::npos);
  CHECK(both.out.find("\nseed") == std::string::npos);  // it has a column of its own
  CHECK(both.out.find("\nweight_decay") == std::string::npos);
  CHECK(both.out.find('*') == std::string::npos);
  CHECK(std::ranges::count(both.out, '\n') == 3 + 1 + 4);

  // Moved data are the same, others are not.
  const std::string moved = folder / "moved", third = folder / "third", other = folder / "other";
  fs::copy(data, moved, fs::copy_options::recursive);
  REQUIRE(run_program(train(moved, third)).code == 0);
  CHECK(run_program({"compare", first, third}).out.find('*') == std::string::npos);
  data::SyntheticOptions options = small_set();
  options.seed += 1;
  test::write_dataset(folder / "others", data::synthetic_dataset(options));
  REQUIRE(run_program(train(folder / "others", other)).code == 0);
  const Outcome marked = run_program({"compare", first, other});
  CHECK(marked.out.find(other + " *") != std::string::npos);
  CHECK(marked.out.find("* of other data than the first run") != std::string::npos);

  // Rows held out change how the test split is scaled, not what it is.
  const std::string held = folder / "held", otherwise = folder / "otherwise";
  REQUIRE(run_program(train(data, held, {"--validation", "0.2"})).code == 0);
  REQUIRE(run_program(train(data, otherwise, {"--validation", "0.2", "--seed", "3"})).code == 0);
  CHECK(run_program({"compare", first, held, otherwise}).out.find('*') == std::string::npos);

  const std::string html = folder / "page.html";
  REQUIRE(run_program({"compare", first, second, other, "--html", html}).code == 0);
  const std::string page = read_text(html);
  const json plotted = data_of(page)["runs"];
  REQUIRE(plotted.size() == 3);
  CHECK(plotted[0]["epoch"] == json({1, 2, 3}));
  CHECK(plotted[1]["loss"].size() == 2);
  CHECK(plotted[2]["other_data"] == true);
  CHECK(points_of(page, "Loss") == 3);
  // Over nothing without --force, and never over a file of a run.
  check_refused(run_program({"compare", first, second, "--html", html}), 2, "it is there already");
  CHECK(run_program({"compare", first, second, "--html", html, "--force"}).code == 0);
  check_refused(run_program({"compare", first, "--html", first + "/config.json", "--force"}), 2, "config.json");
}

TEST_CASE("compare refuses what is no run") {
  const TemporaryFolder folder;
  check_refused(run_program({"compare", folder / "none"}), 2, "none: no run: it has no config.json");
  check_refused(run_program({"compare", folder.path()}), 2, "no run: it has no config.json");
  check_refused(run_program({"compare"}), 2, "RUN");
}
