// How a line of results is shown: as a row of a table for people, or as a JSON object for programs.
#pragma once

#include <iosfwd>

#include "bench/measure.h"
#include "bench/roofline.h"

namespace duet::bench {

// By the value of duet_precision.
inline constexpr const char* kPrecisionNames[] = {"tf32x3", "fp32", "tf32", "bf16"};

struct Line {
  const Benchmark& benchmark;
  Pass pass;
  Shape shape;
  duet_precision precision;
  int threads;
  size_t extra_bytes;
  MemoryInUse memory;
  Measurement measurement;
  const Roofline& roofline;
  double limit_s() const { return roofline.limit_s(measurement.cost); }
  double share() const { return limit_s() / measurement.median_s; }
};

void print_table_head(std::ostream& out, const Shape& shape, duet_precision precision, int threads,
                      const Roofline& roofline);
void print_table_row(std::ostream& out, const Line& line);
void print_json(std::ostream& out, const Line& line);

// A variant that could not be timed, and why: what it lacks here ("skipped"), or what it did wrong ("error").
void print_untimed_json(std::ostream& out, const Benchmark& benchmark, const char* kind, const std::string& why);

}  // namespace duet::bench
