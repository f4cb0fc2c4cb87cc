#include "bench/measure.h"

namespace duet::bench {
namespace {

// The value below which share of the sorted samples lie, between two samples linearly.
double quantile(const std::vector<double>& sorted, double share) {
  const double at = share * static_cast<double>(sorted.size() - 1);
  const size_t below = static_cast<size_t>(at), above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (at - static_cast<double>(below)) * (sorted[above] - sorted[below]);
}

Cost cost_of(const Prepared& prepared, Pass pass) {
  if (pass == Pass::forward) return prepared.forward_cost;
  if (pass == Pass::backward) return prepared.backward_cost;
  return {prepared.forward_cost.flops + prepared.backward_cost.flops,
          prepared.forward_cost.bytes + prepared.backward_cost.bytes,
          prepared.forward_cost.products + prepared.backward_cost.products};
}

}  // namespace

const char* pass_name(Pass pass) {
  return pass == Pass::forward ? "forward" : pass == Pass::backward ? "backward" : "both";
}

Product& Yardsticks::of(const ProductShape& shape) {
  std::unique_ptr<Product>& product = products_[shape];
  if (!product) product = backend().product(shape, context_);
  return *product;
}

void warm_up_and_verify(Prepared& prepared, bool backward) {
  for (int set = 0; set < prepared.sets(); ++set) {
    prepared.forward(set);
    note_memory_in_use(&MemoryInUse::during);
    if (set == 0) prepared.verify_forward();
    if (!backward) continue;
    prepared.backward(set);
    note_memory_in_use(&MemoryInUse::during);
    if (set == 0) prepared.verify_backward();
  }
}

Measurement measure(Prepared& prepared, Pass pass, int repeat, Yardsticks& yardsticks) {
  int call = 0;
  const auto run = [&] {
    const int set = call++ % prepared.sets();
    if (pass != Pass::backward) prepared.forward(set);
    if (pass != Pass::forward) prepared.backward(set);
  };
  Measurement out;
  out.cost = cost_of(prepared, pass);
  Product* const product = out.cost.products > 0 ? &yardsticks.of(prepared.product) : nullptr;

  constexpr double kLineSeconds = 0.5;
  constexpr int kFewest = 5, kMost = 1000;
  const auto once_watch = backend().stopwatch();
  once_watch->time(run);
  const double once = once_watch->seconds().front();
  if (repeat <= 0) repeat = static_cast<int>(std::clamp<double>(kLineSeconds / std::max(once, 1e-9), kFewest, kMost));
  const auto watch = backend().stopwatch(), product_watch = backend().stopwatch();
  for (int k = 0; k < repeat; ++k) {
    watch->time(run);
    if (product != nullptr) product_watch->time([&] { product->run(); });
  }
  std::vector<double> samples = watch->seconds(), product_samples = product_watch->seconds();
  std::sort(samples.begin(), samples.end());
  out.median_s = quantile(samples, 0.5);
  out.spread = (quantile(samples, 0.75) - quantile(samples, 0.25)) / out.median_s;
  if (product != nullptr) {
    std::sort(product_samples.begin(), product_samples.end());
    out.product_s = quantile(product_samples, 0.5);
  }
  out.loop_rate = prepared.loop_rate(repeat);
  return out;
}

}  // namespace duet::bench
