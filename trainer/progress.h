// What a run shows while it runs: a bar where there is a terminal, plain lines elsewhere. Nothing here knows how to
// train.
#pragma once

#include <chrono>
#include <cmath>
#include <cstdint>
#include <string>

#include "trainer/losses.h"

namespace duet {

struct ProgressState {
  std::string title;  // the method
  int64_t epoch = 0, epochs = 0;
  int64_t step = 0, steps = 0;
  double elapsed_s = 0;
  Losses losses;
  double last_map = std::nan("");  // none yet
  bool validates = false;          // last_map is of the validation split, and there is a best one:
  double best_map = std::nan("");  // none yet
  int64_t best_epoch = 0;
};

struct ProgressStyle {
  int columns = 80;
  bool colour = false;
  bool unicode = false;
};

// One line of at most style.columns characters: what does not fit is left out, the losses' parts first, then MAP, the
// rate, the bar.
std::string progress_bar(const ProgressState& state, const ProgressStyle& style);
// The line of one epoch for a log.
std::string progress_line(const ProgressState& state);
std::string duration_text(double seconds);

// On standard error; nothing where that is closed to notes (--quiet).
class Progress {
 public:
  enum class Mode { automatic, quiet };
  explicit Progress(Mode mode = Mode::automatic);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  // Whether it is time to draw again: reading the losses costs something, so ask first.
  bool due() const;
  void draw(const ProgressState& state);
  void epoch_done(const ProgressState& state);
  // Takes the bar away, so that what follows starts on a clean line.
  void clear();

 private:
  using Clock = std::chrono::steady_clock;
  bool shows_ = false, terminal_ = false, shown_ = false;
  Clock::time_point last_draw_{};
};

// A line on standard error that the next one takes the place of where there is a terminal, cut to its width; elsewhere
// a line after another.
class StatusLine {
 public:
  StatusLine();
  ~StatusLine();
  StatusLine(const StatusLine&) = delete;
  StatusLine& operator=(const StatusLine&) = delete;

  // line: printable.
  void show(const std::string& line);
  // One that stays.
  void keep(const std::string& line);

 private:
  bool terminal_ = false, shown_ = false;
};

}  // namespace duet
