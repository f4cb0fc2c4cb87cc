// duet-bench: times every operation of the kernels, next to the bare product that it is built on.
#include <CLI/CLI.hpp>
#include <iostream>
#include <set>

#include "bench/instructions.h"
#include "bench/report.h"
#include "bench/verify.h"
#include "kernels/core/dispatch.h"

namespace duet::bench {
namespace {

struct Options {
  std::string operation, variant, pass, device, precision = kPrecisionNames[DUET_PRECISION_TF32X3];
  Shape shape{4096, 4096, 128, 10};
  int threads = 0, repeat = 0;
  bool json = false, count = false;
};

// What the command line got wrong: exit code 2, where a failed run is 1.
struct UsageError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

std::string joined(const std::set<std::string>& names) {
  std::string out;
  for (const std::string& name : names) out += (out.empty() ? "" : ", ") + name;
  return out;
}

std::vector<const Benchmark*> chosen(const Options& options) {
  std::stable_sort(registry().begin(), registry().end(),
                   [](const Benchmark& a, const Benchmark& b) { return a.operation < b.operation; });
  std::vector<const Benchmark*> out;
  std::set<std::string> known, variants;
  bool backward = false;
  for (const Benchmark& benchmark : registry()) {
    known.insert(benchmark.operation);
    if (!options.operation.empty() && benchmark.operation != options.operation) continue;
    variants.insert(benchmark.variant);
    if (!options.variant.empty() && benchmark.variant != options.variant) continue;
    out.push_back(&benchmark);
    backward = backward || benchmark.passes == Passes::forward_and_backward;
  }
  if (variants.empty())
    throw UsageError(text("--operation: expected one of ", joined(known), ", got ", options.operation));
  if (out.empty()) throw UsageError(text("--variant: expected one of ", joined(variants), ", got ", options.variant));
  if (options.pass == "backward" && !backward)
    throw UsageError(text("--pass: ", options.operation, " has no backward"));
  return out;
}

// Without --pass every pass that there is, one after the other; both, of an operation without backward, is its forward.
std::vector<Pass> passes(const Benchmark& benchmark, const std::string& pass) {
  if (benchmark.passes == Passes::forward_only)
    return pass == "backward" ? std::vector<Pass>{} : std::vector{Pass::forward};
  if (pass == "forward") return {Pass::forward};
  if (pass == "backward") return {Pass::backward};
  if (pass == "both") return {Pass::both};
  return {Pass::forward, Pass::backward};
}

// What the lines are measured with; not there where instructions are counted.
struct Instruments {
  Yardsticks yardsticks;
  Roofline roofline;
};

// A result that is off, or no memory, is said in the variant's place, and the others go on; false then.
bool run(const Benchmark& benchmark, const Options& options, duet_context* context, Instruments* instruments) {
  const std::vector<Pass> measured_passes = passes(benchmark, options.pass);
  if (measured_passes.empty()) return true;
  const auto untimed = [&](bool failed, const std::string& why) {
    if (options.json) print_untimed_json(std::cout, benchmark, failed ? "error" : "skipped", why);
    if (failed || !options.json)
      std::cerr << "duet-bench: " << benchmark.operation << ' ' << benchmark.variant << ": " << why << '\n';
    return !failed;
  };
  try {
    memory_in_use = {};
    const std::unique_ptr<Prepared> prepared = benchmark.prepare({options.shape, context});
    warm_up_and_verify(*prepared, measured_passes.back() != Pass::forward);
    for (const Pass pass : measured_passes) {
      if (instruments == nullptr) {
        count_instructions(*prepared, pass, text(benchmark.operation, "/", benchmark.variant, "/", pass_name(pass)));
        continue;
      }
      const Line line{benchmark,
                      pass,
                      options.shape,
                      context->precision,
                      duet_context_threads(context),
                      prepared->extra_bytes,
                      memory_in_use,
                      measure(*prepared, pass, options.repeat, instruments->yardsticks),
                      instruments->roofline};
      options.json ? print_json(std::cout, line) : print_table_row(std::cout, line);
    }
  } catch (const std::bad_alloc&) {
    return untimed(true, "out of memory");
  } catch (const Error& error) {
    return untimed(error.status() != DUET_STATUS_UNSUPPORTED, error.what());
  }
  return true;
}

// Products of tf32 and bf16 are as far off as METHOD.md 1 says, ten times that where a temperature multiplies it: two
// distances off by 2e-3 are 2 % of the margin of a triplet.
Exactness exactness_of(duet_precision precision) {
  if (precision == DUET_PRECISION_TF32) return {3e-2, 2e-2, 4e-3};
  if (precision == DUET_PRECISION_BF16) return {1e-1, 2e-1, 3.2e-2};
  return {};
}

int main(int argc, char** argv) {
  CLI::App app("Times the operations of duet's kernels, next to the bare matrix product of the same shape.",
               "duet-bench");
  Options options;
  constexpr int64_t kLargest = INT32_MAX;  // a row stride has to stay below 2^31
  app.set_version_flag("--version", duet_version());
  app.add_option("--operation", options.operation, "Only this operation");
  app.add_option("--variant", options.variant, "Only this variant");
  app.add_option("--pass", options.pass,
                 "forward, backward, or both timed together; without it forward and backward, one after the other")
      ->check(CLI::IsMember({"forward", "backward", "both"}));
  app.add_option("--n", options.shape.n, "Rows: anchors, queries, samples")
      ->check(CLI::Range(int64_t{1}, kLargest))
      ->capture_default_str();
  app.add_option("--m", options.shape.m, "Columns: the other side, outputs of a layer")
      ->check(CLI::Range(int64_t{1}, kLargest))
      ->capture_default_str();
  app.add_option("--d", options.shape.d, "Width of a row")
      ->check(CLI::Range(int64_t{1}, kLargest))
      ->capture_default_str();
  app.add_option("--classes", options.shape.classes, "Classes")
      ->check(CLI::Range(int64_t{1}, kLargest))
      ->capture_default_str();
  std::vector<std::string> devices;
  for (const BackendFactory& factory : backends()) devices.push_back(factory.name);
  std::sort(devices.begin(), devices.end());
  options.device = devices.front();  // the CPU, where the program has it
  app.add_option("--device", options.device, "Where to run")->check(CLI::IsMember(devices))->capture_default_str();
  app.add_option("--precision", options.precision, "Of tile products on a CUDA device")
      ->check(CLI::IsMember(std::vector<std::string>(std::begin(kPrecisionNames), std::end(kPrecisionNames))))
      ->capture_default_str();
  app.add_option("--threads", options.threads, "Threads; without it as many as are allowed")
      ->check(CLI::Range(1, 4096));
  app.add_option("--repeat", options.repeat, "Calls a line; without it about half a second's, at least 5")
      ->check(CLI::Range(1, 1000000));
  app.add_flag("--json", options.json, "One JSON object a line instead of a table");
  app.add_flag("--count", options.count, "Under callgrind: dump the instructions of one call a line, and time nothing");
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& asked) {
    return app.exit(asked);
  } catch (const CLI::ParseError& error) {
    throw UsageError(error.what());
  }

  duet_context_options context_options = DUET_CONTEXT_OPTIONS_INIT;
  for (const BackendFactory& factory : backends())
    if (factory.name == options.device) chosen_backend() = factory.make();
  context_options.threads = options.threads;
  context_options.device = backend().device();
  context_options.stream = backend().stream();
  context_options.precision =
      static_cast<duet_precision>(std::find(std::begin(kPrecisionNames), std::end(kPrecisionNames), options.precision) -
                                  std::begin(kPrecisionNames));
  if (backend().device() == DUET_DEVICE_CUDA) exactness = exactness_of(context_options.precision);
  duet_context* created = nullptr;
  succeed(duet_context_create(&context_options, &created));
  const std::unique_ptr<duet_context, decltype(&duet_context_destroy)> context(created, duet_context_destroy);
  const std::vector<const Benchmark*> benchmarks = chosen(options);
  if (options.count) {
    if (!counts_instructions())
      throw UsageError("--count: expected to run under valgrind --tool=callgrind, in a build that found its headers");
    bool counted = true;
    for (const Benchmark* benchmark : benchmarks) counted = run(*benchmark, options, context.get(), nullptr) && counted;
    return counted ? 0 : 1;
  }
  Instruments instruments{Yardsticks(*context), backend().roofline(*context)};
  if (!options.json)
    print_table_head(std::cout, options.shape, context_options.precision, duet_context_threads(context.get()),
                     instruments.roofline);
  bool timed = true;
  for (const Benchmark* benchmark : benchmarks) timed = run(*benchmark, options, context.get(), &instruments) && timed;
  return timed ? 0 : 1;
}

}  // namespace
}  // namespace duet::bench

int main(int argc, char** argv) {
  try {
    return duet::bench::main(argc, argv);
  } catch (const duet::bench::UsageError& error) {
    std::cerr << "duet-bench: " << error.what() << '\n';
    return 2;
  } catch (const std::exception& error) {
    std::cerr << "duet-bench: " << error.what() << '\n';
    return 1;
  }
}
