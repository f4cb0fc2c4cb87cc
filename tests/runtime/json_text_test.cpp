#include "runtime/json_text.h"

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "runtime/printable.h"

using namespace duet;
using nlohmann::json;

namespace {

std::string failure(const std::string& text) {
  try {
    read_json(text);
  } catch (const JsonError& error) {
    return error.key + "|" + error.what();
  }
  return "";
}

}  // namespace

TEST_CASE("JSON is read as the library reads it") {
  for (const std::string text : {R"({"a": [1, -2, 3.5, true, null, "x\u00e4\n", {"b": {}}], "c": []})", "3", "[]",
                                 "[18446744073709551615, -9223372036854775808, 0.0, -0e5, 1e-320]", R"({"": {"": ""}})",
                                 " \n[[[[[[[[1]]]]]]]] ", "\"\\ud83d\\ude00\""}) {
    INFO(text);
    CHECK(read_json(text) == json::parse(text));
  }
  CHECK(read_json("[18446744073709551615]")[0].get<uint64_t>() == UINT64_MAX);
}

TEST_CASE("a whole number is one of 64 bits, and no float is rounded to one") {
  CHECK(whole_number(read_json("-9223372036854775808")) == INT64_MIN);
  CHECK(whole_number(read_json("9223372036854775807")) == INT64_MAX);
  CHECK(whole_number(read_json("0")) == 0);
  for (const char* const other : {"9223372036854775808", "388888888888888888888888888888", "-1e30", "2.5", "2.0", "1e3",
                                  "true", "null", "\"2\"", "[2]", "{}"}) {
    INFO(other);
    CHECK_FALSE(whole_number(read_json(other)).has_value());
  }
}

TEST_CASE("a JSON error says its key where it has one") {
  CHECK(JsonError("too deep", "a").with_key() == "a: too deep");
  CHECK(JsonError("not JSON", "").with_key() == "not JSON");
}

TEST_CASE("JSON that is none, too deep, too large or ambiguous is refused on one line that names the outermost key") {
  CHECK(failure("") == "|not JSON: line 1: it ends too early");
  CHECK(failure("{\"a\": [1,\n") == "|not JSON: line 2: it ends too early");
  CHECK(failure("{\"a\": [1,\n}").starts_with("|not JSON: line 2: unexpected "));
  CHECK(failure("{\"a\": 1} x").starts_with("|not JSON: line 1: unexpected "));
  CHECK(failure("[NaN]").starts_with("|not JSON: line 1: unexpected "));
  CHECK(failure("[\"\xff\"]").starts_with("|not JSON: line 1: unexpected "));
  CHECK(failure("[[[[[[[[[1]]]]]]]]]") == "|lists and objects nested more than 8 deep");
  CHECK(failure("{\"a\": 1, \"b\": " + std::string(100'000, '[')) == "b|lists and objects nested more than 8 deep");
  CHECK(failure(R"({"a": {"b": 1e999}})") == "a|expected 0 or a number of 5e-324 to 1.8e308 in magnitude, got 1e999");
  CHECK(failure(R"({"a": -0.000e-999})") == "");
  CHECK(failure(R"({"a": 0.001e-999})") ==
        "a|expected 0 or a number of 5e-324 to 1.8e308 in magnitude, got 0.001e-999");
  CHECK(failure(R"({"a": {"x": 1, "x": 1}})") == "|key \"x\" is given twice");
  CHECK(failure("{\"" + std::string(1000, 'k') + "\": 1e999}").size() < 200);
}

TEST_CASE("values are shown in at most 60 characters of one line") {
  CHECK(shown("plain") == "plain");
  CHECK(shown(std::string(60, 'x')) == std::string(60, 'x'));
  CHECK(shown(std::string(61, 'x')) == std::string(60, 'x') + "...");
  std::string umlauts;
  for (int i = 0; i < 61; ++i) umlauts += "\xc3\xa4";
  CHECK(shown(umlauts) == umlauts.substr(0, 120) + "...");  // characters, not bytes, and none is cut in two
  CHECK(printable("a\nb\x1b[31m\x7f") == "a\\x0ab\\x1b[31m\\x7f");
  CHECK(printable("\xc2\x9b") == "\\xc2\\x9b");                    // a control character of the terminal
  CHECK(printable("\xff\xc3\xe2\x82") == "\\xff\\xc3\\xe2\\x82");  // no character, or the start of one
  CHECK(printable("\xc0\xaf\xed\xa0\x80\xf4\x90\x80\x80") ==
        "\\xc0\\xaf\\xed\\xa0\\x80\\xf4\\x90\\x80\\x80");  // overlong, surrogate, too large
  CHECK(printable("\xe2\x82\xac \xf0\x9f\x98\x80") == "\xe2\x82\xac \xf0\x9f\x98\x80");
  CHECK(is_utf8("\xe2\x82\xac"));
  CHECK_FALSE(is_utf8("\xe2\x82"));
  CHECK(shown_json(json::parse(R"({"a": [1, "b", null], "c": {}})")) == R"({"a":[1,"b",null],"c":{}})");
  CHECK(shown_json(std::string("\xff")) == "\"\xef\xbf\xbd\"");
  json deep = 1;
  for (int i = 0; i < 100'000; ++i) deep = json::array({std::move(deep)});
  CHECK(shown_json(deep) == "[[[[[[[[[...]]]]]]]]]");
  CHECK(shown_json(json(std::vector<int>(100'000, 7))).size() == 63);
}
