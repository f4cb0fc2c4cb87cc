#include "runtime/json_text.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <vector>

#include "kernels/core/error.h"
#include "runtime/printable.h"

namespace duet {
namespace {

using Json = nlohmann::json;

class Reader final : public nlohmann::json_sax<Json> {
 public:
  explicit Reader(std::string_view text) : text_(text) {}

  Json take() { return std::move(root_); }

  bool null() override { return put(nullptr); }
  bool boolean(bool value) override { return put(value); }
  bool number_integer(int64_t value) override { return put(value); }
  bool number_unsigned(uint64_t value) override { return put(value); }
  bool number_float(double value, const std::string& raw) override {
    const std::string_view digits = std::string_view(raw).substr(0, raw.find_first_of("eE"));
    if (value == 0 && digits.find_first_of("123456789") != std::string_view::npos) refuse_number(raw);
    return put(value);
  }
  bool string(std::string& value) override { return put(std::move(value)); }
  bool binary(Json::binary_t&) override { return put(nullptr); }  // no text holds any
  bool start_object(size_t) override { return open(Json::object()); }
  bool end_object() override { return close(); }
  bool start_array(size_t) override { return open(Json::array()); }
  bool end_array() override { return close(); }
  bool key(std::string& name) override {
    if (open_.size() == 1) outermost_ = name;
    if (open_.back()->contains(name)) throw JsonError(text("key ", shown_json(name), " is given twice"), "");
    name_ = std::move(name);
    return true;
  }
  bool parse_error(size_t position, const std::string& token, const nlohmann::detail::exception& error) override {
    constexpr int kNumberOverflow = 406;  // as the library numbers its errors
    if (error.id == kNumberOverflow) refuse_number(token);
    const std::string_view before = text_.substr(0, std::min(position, text_.size()));
    const std::string found = position > text_.size() ? "it ends too early" : text("unexpected ", shown(token));
    throw JsonError(text("not JSON: line ", 1 + std::count(before.begin(), before.end(), '\n'), ": ", found), "");
  }

 private:
  [[noreturn]] void refuse_number(const std::string& raw) const {
    throw JsonError(text("expected 0 or a number of 5e-324 to 1.8e308 in magnitude, got ", shown(raw)),
                    shown(outermost_));
  }

  bool put(Json value) {
    add(std::move(value));
    return true;
  }
  bool open(Json value) {
    if (open_.size() == static_cast<size_t>(kDeepestJson))
      throw JsonError(text("lists and objects nested more than ", kDeepestJson, " deep"), shown(outermost_));
    open_.push_back(add(std::move(value)));
    return true;
  }
  bool close() {
    open_.pop_back();
    return true;
  }
  Json* add(Json value) {
    if (open_.empty()) return &(root_ = std::move(value));
    if (open_.back()->is_object()) return &((*open_.back())[name_] = std::move(value));
    open_.back()->push_back(std::move(value));
    return &open_.back()->back();
  }

  std::string_view text_;
  Json root_;
  std::vector<Json*> open_;  // the objects and lists around the next value, outermost first
  std::string name_, outermost_;
};

// value's text, so far as it is wanted.
void write(const Json& value, int depth, std::string& out) {
  if (out.size() > 4 * kLongestShown) return;  // a character has at most 4 bytes: enough to be cut
  if (!value.is_structured()) {
    out += value.dump(-1, ' ', false, Json::error_handler_t::replace);
  } else if (depth == kDeepestJson) {
    out += value.is_array() ? "[...]" : "{...}";
  } else {
    out += value.is_array() ? '[' : '{';
    for (auto item = value.begin(); item != value.end() && out.size() <= 4 * kLongestShown; ++item) {
      if (item != value.begin()) out += ',';
      if (value.is_object()) out += Json(item.key()).dump(-1, ' ', false, Json::error_handler_t::replace) + ':';
      write(*item, depth + 1, out);
    }
    out += value.is_array() ? ']' : '}';
  }
}

}  // namespace

Json read_json(std::string_view text, JsonComments comments) {
  Reader reader(text);
  constexpr bool kWhole = true;  // nothing after the value
  Json::sax_parse(text.begin(), text.end(), &reader, Json::input_format_t::json, kWhole,
                  comments == JsonComments::passed_over);
  return reader.take();
}

std::optional<int64_t> whole_number(const Json& value) {
  const bool fits = !value.is_number_unsigned() || value.get<uint64_t>() <= uint64_t{INT64_MAX};
  return value.is_number_integer() && fits ? std::optional(value.get<int64_t>()) : std::nullopt;
}

std::string shown_json(const Json& value) {
  std::string out;
  write(value, 0, out);
  return shown(out);
}

}  // namespace duet
