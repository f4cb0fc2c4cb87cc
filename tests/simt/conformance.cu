// One warp, one kernel an instruction: inputs in, registers out, compared on the host. Exact instructions bit for bit;
// the order in which mma adds is the hardware's, so sums of small integers are compared bit for bit and sums of random
// numbers within a bound.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>

#include "kernels/cuda/device.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/ptx.h"
#include "kernels/simt/model.h"
#include "tests/simt/conformance.h"

namespace duet::conformance {
namespace {

namespace model = simt::model;
namespace ptx = cuda::ptx;

__global__ void to_tf32_kernel(const float* x, unsigned* y, int n) {
  for (int i = static_cast<int>(threadIdx.x); i < n; i += 32) y[i] = ptx::to_tf32(x[i]);
}
__global__ void pack_bf16_kernel(const float* x, unsigned* y, int n) {
  for (int i = static_cast<int>(threadIdx.x); i < n; i += 32) y[i] = ptx::pack_bf16(x[i], x[n - 1 - i]);
}
__global__ void exp2_kernel(const float* x, float* y, int n) {
  for (int i = static_cast<int>(threadIdx.x); i < n; i += 32) y[i] = ptx::exp2(x[i]);
}
__global__ void sqrt_kernel(const float* x, float* y, int n) {
  for (int i = static_cast<int>(threadIdx.x); i < n; i += 32) y[i] = ptx::sqrt(x[i]);
}
__global__ void reciprocal_kernel(const float* x, float* y, int n) {
  for (int i = static_cast<int>(threadIdx.x); i < n; i += 32) y[i] = ptx::reciprocal(x[i]);
}
__global__ void ldmatrix_kernel(const unsigned* x, unsigned* y) {
  DUET_SHARED(unsigned, tile, [32 * 8]);  // rows of 32 bytes, of which 16 are read
  for (int i = 0; i < 8; ++i) tile[threadIdx.x * 8 + i] = x[threadIdx.x * 8 + i];
  __syncthreads();
  unsigned r[4];
  ptx::ldmatrix_x4(r, tile + threadIdx.x * 8);
  for (int i = 0; i < 4; ++i) y[threadIdx.x * 4 + i] = r[i];
}
template <bool kBf16>
__global__ void mma_kernel(const unsigned* a, const unsigned* b, const float* c, float* d) {
  const unsigned lane = threadIdx.x;
  unsigned a_mine[4], b_mine[2];
  float c_mine[4], d_mine[4];
  for (int i = 0; i < 4; ++i) a_mine[i] = a[lane * 4 + i];
  for (int i = 0; i < 2; ++i) b_mine[i] = b[lane * 2 + i];
  for (int i = 0; i < 4; ++i) c_mine[i] = c[lane * 4 + i];
  if constexpr (kBf16)
    ptx::mma_m16n8k16_bf16(d_mine, a_mine, b_mine, c_mine);
  else
    ptx::mma_m16n8k8_tf32(d_mine, a_mine, b_mine, c_mine);
  for (int i = 0; i < 4; ++i) d[lane * 4 + i] = d_mine[i];
}
// Lane i copies i mod 17 bytes of 16, twice, in two groups of which the first is waited for first.
__global__ void cp_async_kernel(const unsigned* x, unsigned* y) {
  DUET_SHARED_DYNAMIC(unsigned, buffer);
  const unsigned lane = threadIdx.x;
  for (int i = 0; i < 8; ++i) buffer[lane + 32 * i] = 0x55555555u;
  __syncthreads();
  for (unsigned group = 0; group < 2; ++group) {
    ptx::cp_async16(buffer + group * 128 + lane * 4, x + group * 128 + lane * 4, static_cast<int>(lane % 17));
    ptx::cp_async_commit();
  }
  ptx::cp_async_wait<1>();
  __syncthreads();
  for (int i = 0; i < 4; ++i) y[lane + 32 * i] = buffer[lane + 32 * i];
  ptx::cp_async_wait<0>();
  __syncthreads();
  for (int i = 4; i < 8; ++i) y[lane + 32 * i] = buffer[lane + 32 * i];
}

// An array of the device, filled from and read back to the host.
template <class T>
class Array {
 public:
  explicit Array(const std::vector<T>& values)
      : size_(values.size()), data_(static_cast<T*>(cuda::allocate(values.size() * sizeof(T)))) {
    cuda::copy(data_, values.data(), size_ * sizeof(T), nullptr);
    cuda::synchronize(nullptr);
  }
  ~Array() { cuda::release(data_); }
  Array(const Array&) = delete;
  T* data() const { return data_; }
  std::vector<T> read() const {
    std::vector<T> values(size_);
    cuda::copy(values.data(), data_, size_ * sizeof(T), nullptr);
    cuda::synchronize(nullptr);
    return values;
  }

 private:
  size_t size_;
  T* data_;
};

void differ(Result& result, int64_t at, const std::string& got, const std::string& expected) {
  if (result.differing++ == 0) result.first_difference = text("[", at, "] ", got, ", the model says ", expected);
}
template <class T>
Result same_bits(const std::string& instruction, const std::vector<T>& got, const std::vector<T>& expected) {
  Result result{instruction, static_cast<int64_t>(got.size()), 0, "", 0, "bit for bit"};
  for (size_t i = 0; i < got.size(); ++i)
    if (std::memcmp(&got[i], &expected[i], sizeof(T)) != 0)
      differ(result, static_cast<int64_t>(i), text(got[i]), text(expected[i]));
  return result;
}

// Numbers of every exponent, ties of both roundings, and what is special.
std::vector<float> hard_numbers(std::mt19937_64& random) {
  std::vector<float> x = {0.0f,   -0.0f,   INFINITY,        -INFINITY,      NAN,
                          1e-45f, -1e-40f, 1.17549435e-38f, 3.40282347e38f, -3.40282347e38f};
  for (int i = 0; i < 2000; ++i) {
    const unsigned bits = static_cast<unsigned>(random());
    x.push_back(model::float_of(bits));
    x.push_back(model::float_of((bits & ~0x1fffu) | 0x1000u));
    x.push_back(model::float_of((bits & ~0xffffu) | 0x8000u));
  }
  return x;
}

Result check_to_tf32(std::mt19937_64& random) {
  const std::vector<float> x = hard_numbers(random);
  const Array<float> in(x);
  const Array<unsigned> out(std::vector<unsigned>(x.size()));
  DUET_LAUNCH(to_tf32_kernel, 1, 32, 0, nullptr)(in.data(), out.data(), static_cast<int>(x.size()));
  std::vector<unsigned> got = out.read(), expected(x.size());
  for (size_t i = 0; i < x.size(); ++i) {
    expected[i] = model::to_tf32(x[i]);
    // The 13 low bits are not part of the number.
    got[i] &= ~0x1fffu, expected[i] &= ~0x1fffu;
    if (std::isnan(x[i]) && std::isnan(model::float_of(got[i]))) expected[i] = got[i];
  }
  return same_bits("cvt.rna.tf32.f32", got, expected);
}

Result check_pack_bf16(std::mt19937_64& random) {
  const std::vector<float> x = hard_numbers(random);
  const Array<float> in(x);
  const Array<unsigned> out(std::vector<unsigned>(x.size()));
  DUET_LAUNCH(pack_bf16_kernel, 1, 32, 0, nullptr)(in.data(), out.data(), static_cast<int>(x.size()));
  std::vector<unsigned> expected(x.size());
  for (size_t i = 0; i < x.size(); ++i) expected[i] = model::to_bf16(x[i]) | model::to_bf16(x[x.size() - 1 - i]) << 16;
  return same_bits("cvt.rn.bf16x2.f32", out.read(), expected);
}

// A function of one number that the hardware gives within 2 units in the last place.
Result check_function(const char* name, const std::vector<float>& x, void (*kernel)(const float*, float*, int),
                      float (*exact)(float)) {
  const Array<float> in(x), out(std::vector<float>(x.size()));
  DUET_LAUNCH(kernel, 1, 32, 0, nullptr)(in.data(), out.data(), static_cast<int>(x.size()));
  const std::vector<float> got = out.read();
  Result result{name, static_cast<int64_t>(x.size()), 0, "", 0, "2 units in the last place"};
  for (size_t i = 0; i < x.size(); ++i) {
    const float expected = exact(x[i]);
    if (model::bits_of(got[i]) == model::bits_of(expected) || (std::isnan(got[i]) && std::isnan(expected))) continue;
    // At the edge of the subnormal numbers one unit decides between the smallest number and zero.
    const double unit =
        std::fmax(std::ldexp(1.0, std::ilogb(std::fmax(std::fabs(expected), 1.17549435e-38f)) - 23), 1e-45);
    const bool at_edge = std::fabs(got[i]) <= 1.1754946e-38f && std::fabs(expected) <= 1.1754946e-38f;
    const double error = at_edge ? 1 : std::fabs(static_cast<double>(got[i]) - expected) / unit;
    result.worst = std::fmax(result.worst, error);
    if (!(error <= 2)) differ(result, static_cast<int64_t>(i), text("of ", x[i], ": ", got[i]), text(expected));
  }
  return result;
}

Result check_exp2(std::mt19937_64& random) {
  std::vector<float> x = hard_numbers(random);
  std::uniform_real_distribution<float> near(-130, 130);
  for (int i = 0; i < 4000; ++i) x.push_back(near(random));
  for (int i = -130; i <= 130; ++i) x.push_back(static_cast<float>(i));
  return check_function("ex2.approx.ftz.f32", x, exp2_kernel, model::exp2_flushed);
}

Result check_sqrt(std::mt19937_64& random) {
  std::vector<float> x = hard_numbers(random);
  std::uniform_real_distribution<float> near(0, 4);
  for (int i = 0; i < 4000; ++i) x.push_back(near(random));
  return check_function("sqrt.approx.ftz.f32", x, sqrt_kernel, model::sqrt_flushed);
}

Result check_reciprocal(std::mt19937_64& random) {
  std::vector<float> x = hard_numbers(random);
  std::uniform_real_distribution<float> near(0, 4);
  for (int i = 0; i < 4000; ++i) x.push_back(near(random));
  return check_function("rcp.approx.ftz.f32", x, reciprocal_kernel, model::reciprocal_flushed);
}

Result check_ldmatrix(std::mt19937_64& random) {
  std::vector<unsigned> x(32 * 8);
  for (unsigned& word : x) word = static_cast<unsigned>(random());
  const Array<unsigned> in(x), out(std::vector<unsigned>(32 * 4));
  DUET_LAUNCH(ldmatrix_kernel, 1, 32, 0, nullptr)(in.data(), out.data());
  std::vector<unsigned> expected(32 * 4);
  std::vector<uint16_t> halves(x.size() * 2);
  std::memcpy(halves.data(), x.data(), x.size() * sizeof(unsigned));
  std::vector<model::LoadMatrix> lanes;
  std::vector<const model::LoadMatrix*> pointers;
  for (size_t lane = 0; lane < 32; ++lane) lanes.push_back({&expected[lane * 4], &halves[lane * 16]});
  for (const auto& lane : lanes) pointers.push_back(&lane);
  model::load_matrices(pointers.data());
  return same_bits("ldmatrix.x4", out.read(), expected);
}

enum class Numbers { integers, random, beside_one };

// Integers of at most 8: products and sums are exact in any order, and a wrong fragment shows. Random numbers: at most
// the products' rounding if each partial sum were cut off after 23 bits, kDepth 2^-23 sum |a b|, which hardware that
// cuts to one common exponent stays under. Beside one: c is 1 or -1, and the products, of its sign, sum up to 1.5
// 2^-24, which rounding would make 2^-23: the sum is c, as mma cuts.
template <bool kBf16>
Result check_mma(std::mt19937_64& random, Numbers numbers) {
  constexpr int kDepth = kBf16 ? 16 : 8;
  std::uniform_int_distribution<int> integer(-8, 8);
  std::normal_distribution<float> normal;
  const float one = random() % 2 ? 1.0f : -1.0f;
  const auto number = [&] {
    if (numbers == Numbers::beside_one) return one * 0x1.8p-12f;
    return numbers == Numbers::integers ? static_cast<float>(integer(random)) : normal(random);
  };
  const auto operand = [&] {
    return kBf16 ? model::to_bf16(number()) | model::to_bf16(number()) << 16 : model::bits_of(number());
  };  // tf32: mma cuts
  std::vector<unsigned> a(32 * 4), b(32 * 2);
  std::vector<float> c(32 * 4), expected(32 * 4), magnitude(32 * 4);
  for (unsigned& word : a) word = operand();
  for (unsigned& word : b) word = operand();
  for (float& value : c) value = number();
  if (numbers == Numbers::beside_one) {
    const unsigned word = kBf16 ? model::to_bf16(0x1p-16f) * 0x10001u : model::bits_of(0x1p-15f);
    std::fill(b.begin(), b.end(), word);
    std::fill(c.begin(), c.end(), one);
  }
  const auto multiply = [&](const std::vector<unsigned>& a_bits, const std::vector<unsigned>& b_bits,
                            const std::vector<float>& addend, std::vector<float>& d) {
    std::vector<model::Multiply> lanes;
    std::vector<const model::Multiply*> pointers;
    for (size_t lane = 0; lane < 32; ++lane)
      lanes.push_back({&d[lane * 4], &a_bits[lane * 4], &b_bits[lane * 2], &addend[lane * 4]});
    for (const auto& lane : lanes) pointers.push_back(&lane);
    model::multiply<kDepth>(pointers.data());
  };
  multiply(a, b, c, expected);
  auto a_size = a, b_size = b;
  auto c_size = c;
  for (unsigned& word : a_size) word &= kBf16 ? 0x7fff7fffu : 0x7fffffffu;
  for (unsigned& word : b_size) word &= kBf16 ? 0x7fff7fffu : 0x7fffffffu;
  for (float& value : c_size) value = std::fabs(value);
  multiply(a_size, b_size, c_size, magnitude);

  const Array<unsigned> a_in(a), b_in(b);
  const Array<float> c_in(c), d_out(std::vector<float>(32 * 4));
  DUET_LAUNCH(mma_kernel<kBf16>, 1, 32, 0, nullptr)(a_in.data(), b_in.data(), c_in.data(), d_out.data());
  const std::vector<float> got = d_out.read();
  const char* const kind = numbers == Numbers::integers ? ", integers"
                           : numbers == Numbers::random ? ", random numbers"
                                                        : ", beside one";
  const std::string name = text(kBf16 ? "mma.m16n8k16.bf16" : "mma.m16n8k8.tf32", kind);
  if (numbers == Numbers::beside_one) return same_bits(name, got, std::vector<float>(got.size(), one));
  if (numbers == Numbers::integers) return same_bits(name, got, expected);
  Result result{name, static_cast<int64_t>(got.size()), 0, "", 0, text(kDepth, " * 2^-23 of the sum of magnitudes")};
  for (size_t i = 0; i < got.size(); ++i) {
    const double error = std::fabs(static_cast<double>(got[i]) - expected[i]) /
                         (std::ldexp(static_cast<double>(kDepth), -23) * magnitude[i]);
    result.worst = std::fmax(result.worst, error);
    if (!(error <= 1)) differ(result, static_cast<int64_t>(i), text(got[i]), text(expected[i]));
  }
  return result;
}

Result check_cp_async(std::mt19937_64& random) {
  std::vector<unsigned> x(32 * 8);
  for (unsigned& word : x) word = static_cast<unsigned>(random());
  const Array<unsigned> in(x), out(std::vector<unsigned>(32 * 8));
  DUET_LAUNCH(cp_async_kernel, 1, 32, 32 * 8 * sizeof(unsigned), nullptr)(in.data(), out.data());
  std::vector<unsigned> expected(32 * 8);  // zeros
  for (size_t copy = 0; copy < 64; ++copy) std::memcpy(&expected[copy * 4], &x[copy * 4], copy % 32 % 17);
  return same_bits("cp.async", out.read(), expected);
}

}  // namespace

std::vector<Result> run(uint64_t seed) {
  std::mt19937_64 random(seed);
  return {check_to_tf32(random),
          check_pack_bf16(random),
          check_exp2(random),
          check_sqrt(random),
          check_reciprocal(random),
          check_ldmatrix(random),
          check_mma<true>(random, Numbers::integers),
          check_mma<true>(random, Numbers::random),
          check_mma<true>(random, Numbers::beside_one),
          check_mma<false>(random, Numbers::integers),
          check_mma<false>(random, Numbers::random),
          check_mma<false>(random, Numbers::beside_one),
          check_cp_async(random)};
}

}  // namespace duet::conformance
