#include "bench/report.h"

#include <iomanip>
#include <nlohmann/json.hpp>
#include <ostream>

namespace duet::bench {
namespace {

std::string fixed(double value, int digits) {
  std::ostringstream out;
  out << std::fixed << std::setprecision(digits) << value;
  return out.str();
}

// Three digits that count, whatever the size; 0 where there is nothing to show.
std::string number(double value) {
  if (!(value > 0)) return "0";
  return fixed(value, std::clamp(2 - static_cast<int>(std::floor(std::log10(value))), 0, 7));
}

template <class... Cells>
void print_cells(std::ostream& out, const std::string& operation, const std::string& variant, const std::string& pass,
                 const Cells&... cells) {
  out << std::left << std::setw(15) << operation << std::setw(20) << variant << std::setw(9) << pass << std::right;
  ((out << std::setw(11) << cells), ...);
  out << '\n' << std::flush;
}

}  // namespace

void print_table_head(std::ostream& out, const Shape& shape, duet_precision precision, int threads,
                      const Roofline& roofline) {
  out << "duet " << duet_version() << ", " << backend().name() << ", "
      << (backend().device() == DUET_DEVICE_CUDA ? kPrecisionNames[precision]
                                                 : text(threads, threads == 1 ? " thread" : " threads"))
      << "; n " << shape.n << ", m " << shape.m << ", d " << shape.d << ", classes " << shape.classes << "; limits "
      << number(roofline.flops_per_s * 1e-9) << " GFLOP/s, " << number(roofline.bytes_per_s * 1e-9) << " GB/s\n";
  print_cells(out, "operation", "variant", "pass", "median ms", "spread %", "GFLOP/s", "GB/s", "extra MiB",
              "product ms", "products", "ratio", "limit ms", "limit %", "a second");
}

void print_table_row(std::ostream& out, const Line& line) {
  const Measurement& measured = line.measurement;
  const bool product = measured.cost.products > 0;
  print_cells(out, line.benchmark.operation, line.benchmark.variant, pass_name(line.pass),
              number(measured.median_s * 1e3), fixed(measured.spread * 100, 1),
              number(measured.cost.flops / measured.median_s * 1e-9),
              number(measured.cost.bytes / measured.median_s * 1e-9),
              number(static_cast<double>(line.extra_bytes) / (1024 * 1024)),
              product ? number(measured.product_s * 1e3) : "-", product ? text(measured.cost.products) : "-",
              product ? fixed(measured.ratio(), 2) : "-", number(line.limit_s() * 1e3), fixed(line.share() * 100, 1),
              measured.loop_rate > 0 ? number(measured.loop_rate) : "-");
}

void print_json(std::ostream& out, const Line& line) {
  const Measurement& measured = line.measurement;
  nlohmann::ordered_json json = {
      {"operation", line.benchmark.operation},
      {"variant", line.benchmark.variant},
      {"pass", pass_name(line.pass)},
      {"n", line.shape.n},
      {"m", line.shape.m},
      {"d", line.shape.d},
      {"classes", line.shape.classes},
      {"threads", line.threads},
      {"median_s", measured.median_s},
      {"spread", measured.spread},
      {"flops", measured.cost.flops},
      {"bytes", measured.cost.bytes},
      {"extra_bytes", line.extra_bytes},
      {"memory_before_bytes", nullptr},
      {"memory_during_bytes", nullptr},
      {"product_s", nullptr},
      {"products", measured.cost.products},
      {"ratio", nullptr},
      {"loop_rate", nullptr},
      {"limit_s", line.limit_s()},
      {"share", line.share()},
      {"flops_per_s", measured.cost.flops / measured.median_s},
      {"bytes_per_s", measured.cost.bytes / measured.median_s},
      {"peak_flops_per_s", line.roofline.flops_per_s},
      {"peak_bytes_per_s", line.roofline.bytes_per_s},
      {"device", backend().device() == DUET_DEVICE_CUDA ? "cuda" : "cpu"},
      {"machine", backend().name()},
      {"precision", backend().device() == DUET_DEVICE_CUDA ? kPrecisionNames[line.precision] : "fp32"},
      {"simd", duet_simd_target()},
      {"version", duet_version()}};
  if (line.memory.before > 0)
    json["memory_before_bytes"] = line.memory.before, json["memory_during_bytes"] = line.memory.during;
  if (measured.cost.products > 0) json["product_s"] = measured.product_s, json["ratio"] = measured.ratio();
  if (measured.loop_rate > 0) json["loop_rate"] = measured.loop_rate;
  out << json.dump() << '\n' << std::flush;
}

void print_untimed_json(std::ostream& out, const Benchmark& benchmark, const char* kind, const std::string& why) {
  out << nlohmann::ordered_json{{"operation", benchmark.operation}, {"variant", benchmark.variant}, {kind, why}}.dump()
      << '\n'
      << std::flush;
}

}  // namespace duet::bench
