// What a page of `duet report` or `duet compare` holds.
#pragma once

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>
#include <string>

namespace duet::testing {

inline size_t count_of(const std::string& text, const std::string& part) {
  size_t count = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + part.size())) ++count;
  return count;
}

// The plotted data. The page needs no network and no program.
inline nlohmann::json data_of(const std::string& page) {
  const std::string begin = "<script type=\"application/json\" id=\"report-data\">";
  REQUIRE(count_of(page, "<script") == 1);
  CHECK(count_of(page, "://") == 0);
  CHECK(count_of(page, "<link") == 0);
  const size_t first = page.find(begin);
  REQUIRE(first != std::string::npos);
  const size_t end = page.find("</script>", first);
  return nlohmann::json::parse(page.substr(first + begin.size(), end - first - begin.size()));
}

// The points of the first line of the plot with this title.
inline size_t points_of(const std::string& page, const std::string& title) {
  const size_t figure = page.find("<figcaption>" + title + "</figcaption>");
  REQUIRE(figure != std::string::npos);
  const size_t svg = page.find("class=\"plot\"", figure), line = page.find("<path class=\"line s0\" d=\"", svg);
  REQUIRE(line != std::string::npos);
  const std::string path = page.substr(line, page.find("/>", line) - line);
  return count_of(path, "M") + count_of(path, "L");
}

}  // namespace duet::testing
