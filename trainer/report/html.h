// The parts of an HTML page, as strings. What is called text here is escaped here; what is called content is HTML that
// was made here.
#pragma once

#include <cmath>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "trainer/text_table.h"

namespace duet::report {

// Text for an element or an attribute between quotes: &, <, >, " and ' as references, control characters and bytes that
// are no UTF-8 as \xNN.
std::string escaped(std::string_view text);
// The first cell of each row heads it. It scrolls within itself where it is wider than the page; label names that part
// of the page.
std::string table(const std::string& label, const Cells& head, const std::vector<Cells>& rows);
// The same part around a table that was made elsewhere.
std::string scrolling(const std::string& label, const std::string& content);
// What opens at a click or a key; closed at first.
std::string details(const std::string& summary_text, const std::string& content);
std::string paragraph(const std::string& text);
// title and note are texts; an empty note is left out.
std::string figure(const std::string& title, const std::string& content, const std::string& note = "");

struct Section {
  std::string id, title, content;
};
// A whole page: style sheet, headings, links to the sections, and data as JSON in an element with the id "report-data".
// It needs no other file and no network, and its policy allows neither.
std::string page(const std::string& title, const std::string& introduction, const std::vector<Section>& sections,
                 const nlohmann::ordered_json& data);

// The style sheet of every page.
std::string_view style_sheet();

}  // namespace duet::report
