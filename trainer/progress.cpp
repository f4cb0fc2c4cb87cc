#include "trainer/progress.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <string_view>
#include <vector>

namespace duet {
namespace {

constexpr auto kDrawEvery = std::chrono::milliseconds(100);  // faster than this is not read

std::string format(const char* pattern, auto... values) {
  char buffer[128];
  std::snprintf(buffer, sizeof buffer, pattern, values...);
  return buffer;
}

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

void append(std::string& line, std::string_view separator, std::string_view piece) {
  if (!line.empty()) line += separator;
  line += piece;
}

bool is_terminal() { return isatty(STDERR_FILENO) && environment("TERM") != "dumb" && !environment("TERM").empty(); }

ProgressStyle terminal_style() {
  ProgressStyle style;
  winsize size{};
  if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) style.columns = size.ws_col;
  style.colour = environment("NO_COLOR").empty();
  for (const char* name : {"LC_ALL", "LC_CTYPE", "LANG"}) {
    const std::string locale = environment(name);
    if (locale.empty()) continue;
    style.unicode = locale.find("UTF-8") != std::string::npos || locale.find("utf8") != std::string::npos;
    break;
  }
  return style;
}

std::string map_text(const ProgressState& state) {
  if (std::isnan(state.last_map)) return "";
  if (!state.validates) return format("MAP %.3f", state.last_map);
  return format("val MAP %.3f", state.last_map) +
         format(" (best %.3f, epoch %lld)", state.best_map, static_cast<long long>(state.best_epoch));
}

std::string parts_text(const Losses& losses) {
  std::string parts;
  for (const LossName& name : kLossNames)
    if (name.value != &Losses::total && losses.*name.value != 0 && !std::isnan(losses.*name.value))
      append(parts, " ", format("%s %.3f", name.word, losses.*name.value));
  return parts;
}

std::string loss_text(const Losses& losses, int digits) {
  return std::isnan(losses.total) ? "loss -" : format("loss %.*f", digits, losses.total);
}

double rate(const ProgressState& state) {
  return state.elapsed_s > 0 ? static_cast<double>(state.step) / state.elapsed_s : 0;
}

std::string bar(double share, int width, const ProgressStyle& style) {
  const int filled = static_cast<int>(std::lround(std::clamp(share, 0.0, 1.0) * width));
  std::string done, rest;
  for (int i = 0; i < width; ++i)
    (i < filled ? done : rest) += style.unicode ? (i < filled || style.colour ? "━" : "─") : (i < filled ? "=" : "-");
  return style.colour ? "\x1b[36m" + done + "\x1b[90m" + rest + "\x1b[0m" : done + rest;
}

}  // namespace

std::string duration_text(double seconds) {
  const auto whole = static_cast<long long>(std::ceil(std::max(0.0, seconds)));
  return whole < 3600 ? format("%lld:%02lld", whole / 60, whole % 60)
                      : format("%lld:%02lld:%02lld", whole / 3600, whole / 60 % 60, whole % 60);
}

std::string progress_bar(const ProgressState& state, const ProgressStyle& style) {
  const double per_s = rate(state);
  const double left_s = per_s > 0 ? static_cast<double>(state.steps - state.step) / per_s : 0;
  const std::string head =
      state.title + format(" %lld/%lld", static_cast<long long>(state.epoch), static_cast<long long>(state.epochs));
  constexpr int kBarWidth = 20;
  // In the order of the line; rank is the order in which they are given room.
  struct Piece {
    int rank, width;
    std::string text;
  };
  std::vector<Piece> pieces;
  const auto add = [&](int rank, const std::string& text) {
    if (!text.empty()) pieces.push_back({rank, static_cast<int>(text.size()), text});
  };
  add(0, head);
  pieces.push_back({2, kBarWidth,
                    bar(state.steps > 0 ? static_cast<double>(state.step) / static_cast<double>(state.steps) : 0,
                        kBarWidth, style)});
  add(4, format("%.0f steps/s", per_s));
  add(1, per_s > 0 ? duration_text(left_s) + " left" : "");
  add(5, map_text(state));
  add(3, loss_text(state.losses, 3));
  add(6, parts_text(state.losses));

  std::vector<const Piece*> by_rank;
  for (const Piece& piece : pieces) by_rank.push_back(&piece);
  std::sort(by_rank.begin(), by_rank.end(), [](const Piece* a, const Piece* b) { return a->rank < b->rank; });
  int room = style.columns - 1, last_rank = -1;  // the last column stays free: some terminals wrap when it is written
  for (const Piece* piece : by_rank) {
    const int needed = piece->width + (last_rank < 0 ? 0 : 2);
    if (needed > room) break;
    room -= needed;
    last_rank = piece->rank;
  }
  std::string line;
  for (const Piece& piece : pieces)
    if (piece.rank <= last_rank) append(line, "  ", piece.text);
  return line;
}

std::string progress_line(const ProgressState& state) {
  std::string line =
      state.title +
      format(" epoch %lld/%lld  step %lld  %.1f s  %.0f steps/s  ", static_cast<long long>(state.epoch),
             static_cast<long long>(state.epochs), static_cast<long long>(state.step), state.elapsed_s, rate(state)) +
      loss_text(state.losses, 4);
  if (const std::string parts = parts_text(state.losses); !parts.empty()) line += " (" + parts + ")";
  if (const std::string map = map_text(state); !map.empty()) append(line, "  ", map);
  return line;
}

Progress::Progress(Mode mode) {
  shows_ = mode != Mode::quiet && std::cerr.good();
  terminal_ = shows_ && is_terminal();
}

Progress::~Progress() { clear(); }

bool Progress::due() const { return terminal_ && Clock::now() - last_draw_ >= kDrawEvery; }

void Progress::draw(const ProgressState& state) {
  if (!terminal_) return;
  std::cerr << '\r' << progress_bar(state, terminal_style()) << "\x1b[K" << std::flush;
  shown_ = true;
  last_draw_ = Clock::now();
}

void Progress::epoch_done(const ProgressState& state) {
  if (!shows_) return;
  if (terminal_)
    draw(state);
  else
    std::cerr << progress_line(state) << '\n';
}

void Progress::clear() {
  if (!shown_) return;
  std::cerr << "\r\x1b[K" << std::flush;
  shown_ = false;
}

StatusLine::StatusLine() : terminal_(std::cerr.good() && is_terminal()) {}

StatusLine::~StatusLine() {
  if (shown_) std::cerr << '\n';
}

void StatusLine::show(const std::string& line) {
  if (!terminal_) {
    keep(line);
    return;
  }
  size_t bytes = 0;
  for (int left = terminal_style().columns - 1; bytes < line.size(); ++bytes) {
    const bool starts_character = (static_cast<unsigned char>(line[bytes]) & 0xc0) != 0x80;
    if (starts_character && left-- == 0) break;
  }
  std::cerr << '\r' << line.substr(0, bytes) << "\x1b[K" << std::flush;
  shown_ = true;
}

void StatusLine::keep(const std::string& line) {
  if (shown_) std::cerr << "\r\x1b[K";
  shown_ = false;
  std::cerr << line << '\n';
}

}  // namespace duet
