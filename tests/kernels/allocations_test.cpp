// A call of an operation allocates nothing, but the first one of a context, which starts its threads.
#include <functional>

#include "tests/kernels/bad_input_calls.h"
#include "tests/kernels/every_call.h"
#include "tests/support/count_allocations.h"

using namespace duet::test;

#ifdef DUET_TEST_COUNTS_ALLOCATIONS
namespace {

int64_t allocations_of(const std::function<duet_status()>& call) {
  allocations = 0, counting = true;
  const duet_status status = call();
  counting = false;
  CHECK_MESSAGE(status == DUET_STATUS_OK, duet_last_error());
  return allocations;
}

}  // namespace

TEST_CASE("no operation allocates in a call after the first") {
  for (const int threads : {1, 3}) {
    CAPTURE(threads);
    for (const Family& family : kFamilies) {
      CAPTURE(family.name);
      Call call;
      call.n = call.m = every_call::kRows, call.d = every_call::kWidth, call.threads = threads;
      call.again = [](const std::function<duet_status()>& again) { CHECK(allocations_of(again) == 0); };
      CHECK(family.run(call).status == DUET_STATUS_OK);
    }
    const Context context(threads);
    every_call::Arrays arrays;
    every_call::visit_all({context,
                           [](const std::string& name, const std::function<duet_status()>& call) {
                             CAPTURE(name);
                             SUCCEED_CALL(call());
                             CHECK(allocations_of(call) == 0);
                           }},
                          arrays);
  }
}
#else
TEST_CASE("no operation allocates in a call after the first") { MESSAGE("skipped: a sanitizer allocates too"); }
#endif
