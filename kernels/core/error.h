// The one exception type, and the boundary that turns it into a status. A message names argument, expected and actual.
#pragma once

#include <sstream>
#include <stdexcept>
#include <string>
#include <type_traits>

#include "kernels/core/status.h"

namespace duet {

class Error : public std::runtime_error {
 public:
  Error(duet_status status, const std::string& message) : std::runtime_error(message), status_(status) {}
  duet_status status() const { return status_; }

 private:
  duet_status status_;
};

namespace detail {
// What a part is passed on as: a literal as a pointer, so that messages are compiled once for what they print, not for
// how long their words are.
template <class Part>
using Passed = std::conditional_t<std::is_array_v<Part>, const char*,
                                  std::conditional_t<std::is_scalar_v<Part>, Part, const Part&>>;
template <class... Parts>
[[gnu::cold, gnu::noinline]] std::string joined(Parts... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return out.str();
}
template <class... Parts>
[[noreturn, gnu::cold, gnu::noinline]] void refuse(Parts... parts) {
  throw Error(DUET_STATUS_INVALID_ARGUMENT, joined<Parts...>(parts...));
}
}  // namespace detail

// The parts of a message, one after another, as operator<< prints them.
template <class... Parts>
std::string text(const Parts&... parts) {
  return detail::joined<detail::Passed<Parts>...>(parts...);
}

// Throws Error(DUET_STATUS_INVALID_ARGUMENT) unless condition holds. Write the condition so that NaN fails it:
// require(temperature > 0, ...).
template <class... Parts>
void require(bool condition, const Parts&... parts) {
  if (!condition) detail::refuse<detail::Passed<Parts>...>(parts...);
}

// For callers in C++: throws what a call of the C interface reported.
inline void succeed(duet_status status) {
  if (status != DUET_STATUS_OK) throw Error(status, duet_last_error());
}

namespace detail {
duet_status report_exception(
    const char* operation) noexcept;  // the one that is being handled; keeps its text for duet_last_error()
}

// The only catch at the C boundary: runs body, names the operation in whatever it throws.
template <class Body>
duet_status guard(const char* operation, Body&& body) noexcept {
  try {
    body();
    return DUET_STATUS_OK;
  } catch (...) {
    return detail::report_exception(operation);
  }
}

}  // namespace duet
