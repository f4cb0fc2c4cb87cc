#include "tests/support/run.h"

int main(int argc, char** argv) {
  doctest::Context context(argc, argv);
  return duet::test::run_tests(context);
}
