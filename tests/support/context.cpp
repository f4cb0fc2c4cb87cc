#include "tests/support/arrays.h"

namespace duet::test {

Context::Context(int threads, duet_precision precision, void* stream) {
  duet_context_options options = DUET_CONTEXT_OPTIONS_INIT;
  options.threads = threads;
  options.device = device.kind;
  options.precision = precision;
  options.stream = stream;
  options.small_rows = device.small_rows;
  REQUIRE_MESSAGE(duet_context_create(&options, &context_) == DUET_STATUS_OK, duet_last_error());
}
Context::~Context() { duet_context_destroy(context_); }

}  // namespace duet::test
