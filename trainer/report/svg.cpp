#include "trainer/report/svg.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "kernels/core/error.h"
#include "trainer/report/html.h"

namespace duet::report {
namespace {

constexpr size_t kColours = 10, kMostDots = 40, kMostRows = 200;  // dots a line, rows a table
constexpr double kWidth = 360, kHeight = 215, kLeft = 46, kRight = 10, kTop = 10, kBottom = 36;

// A coordinate: a tenth of a unit is finer than a screen shows.
std::string place(double value) {
  char buffer[32];
  const int length = std::snprintf(buffer, sizeof buffer, "%.1f", value);
  std::string out(buffer, static_cast<size_t>(length));
  if (out.ends_with(".0")) out.resize(out.size() - 2);
  return out;
}

struct Range {
  double low = std::numeric_limits<double>::infinity(), high = -std::numeric_limits<double>::infinity();
  void add(double value) {
    if (!std::isfinite(value)) return;
    low = std::min(low, value), high = std::max(high, value);
  }
  // With a width, whatever it holds.
  Range wide() const {
    if (low > high) return {0, 1};
    if (low < high) return *this;
    const double margin = low == 0 ? 1 : std::abs(low) / 2;
    return {low - margin, high + margin};
  }
};

// 1, 2 or 5 times a power of ten, so that at most five steps fit; at least least.
double tick_step(double width, double least) {
  const double rough = width / 5, power = std::pow(10, std::floor(std::log10(rough)));
  double step = 10 * power;
  for (const double factor : {5, 2, 1})
    if (factor * power >= rough) step = factor * power;
  return std::max(step, least);
}

// Five steps, and both ends; of values that float64 hardly tells apart no more either.
constexpr int kMostTicks = 7;

// From the data to the plot's area.
class Scale {
 public:
  Scale(Range data, double from, double to) : data_(data), from_(from), to_(to) {}
  double operator()(double value) const {
    return from_ + (value - data_.low) / (data_.high - data_.low) * (to_ - from_);
  }
  std::vector<double> ticks(double least) const {
    const double step = tick_step(data_.high - data_.low, least);
    const double first = std::ceil(data_.low / step - 1e-9);
    std::vector<double> at;
    for (int k = 0; k < kMostTicks && (first + k) * step <= data_.high + 1e-9 * step; ++k)
      at.push_back(first + k == 0 ? 0 : (first + k) * step);
    return at;
  }

 private:
  Range data_;
  double from_, to_;
};

std::vector<size_t> thinned(size_t count, size_t most) {
  std::vector<size_t> at;
  const size_t step = count <= most ? 1 : (count + most - 1) / most;
  for (size_t i = 0; i < count; i += step) at.push_back(i);
  if (!at.empty() && at.back() + 1 != count) at.push_back(count - 1);
  return at;
}

std::string colour_class(int colour) { return colour < 0 ? "none" : "s" + std::to_string(colour); }

// A point, as a part of a path: of no length with round ends, or two strokes.
std::string mark(double x, double y, bool cross) {
  constexpr double kArm = 2;
  return cross ? "M" + place(x - kArm) + " " + place(y - kArm) + "l4 4m0-4l-4 4"
               : "M" + place(x) + " " + place(y) + "h0";
}

std::string marks(int colour, bool cross, const std::string& path) {
  return std::string("<path class=\"cloud ") + (cross ? "crosses " : "dots ") + colour_class(colour) + "\" d=\"" +
         path + "\"/>";
}

std::string text_at(double x, double y, const char* anchor, const std::string& words) {
  return "<text x=\"" + place(x) + "\" y=\"" + place(y) + "\" text-anchor=\"" + anchor + "\">" + escaped(words) +
         "</text>";
}

std::string frame(const Axes& axes, const Scale& x, const Scale& y) {
  std::string rules, words;
  const double bottom = kHeight - kBottom;
  for (const double tick : y.ticks(0)) {
    rules += text("M", place(kLeft), " ", place(y(tick)), "H", place(kWidth - kRight));
    words += text_at(kLeft - 5, y(tick) + 4, "end", number_text(tick, 4));
  }
  for (const double tick : x.ticks(axes.x == "epoch" ? 1 : 0)) {
    rules += text("M", place(x(tick)), " ", place(bottom), "v4");
    words += text_at(x(tick), bottom + 15, "middle", number_text(tick, 7));
  }
  words += text_at((kLeft + kWidth - kRight) / 2, kHeight - 5, "middle", axes.x);
  return "<path class=\"rule\" d=\"" + rules + "\"/><path class=\"axis\" d=\"" +
         text("M", place(kLeft), " ", place(kTop), "V", place(bottom), "H", place(kWidth - kRight)) + "\"/>" + words;
}

std::string drawn(const Series& series, size_t number, const Scale& x, const Scale& y) {
  const std::vector<size_t> at = thinned(series.x.size(), kMostPoints);
  std::string line, dots;
  bool open = false;  // the point before is there, so that this one continues its line
  for (const size_t i : at) {
    if (!std::isfinite(series.y[i])) {
      open = false;
      continue;
    }
    const std::string here = place(x(series.x[i])) + " " + place(y(series.y[i]));
    line += (open ? "L" : "M") + here;
    dots += "M" + here + "h0";
    open = true;
  }
  const std::string colour = colour_class(static_cast<int>(number % kColours));
  std::string out = "<path class=\"line " + colour + "\" d=\"" + line + "\"/>";
  if (at.size() <= kMostDots) out += "<path class=\"dots " + colour + "\" d=\"" + dots + "\"/>";
  return out;
}

// A row an x that any series has.
std::string numbers_of(const std::string& title, const Axes& axes, const std::vector<Series>& series) {
  std::vector<double> all;
  for (const Series& each : series) all.insert(all.end(), each.x.begin(), each.x.end());
  std::ranges::sort(all);
  all.erase(std::unique(all.begin(), all.end()), all.end());
  Cells head = {axes.x};
  for (const Series& each : series) head.push_back(each.name);
  std::vector<Cells> rows;
  const std::vector<size_t> at = thinned(all.size(), kMostRows);
  for (const size_t i : at) {
    Cells row = {number_text(all[i], 7)};
    for (const Series& each : series) {
      const auto found = std::ranges::lower_bound(each.x, all[i]);
      const bool there = found != each.x.end() && *found == all[i];
      row.push_back(there ? number_text(each.y[static_cast<size_t>(found - each.x.begin())]) : "");
    }
    rows.push_back(std::move(row));
  }
  const std::string all_words = at.size() < all.size() ? text(" (", at.size(), " of ", all.size(), " rows)") : "";
  return details("numbers: " + title + all_words, table(title, head, rows));
}

std::string view(const std::string& spoken, const char* kind, double width, double height, const std::string& content) {
  return "<svg class=\"" + std::string(kind) + "\" viewBox=\"0 0 " + place(width) + " " + place(height) +
         "\" role=\"img\" aria-label=\"" + escaped(spoken) + "\">" + content + "</svg>\n";
}

}  // namespace

std::string line_key(size_t k) {
  return "<svg viewBox=\"0 0 28 10\" aria-hidden=\"true\"><path class=\"line " +
         colour_class(static_cast<int>(k % kColours)) + "\" d=\"M1 5H27\"/></svg>";
}

std::string point_key(int colour, bool cross) {
  return "<svg class=\"point\" viewBox=\"0 0 12 10\" aria-hidden=\"true\">" + marks(colour, cross, mark(6, 5, cross)) +
         "</svg>";
}

std::string legend(const std::vector<std::string>& keys_and_texts) {
  std::string out = "<ul class=\"legend\">";
  for (const std::string& each : keys_and_texts) out += "<li>" + each + "</li>";
  return out + "</ul>\n";
}

std::string line_chart(const std::string& title, const Axes& axes, const std::vector<Series>& series,
                       const std::string& note) {
  Range across, up;
  std::vector<std::string> keys;
  std::string spoken = title + ", " + axes.y + " by " + axes.x;
  for (size_t k = 0; k < series.size(); ++k) {
    for (const double value : series[k].x) across.add(value);
    for (const double value : series[k].y) up.add(value);
    keys.push_back(line_key(k) + escaped(series[k].name));
    if (!series[k].y.empty()) spoken += "; " + series[k].name + " ends at " + number_text(series[k].y.back());
  }
  across = across.wide();
  if (!std::isnan(axes.least)) up.add(axes.least);
  if (!std::isnan(axes.most)) up.add(axes.most);
  up = up.wide();
  const Scale x(across, kLeft, kWidth - kRight), y(up, kHeight - kBottom, kTop);
  std::string content = frame(axes, x, y);
  for (size_t k = 0; k < series.size(); ++k) content += drawn(series[k], k, x, y);
  return figure(title, legend(keys) + view(spoken, "plot", kWidth, kHeight, content) + numbers_of(title, axes, series),
                note);
}

std::string scatter(const std::string& spoken, const std::vector<Cloud>& clouds, const std::vector<NamedPlace>& names) {
  constexpr double kMargin = 14;
  Range across, up;
  for (const Cloud& cloud : clouds)
    for (const auto& point : cloud.points) across.add(point[0]), up.add(point[1]);
  across = across.wide(), up = up.wide();
  const double unit = (kWidth - 2 * kMargin) / std::max(across.high - across.low, up.high - up.low);
  const double height = (up.high - up.low) * unit + 2 * kMargin;
  const auto x = [&](double value) { return kWidth / 2 + (value - (across.low + across.high) / 2) * unit; };
  const auto y = [&](double value) { return height / 2 - (value - (up.low + up.high) / 2) * unit; };
  std::string content;
  for (const Cloud& cloud : clouds) {
    std::string all;
    for (const auto& point : cloud.points) all += mark(x(point[0]), y(point[1]), cloud.cross);
    content += marks(cloud.colour, cloud.cross, all);
  }
  for (const NamedPlace& each : names)
    content += "<text class=\"name\" x=\"" + place(x(each.place[0])) + "\" y=\"" + place(y(each.place[1]) + 4) + "\">" +
               escaped(each.name) + "</text>";
  return view(spoken, "plot", kWidth, height, content);
}

std::string heat_map(const std::string& spoken, int64_t n, const std::vector<float>& values, double most,
                     const std::vector<int64_t>& rules) {
  constexpr int kLevels = 20;  // of opacity: what an eye tells apart; cells of one are one path
  std::array<std::string, kLevels + 1> levels;
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < n; ++j) {
      const double share = static_cast<double>(values[static_cast<size_t>(i * n + j)]) / most;
      const int level = static_cast<int>(std::lround(std::clamp(share, 0.0, 1.0) * kLevels));
      levels[static_cast<size_t>(level)] += text("M", j, " ", i, "h1v1h-1z");
    }
  std::string content;
  for (size_t level = 1; level < levels.size(); ++level)
    if (!levels[level].empty())
      content += "<path class=\"cells\" fill-opacity=\"" + number_text(static_cast<double>(level) / kLevels) +
                 "\" d=\"" + levels[level] + "\"/>";
  std::string lines;
  for (const int64_t rule : rules) lines += text("M0 ", rule, "H", n, "M", rule, " 0V", n);
  const auto side = static_cast<double>(n);
  return view(spoken, "heat", side, side, content + "<path class=\"rule\" d=\"" + lines + "\"/>");
}

}  // namespace duet::report
