// doctest itself, compiled once for all test programs.
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

#include "tests/support/device.h"
#include "tests/support/run.h"

namespace {

unsigned cases_left = 0;        // by the filters of the run that ended last
std::vector<std::string> idle;  // its cases that asserted nothing
const char* running = "";
bool said_skipped = false;  // by the running case: a message that starts with "skipped: "

class CaseCounter : public doctest::IReporter {
 public:
  explicit CaseCounter(const doctest::ContextOptions&) {}
  void test_run_end(const doctest::TestRunStats& stats) override { cases_left = stats.numTestCasesPassingFilters; }
  void report_query(const doctest::QueryData&) override {}
  void test_run_start() override { idle.clear(); }
  void test_case_start(const doctest::TestCaseData& data) override { running = data.m_name, said_skipped = false; }
  void test_case_reenter(const doctest::TestCaseData&) override {}
  void test_case_end(const doctest::CurrentTestCaseStats& stats) override {
    if (stats.numAssertsCurrentTest == 0 && !said_skipped) idle.push_back(running);
  }
  void test_case_exception(const doctest::TestCaseException&) override {}
  void subcase_start(const doctest::SubcaseSignature&) override {}
  void subcase_end() override {}
  void log_assert(const doctest::AssertData&) override {}
  void log_message(const doctest::MessageData& message) override {
    said_skipped = said_skipped || std::string_view(message.m_string.c_str()).starts_with("skipped: ");
  }
  void test_case_skipped(const doctest::TestCaseData&) override {}
};
REGISTER_LISTENER("case_counter", 1, CaseCounter);

}  // namespace

namespace duet::test {

int run_tests(doctest::Context& context) {
  const int status = context.run();
  if (status != 0 || context.shouldExit()) return status;
  if (cases_left == 0) {
    std::fprintf(stderr, "no test case was run: the filters match none\n");
    return 1;
  }
  // Where a schedule is what is tested, or shapes are few because each is dear, a case may have nothing to do.
  if (!device.every_value || device.most_operations < INT64_MAX) return 0;
  for (const std::string& name : idle) std::fprintf(stderr, "test case \"%s\" compared nothing\n", name.c_str());
  return idle.empty() ? 0 : 1;
}

}  // namespace duet::test
