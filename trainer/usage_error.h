// The two ways in which the program ends early, other than by a defect of its own.
#pragma once

#include <cerrno>
#include <stdexcept>

#include "kernels/core/error.h"

namespace duet {

// A mistake of whoever called the program. The text is one line that names the file, key or shape; the program prints
// it and exits with 2.
class UsageError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

template <class... Parts>
void usage_require(bool condition, const Parts&... parts) {
  if (!condition) throw UsageError(text(parts...));
}

// Refuses what the caller asked to be made, and the system did not make for this reason, an errno: the caller's
// mistake, but not where the disk or the quota is full.
[[noreturn]] inline void refuse_output(const std::string& message, int reason) {
  if (reason == ENOSPC || reason == EDQUOT) throw Error(DUET_STATUS_IO_ERROR, message);
  throw UsageError(message);
}

// Runs body, which reads what the caller gave: whatever it throws is the caller's mistake.
template <class Body>
auto reading_input(Body&& body) {
  try {
    return body();
  } catch (const Error& error) {
    if (error.status() == DUET_STATUS_INVALID_ARGUMENT || error.status() == DUET_STATUS_IO_ERROR ||
        error.status() == DUET_STATUS_UNSUPPORTED)
      throw UsageError(error.what());
    throw;
  }
}

}  // namespace duet
