// The one exception type, and the boundary that turns it into a status. A message names argument, expected and actual.
#pragma once

#include <sstream>
#include <stdexcept>
#include <string>

#include "kernels/core/status.h"

namespace duet {

class Error : public std::runtime_error {
 public:
  Error(duet_status status, const std::string& message) : std::runtime_error(message), status_(status) {}
  duet_status status() const { return status_; }

 private:
  duet_status status_;
};

// The parts of a message, one after another, as operator<< prints them.
template <class... Parts>
std::string text(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return out.str();
}

// Throws Error(DUET_INVALID_ARGUMENT) unless condition holds. Write the condition so that NaN fails it: require(temperature > 0, ...).
template <class... Parts>
void require(bool condition, const Parts&... parts) {
  if (!condition) throw Error(DUET_INVALID_ARGUMENT, text(parts...));
}

// For callers in C++: throws what a call of the C interface reported.
inline void succeed(duet_status status) {
  if (status != DUET_OK) throw Error(status, duet_last_error());
}

namespace detail {
duet_status report(const char* operation, duet_status status, const char* message) noexcept;  // keeps the text for duet_last_error()
}

// The only catch at the C boundary: runs body, names the operation in whatever it throws.
template <class Body>
duet_status guard(const char* operation, Body&& body) noexcept {
  try {
    body();
    return DUET_OK;
  } catch (const Error& error) {
    return detail::report(operation, error.status(), error.what());
  } catch (const std::bad_alloc&) {
    return detail::report(operation, DUET_OUT_OF_MEMORY, "out of host memory");
  } catch (const std::exception& error) {
    return detail::report(operation, DUET_INTERNAL_ERROR, error.what());
  } catch (...) {
    return detail::report(operation, DUET_INTERNAL_ERROR, "unknown exception");
  }
}

}  // namespace duet
