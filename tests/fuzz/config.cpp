// Any bytes as a config file, and as an assignment of the command line: taken, or UsageError says why not.
#include "trainer/config.h"

#include <nlohmann/json.hpp>

#include "tests/fuzz/memory_file.h"
#include "trainer/usage_error.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const duet::fuzz::MemoryFile given(data, size);
  duet::Config config;
  try {
    duet::set_from_file(config, given.path());
    duet::validate(config);
    // What is taken comes back the same.
    duet::Config again;
    duet::set_from_json(again, duet::to_json(config), "resolved");
    if (!(again == config)) std::abort();
  } catch (const duet::UsageError&) {
  }
  try {
    duet::set_from_assignment(config, std::string(reinterpret_cast<const char*>(data), size));
  } catch (const duet::UsageError&) {
  }
  return 0;
}
