#include "data/npy_header.h"

#include <limits>
#include <optional>

#include "kernels/core/error.h"

namespace duet::data {
namespace {

class Parser {
 public:
  Parser(std::string_view text, const std::string& name) : text_(text), name_(name) {}

  NpyHeader header() {
    std::optional<std::string> descr;
    std::optional<bool> fortran_order;
    std::optional<std::vector<int64_t>> shape;
    expect('{');
    while (!accept('}')) {
      const std::string key = quoted();
      expect(':');
      if (key == "descr" && !descr)
        descr = peek() == '[' ? list() : quoted();
      else if (key == "fortran_order" && !fortran_order)
        fortran_order = boolean();
      else if (key == "shape" && !shape)
        shape = tuple();
      else
        fail(duet::text("key '", printable(key), "'"));
      if (!accept(',') && peek() != '}') fail("something else than ',' or '}' after a value");
    }
    if (peek() != '\0') fail("text after the closing '}'");
    if (!descr) fail("no key 'descr'");
    if (!fortran_order) fail("no key 'fortran_order'");
    if (!shape) fail("no key 'shape'");
    return {*descr, *fortran_order, *shape};
  }

 private:
  [[noreturn]] void fail(const std::string& found) const {
    throw Error(DUET_STATUS_INVALID_ARGUMENT,
                duet::text(name_, ": the .npy header has ", found,
                           "; expected {'descr': ..., 'fortran_order': ..., 'shape': (...), }"));
  }
  // A damaged header may hold anything; the message stays one line of plain characters.
  static std::string printable(std::string_view raw) {
    std::string out(raw.substr(0, 40));
    for (char& character : out)
      if (character < ' ' || character > '~') character = '.';
    return out;
  }
  char peek() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\t')) ++at_;
    return at_ < text_.size() ? text_[at_] : '\0';
  }
  bool accept(char wanted) {
    if (at_ >= text_.size() || peek() != wanted) return false;
    ++at_;
    return true;
  }
  void expect(char wanted) {
    if (!accept(wanted)) fail(duet::text("no '", wanted, "' at byte ", at_));
  }
  std::string quoted() {
    const char quote = peek();
    if (quote != '\'' && quote != '"') fail(duet::text("no quoted word at byte ", at_));
    const size_t end = text_.find(quote, at_ + 1);
    if (end == std::string_view::npos) fail("a quote that is not closed");
    std::string word = printable(text_.substr(at_ + 1, end - at_ - 1));
    at_ = end + 1;
    return word;
  }
  std::string list() {
    const size_t start = at_;
    int depth = 0;
    do {
      if (at_ >= text_.size()) fail("a '[' that is not closed");
      depth += text_[at_] == '[' ? 1 : text_[at_] == ']' ? -1 : 0;
      ++at_;
    } while (depth > 0);
    return printable(text_.substr(start, at_ - start));
  }
  bool boolean() {
    peek();
    for (const bool value : {false, true}) {
      const std::string_view word = value ? "True" : "False";
      if (text_.substr(at_, word.size()) != word) continue;
      at_ += word.size();
      return value;
    }
    fail("a 'fortran_order' that is neither True nor False");
  }
  std::vector<int64_t> tuple() {
    std::vector<int64_t> extents;
    expect('(');
    while (!accept(')')) {
      extents.push_back(extent());
      if (!accept(',') && peek() != ')') fail("a 'shape' that is not a tuple of whole numbers");
    }
    return extents;
  }
  int64_t extent() {
    peek();
    int64_t value = 0;
    const size_t start = at_;
    for (; at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9'; ++at_) {
      const int digit = text_[at_] - '0';
      if (value > (std::numeric_limits<int64_t>::max() - digit) / 10) fail("a 'shape' beyond 2^63");
      value = 10 * value + digit;
    }
    if (at_ == start) fail("a 'shape' that is not a tuple of whole numbers");
    return value;
  }

  std::string_view text_;
  const std::string& name_;
  size_t at_ = 0;
};

}  // namespace

NpyHeader parse_npy_header(std::string_view text, const std::string& name) { return Parser(text, name).header(); }

}  // namespace duet::data
