#include "tests/backends/case.h"

#include <algorithm>
#include <bit>
#include <cfloat>
#include <cmath>

#include "kernels/core/error.h"

namespace duet::test::backends {

const char* name_of(Kind kind) {
  constexpr const char* kNames[] = {"plain", "ties", "huge", "tiny", "inf", "NaN"};
  return kNames[static_cast<int>(kind)];
}

namespace {

uint64_t hash(const std::string& text) {  // FNV-1a: the same in every build
  uint64_t value = 14695981039346656037u;
  for (const char c : text) value = (value ^ static_cast<unsigned char>(c)) * 1099511628211u;
  return value;
}

// One context a process for each of CPU and precisions: making one costs more than a small case. small_rows: as in
// duet_context_options.
duet_context* context_of(duet_device kind, duet_precision precision, int32_t threads, int64_t small_rows) {
  struct Kept {
    duet_device kind;
    duet_precision precision;
    int32_t threads;
    int64_t small_rows;
    duet_context* context;
  };
  static std::vector<Kept> kept;
  for (const Kept& k : kept)
    if (k.kind == kind && k.precision == precision && k.threads == threads && k.small_rows == small_rows)
      return k.context;
  duet_context_options options = DUET_CONTEXT_OPTIONS_INIT;
  options.device = kind, options.precision = precision, options.threads = threads, options.small_rows = small_rows;
  duet_context* context = nullptr;
  succeed(duet_context_create(&options, &context));
  kept.push_back({kind, precision, threads, small_rows, context});
  return context;
}

std::string kind_of(double x) { return std::isnan(x) ? "NaN" : std::isinf(x) ? (x > 0 ? "inf" : "-inf") : "finite"; }

}  // namespace

namespace {

uint64_t mixed(uint64_t x) {  // splitmix64
  x += 0x9E3779B97F4A7C15u;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
  return x ^ (x >> 31);
}

// Near normal, of deviation 1: the sum of four uniforms.
double bell(uint64_t key) {
  double sum = 0;
  for (uint64_t k = 0; k < 4; ++k) sum += static_cast<double>(mixed(key + k) >> 11) * 0x1p-53 - 0.5;
  return sum * std::sqrt(3.0);
}

}  // namespace

Doubles Values::operator()(const Floats& x) const {
  Doubles values = x.values();
  for (double& value : values) value = moved(value, std::abs(value));
  return values;
}
double Values::moved(double value, double error_size, uint64_t key) const {
  const double to = size_ == 0 || error_size == 0 || std::isinf(value)
                        ? value  // infinity stays what it is
                        : value + size_ * error_size * bell(mixed(seed_) ^ key);
  return rounds_ ? static_cast<float>(to) : to;
}
double Values::moved(double value, double error_size) const {
  return moved(value, error_size, mixed(std::bit_cast<uint64_t>(value)));
}

Floats& Run::add(const std::string& name, int64_t rows, int64_t columns, int64_t padding) {
  floats_.emplace_back(rows, columns, padding);
  Floats& array = floats_.back();
  outputs_.push_back({name, false, {}, [&array] { return array.values(); }});
  return array;
}
duet_matrix Run::output(const std::string& name, int64_t rows, int64_t columns) {
  return add(name, rows, columns, padding()).matrix();
}
duet_vector Run::output(const std::string& name, int64_t size) { return add(name, size, 1, 0).vector(); }
duet_matrix Run::optional(const std::string& name, int64_t rows, int64_t columns) {
  return coin(0.2) ? duet_matrix{} : output(name, rows, columns);
}
duet_vector Run::optional(const std::string& name, int64_t size) {
  return coin(0.2) ? duet_vector{} : output(name, size);
}
duet_matrix Run::gradient(const std::string& name, int64_t rows, int64_t columns) {
  if (coin(0.2)) return {};
  const bool zeros = coin(0.5);
  Floats& array = add(name, rows, columns, padding());
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < columns; ++j) array.at(i, j) = zeros ? 0 : static_cast<float>(0.25 * draw_.normal());
  outputs_.back().before = array.values();
  return array.matrix();
}
duet_vector Run::gradient(const std::string& name, int64_t size) {
  if (coin(0.2)) return {};
  Floats& array = add(name, size, 1, 0).fill(coin(0.5) ? 0 : 0.375);
  outputs_.back().before = array.values();
  return array.vector();
}
duet_vector Run::state(const std::string& name, const Floats& values) {
  Floats& array = add(name, values.rows(), 1, 0);
  array.assign(values.values());
  return array.vector();
}
duet_matrix Run::integers(const std::string& name, int64_t rows, int64_t columns) {
  ints_.emplace_back(rows, columns, padding());
  Ints& array = ints_.back();
  outputs_.push_back({name, true, {}, [&array] { return array.values(); }});
  return array.matrix();
}
duet_vector Run::integers(const std::string& name, int64_t size) {
  ints_.emplace_back(size, 1);
  Ints& array = ints_.back();
  outputs_.push_back({name, true, {}, [&array] { return array.values(); }});
  return array.vector();
}
duet_vector Run::longs(const std::string& name, int64_t size) {
  longs_.emplace_back(size, 1);
  Longs& array = longs_.back();
  outputs_.push_back({name, true, {}, [&array] { return array.values(); }});
  return array.vector();
}
duet_vector Run::words(const std::string& name, int64_t size) {
  words_.emplace_back(size, 1);
  Array<uint32_t>& array = words_.back();
  outputs_.push_back({name, true, {}, [&array] { return array.values(); }});
  return array.vector();
}
duet_workspace Run::workspace(const std::function<duet_status(size_t* bytes)>& ask) {
  size_t bytes = 0;
  call(ask(&bytes));
  return scratch_.emplace_back(bytes).view();
}
void Run::call(duet_status status) {
  if (status != DUET_STATUS_OK) failures_.push_back(duet_last_error());
}
std::vector<Result> Run::results() const {
  std::vector<Result> out;
  for (const Output& output : outputs_) out.push_back({output.name, output.read(), output.before, output.whole});
  return out;
}

Case::Case(const std::string& operation, uint64_t seed)
    : draw(hash(operation) + seed * 0x9E3779B97F4A7C15u),
      seed_(seed),
      draw_of_features_(hash(operation + " features") + seed * 0x9E3779B97F4A7C15u) {
  kind = static_cast<Kind>(draw.integer(0, 5));
  precision = coin() ? DUET_PRECISION_FP32 : DUET_PRECISION_TF32X3;
}

int64_t Case::extent(int64_t least) {
  const int64_t extent = coin(0.02)  ? draw.integer(129, 160)
                         : coin(0.2) ? draw.integer(least, std::max<int64_t>(least, 3))
                                     : draw.integer(least, 40);
  description += text(description.empty() ? "" : " x ", extent);
  return extent;
}

Floats& Case::keep(Floats values) { return floats_.emplace_back(std::move(values)); }

Floats& Case::rows(int64_t count, int64_t columns) {
  Floats x = coin() ? draw.unit_rows(count, columns, padding())
                    : draw.normals(count, columns, one_of({0.1, 1.0, 3.0}), padding());
  const auto size = [&] { return std::pow(10.0, kind == Kind::huge ? draw.uniform(1, 18) : -draw.uniform(1, 36)); };
  if (kind == Kind::ties) {
    for (int64_t i = 0; i < count; ++i) {
      const int64_t twin = i > 0 && coin(0.3) ? draw.integer(0, i - 1) : i;
      for (int64_t j = 0; j < columns; ++j)
        x.at(i, j) = twin < i ? x.at(twin, j) : static_cast<float>(draw.integer(-2, 2));
    }
  } else if (kind == Kind::huge || kind == Kind::tiny) {
    const bool all = coin();
    const double factor = size();
    for (int64_t i = 0; i < count; ++i)
      if (all || coin(0.3))
        for (int64_t j = 0; j < columns; ++j) x.at(i, j) = static_cast<float>(x.at(i, j) * factor);
  } else if ((kind == Kind::infinite || kind == Kind::nan) && count > 0 && columns > 0 && coin(0.8)) {
    for (int64_t times = draw.integer(1, 3); times > 0; --times)
      x.at(draw.integer(0, count - 1), draw.integer(0, columns - 1)) = kind == Kind::nan ? NAN
                                                                       : coin()          ? INFINITY
                                                                                         : -INFINITY;
  }
  return keep(std::move(x));
}
Floats& Case::operands(int64_t count, int64_t columns) {
  Floats& kept = rows(count, columns);
  operands_.push_back(&kept);
  return kept;
}

Floats& Case::weights(int64_t count, int64_t columns) {
  Floats x = draw.normals(count, columns, 1, columns > 1 ? padding() : 0);
  if (kind == Kind::ties)
    for (int64_t i = 0; i < count; ++i)
      for (int64_t j = 0; j < columns; ++j) x.at(i, j) = static_cast<float>(draw.integer(-1, 1));
  if (coin(0.4))
    for (int64_t i = 0; i < count; ++i)
      for (int64_t j = 0; j < columns; ++j)
        if (coin(0.3)) x.at(i, j) = 0;
  if ((kind == Kind::infinite || kind == Kind::nan) && count > 0 && columns > 0 && coin(0.2))
    x.at(draw.integer(0, count - 1), draw.integer(0, columns - 1)) = kind == Kind::nan ? NAN : INFINITY;
  Floats& kept = keep(std::move(x));
  weights_.push_back(&kept);
  return kept;
}

Floats& Case::constant(double value) { return keep(std::move(Floats(1, 1).fill(value))); }
Ints& Case::labels(int64_t size, int64_t classes) {
  return ints_.emplace_back(draw.labels(size, classes, one_of({0.0, 0.2})));
}

void Case::run(const std::function<void(Run&)>& calls) {
  const auto turn = [&](duet_device kind_of_device, std::vector<Result>& results) {
    const bool cuda = kind_of_device == DUET_DEVICE_CUDA;
    for (Halved& each : halved_) each.write();
    Run run(context_of(kind_of_device, cuda ? precision : DUET_PRECISION_FP32,
                       cuda ? 1 : 1 + static_cast<int32_t>(seed_ % 4 == 0), cuda && seed_ % 2 ? -1 : 0),
            seed_, cuda);  // of two forms on CUDA an odd seed takes the tiles
    calls(run);
    if (difference.empty() && !run.failures().empty())
      difference = text(cuda ? "CUDA" : "CPU", ": a call failed: ", run.failures()[0]);
    results = run.results();
  };
  turn(DUET_DEVICE_CPU, cpu_);
  turn(DUET_DEVICE_CUDA, cuda_);
  if (precision != DUET_PRECISION_TF32X3 || kind != Kind::infinite || operands_.empty()) return;
  std::vector<Floats*> changing = operands_;  // and weights, which gradients that are multiplied are made of
  changing.insert(changing.end(), weights_.begin(), weights_.end());
  std::vector<Doubles> kept;
  for (Floats* x : changing) {
    kept.push_back(x->values());
    Doubles changed = kept.back();
    for (double& value : changed)
      if (std::isinf(value)) value = kNaN;
    x->assign(changed);
  }
  turn(DUET_DEVICE_CPU, cpu_of_nan_);
  for (size_t k = 0; k < kept.size(); ++k) changing[k]->assign(kept[k]);
}

namespace {

const Result* find(const std::vector<Result>& results, const std::string& name) {
  for (const Result& result : results)
    if (result.name == name) return &result;
  return nullptr;
}

}  // namespace

Doubles Case::left(const std::string& name, bool cuda) const {
  const Result* result = find(cuda ? cuda_ : cpu_, name);
  return result ? result->values : Doubles();
}

void Case::differ(const std::string& name, size_t element, double cpu, double cuda, const std::string& why) {
  if (!difference.empty()) return;
  std::ostringstream out;
  out.precision(9);
  out << name << '[' << element << "]: CPU " << cpu << ", CUDA " << cuda << ", " << why;
  difference = out.str();
}

Case::AsGood Case::choices(const std::function<std::vector<int>(const Values&)>& reference, double error) {
  constexpr uint64_t kMoves = 24;
  std::vector<std::vector<int>> made{reference(Values(0, 0)), reference(Values::rounded())};
  for (uint64_t move = 0; move < kMoves; ++move) made.push_back(reference(Values(error, move)));
  return [made](size_t element, int64_t x, int64_t y) {
    const auto is_made = [&](int64_t choice) {
      return std::any_of(made.begin(), made.end(),
                         [&](const std::vector<int>& picks) { return picks[element] == choice; });
    };
    return is_made(x) && is_made(y);
  };
}

void Case::expect(const Reference& reference, double error, bool jumps) {
  constexpr uint64_t kMoves = 8, kManyMoves = 100;
  if (!difference.empty()) return;
  const std::vector<Expected> exact = reference(Values(0, 0));
  std::vector<Doubles> bounds;
  for (const Expected& e : exact) bounds.emplace_back(e.values.size());
  const auto add_move = [&](const Values& value) {
    const std::vector<Expected> moved = reference(value);
    for (size_t r = 0; r < exact.size(); ++r)
      for (size_t k = 0; k < bounds[r].size(); ++k) {
        const double off = std::abs(moved[r].values[k] - exact[r].values[k]);
        // Once not a number, always: there the moves themselves pass the range, and nothing is known.
        if (!std::isnan(bounds[r][k]) && !(off <= bounds[r][k])) bounds[r][k] = off;
      }
  };
  for (uint64_t move = 0; move < kMoves; ++move) add_move(Values(error, seed_ + move));
  if (jumps) add_move(Values::rounded());
  compare(exact, bounds);
  if (difference.empty()) return;
  // The largest of 8 moves is a draw too: what differs is held to the largest of 32. A fault is off by more than that
  // can add.
  constexpr uint64_t kMoreMoves = 32;
  difference.clear();
  for (uint64_t move = kMoves; move < kMoreMoves; ++move) add_move(Values(error, seed_ + move));
  compare(exact, bounds);
  if (difference.empty() || !jumps) return;
  difference.clear();
  for (uint64_t move = kMoreMoves; move < kManyMoves; ++move) {
    const double size =
        error *
        std::pow(0.25, static_cast<double>(move % 5));  // down to float32's last bit, which parts what is nearly equal
    add_move(move % 2 ? Values(size, seed_ + move) : Values::rounded(size, seed_ + move));
  }
  compare(exact, bounds);
}

void Case::compare(const std::vector<Expected>& exact, const std::vector<Doubles>& bounds) {
  for (const Result& cpu : cpu_) {
    const Result *cuda = find(cuda_, cpu.name), *of_nan = find(cpu_of_nan_, cpu.name);
    const auto at = std::find_if(exact.begin(), exact.end(), [&](const Expected& e) { return e.name == cpu.name; });
    const bool known = at != exact.end();
    if (cuda == nullptr || cuda->values.size() != cpu.values.size() ||
        (known && at->values.size() != cpu.values.size())) {
      differ(cpu.name, 0, 0, 0, "outputs or reference of another size");
      return;
    }
    const auto allowed =
        std::find_if(as_good_.begin(), as_good_.end(), [&](const auto& entry) { return entry.first == cpu.name; });
    for (size_t k = 0; k < cpu.values.size() && difference.empty(); ++k) {
      const double a = cpu.values[k], b = cuda->values[k], before = cpu.before.empty() ? 0 : cpu.before[k];
      const double value = known ? before + at->values[k] : kNaN;
      const bool own = known && !at->cuda.empty();  // each backend has a reference of its own
      double bound = 0;
      // 8 ulp of the result. A sum of up to 160 products may start from what a gradient held: each addition rounds that
      // by 2^-24 of it at most, together they stray by the root of 160 times as much, and 2e-6 is 2.7 times that.
      if (known && !cpu.whole)
        bound = 10 * bounds[static_cast<size_t>(at - exact.begin())][k] + 5e-7 * std::abs(value) +
                2e-6 * std::abs(before) + at->floor + (at->floors.empty() ? 0 : at->floors[k]) + 4 * FLT_MIN;
      const auto agree = [&](double x, double y) {
        if (cpu.whole)
          return x == y ||
                 (allowed != as_good_.end() && allowed->second(k, static_cast<int64_t>(x), static_cast<int64_t>(y)));
        if (known && bound == INFINITY && !at->floors.empty() && at->floors[k] == INFINITY)
          return true;  // past what float32 holds
        if (known && at->any_infinite && kind == Kind::infinite && !std::isfinite(x) && !std::isfinite(y)) return true;
        return kind_of(x) == kind_of(y) && (!std::isfinite(x) || (known ? !(std::abs(x - y) > bound) : x == y));
      };
      // Past float32's range, and where the moves themselves leave it, the reference says nothing.
      const bool judged = cpu.whole ? !std::isnan(value) : std::abs(value) + bound < FLT_MAX;
      const bool in_range = !known || (!(a < at->low) && !(a > at->high) && !(b < at->low) && !(b > at->high));
      const bool good_cpu = own ? agree(a, value) : !judged || agree(a, value);
      const bool good_cuda = own ? agree(b, at->cuda[k]) : agree(b, judged ? value : a);
      if (in_range && good_cpu && (good_cuda || (of_nan && agree(of_nan->values[k], b)))) continue;
      std::ostringstream why;
      why.precision(9);
      if (!in_range)
        why << "expected " << at->low << " to " << at->high;
      else if (judged)
        why << "reference " << value << ", allowed " << bound;
      else
        why << "no reference";
      differ(cpu.name, k, a, b, why.str());
    }
  }
}

std::string run_case(const Operation& operation, uint64_t seed) {
  Case c(operation.name, seed);
  operation.run(c);
  if (c.difference.empty()) return "";
  return text(name_of(c.kind), ", ", c.precision == DUET_PRECISION_FP32 ? "fp32" : "tf32x3", ", ", c.description, ": ",
              c.difference);
}

}  // namespace duet::test::backends
