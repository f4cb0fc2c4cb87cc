// How a line of results is shown: as a row of a table for people, or as a JSON object for programs.
#pragma once

#include <iosfwd>

#include "bench/measure.h"

namespace duet::bench {

struct Line {
  const Benchmark& benchmark;
  Pass pass;
  Shape shape;
  int threads;
  size_t extra_bytes;
  Measurement measurement;
};

void print_table_head(std::ostream& out, const Shape& shape, int threads);
void print_table_row(std::ostream& out, const Line& line);
void print_json(std::ostream& out, const Line& line);

}  // namespace duet::bench
