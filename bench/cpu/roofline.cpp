#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "bench/cpu/roofline.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <chrono>

#include "bench/cpu/backend.h"
#include "kernels/cpu/parallel.h"

HWY_BEFORE_NAMESPACE();
namespace duet::bench::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Ten independent chains: two units of four cycles' latency want eight, and AVX2's sixteen registers hold ten and the
// two factors.
// Returns the operations done; sink (one vector) keeps the compiler from leaving them out.
double multiply_add(int64_t rounds, float factor, float* sink) {
  const hn::ScalableTag<float> tag;
  const auto f = hn::Set(tag, factor), s = hn::Set(tag, 1 - factor);
  // Each starts elsewhere: equal chains would be one to the compiler.
  const auto start = [&](float value) { return hn::Add(s, hn::Set(tag, value)); };
  auto a = start(0), b = start(1), c = start(2), d = start(3), e = start(4);
  auto g = start(5), h = start(6), i = start(7), j = start(8), k = start(9);
  for (int64_t round = 0; round < rounds; ++round) {
    a = hn::MulAdd(a, f, s), b = hn::MulAdd(b, f, s), c = hn::MulAdd(c, f, s), d = hn::MulAdd(d, f, s),
    e = hn::MulAdd(e, f, s);
    g = hn::MulAdd(g, f, s), h = hn::MulAdd(h, f, s), i = hn::MulAdd(i, f, s), j = hn::MulAdd(j, f, s),
    k = hn::MulAdd(k, f, s);
  }
  const auto sum =
      hn::Add(hn::Add(hn::Add(a, b), hn::Add(c, d)), hn::Add(hn::Add(e, g), hn::Add(hn::Add(h, i), hn::Add(j, k))));
  hn::StoreU(sum, tag, sink);
  return 20.0 * static_cast<double>(rounds) * static_cast<double>(hn::Lanes(tag));
}

// count is a multiple of 64, both pointers are aligned; stores go past the cache.
void copy(const float* from, float* to, int64_t count) {
  const hn::ScalableTag<float> tag;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(tag));
  for (int64_t k = 0; k < count; k += lanes) hn::Stream(hn::Load(tag, from + k), tag, to + k);
}

}  // namespace duet::bench::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace duet::bench::cpu {
HWY_EXPORT(multiply_add);
HWY_EXPORT(copy);
namespace {

template <class Body>
double best_seconds(int tries, Body&& body) {
  using Clock = std::chrono::steady_clock;
  double best = INFINITY;
  for (int k = 0; k < tries; ++k) {
    const auto start = Clock::now();
    body();
    best = std::min(best, std::chrono::duration<double>(Clock::now() - start).count());
  }
  return best;
}

}  // namespace

Roofline measure_roofline(const duet_context& context) {
  Roofline out;
  const int64_t threads = std::max(1, context.threads);
  constexpr int64_t kRounds =
      100'000;  // a quarter of a millisecond: short beside a time slice, so that some tries run undisturbed
  constexpr int kTries = 200;
  constexpr int64_t kLine = 64;  // a vector is at most this many floats
  Floats sinks(threads, kLine);
  std::vector<double> flops_per_s(static_cast<size_t>(threads));
  duet::cpu::parallel_for(context, threads, [&](int64_t item, int) {
    double operations = 0;
    const double seconds =
        best_seconds(kTries, [&] { operations = HWY_DYNAMIC_DISPATCH(multiply_add)(kRounds, 0.5f, sinks.row(item)); });
    flops_per_s[static_cast<size_t>(item)] = operations / seconds;
  });
  for (const double each : flops_per_s) out.flops_per_s += each;

  constexpr int64_t kFloats = int64_t{32} << 20, kPiece = 1 << 16;  // 128 MiB each way
  const Floats from(kFloats), to(kFloats);
  out.bytes_per_s = 2 * from.bytes() / best_seconds(8, [&] {
                      duet::cpu::parallel_chunks(context, kFloats, kPiece, [&](int64_t first, int64_t count, int) {
                        HWY_DYNAMIC_DISPATCH(copy)(&from[first], &to[first], count);
                      });
                    });
  return out;
}

}  // namespace duet::bench::cpu
#endif
