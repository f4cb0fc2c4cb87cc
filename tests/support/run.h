// What every test program's main ends with.
#pragma once

#include <doctest/doctest.h>

namespace duet::test {

// Runs the test cases that the context's filters leave; doctest's status, or 1 where they leave none, or one of them
// compared nothing and did not say "skipped: ..." in a message.
int run_tests(doctest::Context& context);

}  // namespace duet::test
