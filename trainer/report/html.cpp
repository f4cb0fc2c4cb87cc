#include "trainer/report/html.h"

#include <cstdio>
#include <nlohmann/json.hpp>

#include "kernels/core/error.h"
#include "kernels/duet.h"
#include "runtime/printable.h"

namespace duet::report {
namespace {

// No "<" outside of a reference: nothing in a string ends the element.
std::string json_text(const nlohmann::ordered_json& data) {
  const std::string raw = data.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  std::string out;
  out.reserve(raw.size());
  for (const char c : raw) {
    if (c == '<')
      out += "\\u003c";
    else
      out += c;
  }
  return out;
}

}  // namespace

std::string escaped(std::string_view raw) {
  std::string out;
  for (const char c : printable(raw)) {
    switch (c) {
      case '&': out += "&amp;"; break;
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      case '"': out += "&quot;"; break;
      case '\'': out += "&#39;"; break;
      default: out += c;
    }
  }
  return out;
}

std::string scrolling(const std::string& label, const std::string& content) {
  return "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"" + escaped(label) + "\">" + content +
         "</div>\n";
}

std::string table(const std::string& label, const Cells& head, const std::vector<Cells>& rows) {
  std::string out = "<table><thead><tr>";
  for (const std::string& cell : head) out += "<th scope=\"col\">" + escaped(cell) + "</th>";
  out += "</tr></thead><tbody>\n";
  for (const Cells& row : rows) {
    out += "<tr>";
    for (size_t k = 0; k < row.size(); ++k)
      out += k == 0 ? "<th scope=\"row\">" + escaped(row[k]) + "</th>" : "<td>" + escaped(row[k]) + "</td>";
    out += "</tr>\n";
  }
  return scrolling(label, out + "</tbody></table>");
}

std::string details(const std::string& summary_text, const std::string& content) {
  return "<details><summary>" + escaped(summary_text) + "</summary>\n" + content + "</details>\n";
}

std::string paragraph(const std::string& text) { return "<p>" + escaped(text) + "</p>\n"; }

std::string figure(const std::string& title, const std::string& content, const std::string& note) {
  std::string out = "<figure><figcaption>" + escaped(title) + "</figcaption>\n" + content;
  if (!note.empty()) out += "<p class=\"note\">" + escaped(note) + "</p>\n";
  return out + "</figure>\n";
}

std::string page(const std::string& title, const std::string& introduction, const std::vector<Section>& sections,
                 const nlohmann::ordered_json& data) {
  std::string out =
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
      "<meta name=\"color-scheme\" content=\"light dark\">\n"
      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; "
      "img-src data:\">\n<title>" +
      escaped(title) + "</title>\n<style>\n";
  out += style_sheet();
  out += "</style>\n</head>\n<body>\n<header>\n<h1>" + escaped(title) + "</h1>\n" + introduction + "<nav><ul>";
  for (const Section& section : sections)
    out += "<li><a href=\"#" + section.id + "\">" + escaped(section.title) + "</a></li>";
  out += "</ul></nav>\n</header>\n<main>\n";
  for (const Section& section : sections)
    out += "<section id=\"" + section.id + "\">\n<h2>" + escaped(section.title) + "</h2>\n" + section.content +
           "</section>\n";
  out += "</main>\n<footer>" + escaped(text("duet ", duet_version())) + "</footer>\n";
  return out + "<script type=\"application/json\" id=\"report-data\">" + json_text(data) +
         "</script>\n</body>\n</html>\n";
}

}  // namespace duet::report
