// Where the benchmarks run: the CPU, or a CUDA device. Which of them a program has is decided by which of cpu/ and
// cuda/ it is built from.
#pragma once

#include "bench/product.h"
#include "bench/roofline.h"

namespace duet::bench {

// Times calls; on a device the calls are only put on the stream, and waited for once, in seconds().
class Stopwatch {
 public:
  virtual ~Stopwatch() = default;
  virtual void time(const std::function<void()>& call) = 0;
  virtual std::vector<double> seconds() = 0;  // of every call so far
};

class Backend {
 public:
  virtual ~Backend() = default;
  virtual duet_device device() const = 0;
  virtual void* stream() const { return nullptr; }
  virtual std::string name() const = 0;  // of the machine
  virtual std::unique_ptr<Stopwatch> stopwatch() = 0;
  // The fastest that is to be had there: a yardstick that is slower than it need be would flatter every ratio.
  virtual std::unique_ptr<Product> product(const ProductShape& shape, const duet_context& context) = 0;
  virtual Roofline roofline(const duet_context& context) = 0;  // takes part of a second
};

struct BackendFactory {
  std::string name;                                // "cpu", "cuda"
  std::function<std::unique_ptr<Backend>()> make;  // throws Error where there is no such device
};
inline std::vector<BackendFactory>& backends() {
  static std::vector<BackendFactory> factories;
  return factories;
}
struct BackendRegistration {
  BackendRegistration(std::string name, std::function<std::unique_ptr<Backend>()> make) {
    backends().push_back({std::move(name), std::move(make)});
  }
};

// The one that this run of the program works on.
inline std::unique_ptr<Backend>& chosen_backend() {
  static std::unique_ptr<Backend> backend;
  return backend;
}
inline Backend& backend() { return *chosen_backend(); }

}  // namespace duet::bench
