// A context that notes the first value out of range instead of refusing it, where the device under test can.
#pragma once

#include <string>
#include <vector>

#include "tests/support/arrays.h"

namespace duet::test {

class NotingContext {
 public:
  explicit NotingContext(int64_t small_rows = device.small_rows) : faults_(1, duet_fault{}) {
    duet_context_options options = DUET_CONTEXT_OPTIONS_INIT;
    options.device = device.kind;
    options.faults = faults_.data();
    options.small_rows = small_rows;
    REQUIRE_MESSAGE(duet_context_create(&options, &context_) == DUET_STATUS_OK, duet_last_error());
  }
  ~NotingContext() { duet_context_destroy(context_); }
  NotingContext(const NotingContext&) = delete;
  operator duet_context*() const { return context_; }

  // The text of what has been noted since the last call, "" where nothing was; forgets it.
  std::string taken() {
    device.synchronize();
    const std::string found = duet_fault_check(&faults_[0]) == DUET_STATUS_OK ? "" : duet_last_error();
    faults_[0] = {};
    return found;
  }

 private:
  std::vector<duet_fault, DeviceAllocator<duet_fault>> faults_;
  duet_context* context_ = nullptr;
};

}  // namespace duet::test
