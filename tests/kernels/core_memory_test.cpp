// A context's memory, what it notes of faults, and which devices there are.
#include <cstring>
#include <string>
#include <vector>

#include "tests/support/arrays.h"
#include "tests/support/faults.h"

using namespace duet::test;

namespace {

// Bytes of a context's memory, or of the host's that it copies to and from without waiting.
class Bytes {
 public:
  Bytes(duet_context* context, size_t count, bool pinned = false) : context_(context), count_(count), pinned_(pinned) {
    SUCCEED_CALL((pinned ? duet_pinned_allocate : duet_memory_allocate)(context, count, &data_));
  }
  ~Bytes() { CHECK((pinned_ ? duet_pinned_release : duet_memory_release)(context_, data_) == DUET_STATUS_OK); }
  Bytes(const Bytes&) = delete;

  unsigned char* data() const { return static_cast<unsigned char*>(data_); }
  std::vector<unsigned char> read() const {
    std::vector<unsigned char> values(count_);
    SUCCEED_CALL(duet_memory_copy(context_, values.data(), data_, count_));
    SUCCEED_CALL(duet_context_synchronize(context_));
    return values;
  }
  void write(const std::vector<unsigned char>& values) {
    SUCCEED_CALL(duet_memory_copy(context_, data_, values.data(), values.size()));
  }

 private:
  duet_context* context_;
  size_t count_;
  bool pinned_;
  void* data_ = nullptr;
};

std::vector<unsigned char> counted(size_t count, int start = 0) {
  std::vector<unsigned char> values(count);
  for (size_t k = 0; k < count; ++k) values[k] = static_cast<unsigned char>(start + static_cast<int>(7 * k));
  return values;
}

}  // namespace

TEST_CASE("memory is aligned, apart, and none for nothing") {
  Context context(1);
  for (const bool pinned : {false, true}) {
    CAPTURE(pinned);
    const auto allocate = pinned ? duet_pinned_allocate : duet_memory_allocate;
    const auto release = pinned ? duet_pinned_release : duet_memory_release;
    void* none = &none;
    SUCCEED_CALL(allocate(context, 0, &none));
    CHECK(none == nullptr);
    SUCCEED_CALL(release(context, nullptr));
    const std::vector<size_t> sizes = {1, 255, 256, 257, 100'000};
    std::vector<std::unique_ptr<Bytes>> pieces;
    for (const size_t size : sizes) {
      pieces.push_back(std::make_unique<Bytes>(context, size, pinned));
      CHECK(reinterpret_cast<uintptr_t>(pieces.back()->data()) % 256 == 0);
      pieces.back()->write(counted(size, static_cast<int>(size)));
    }
    for (size_t k = 0; k < sizes.size(); ++k) CHECK(pieces[k]->read() == counted(sizes[k], static_cast<int>(sizes[k])));
  }
}

TEST_CASE("a fill and a copy take the bytes that they are given, and no others") {
  Context context(1);
  const Bytes memory(context, 1003), other(context, 1003), pinned(context, 1003, true);
  for (const Bytes* to : {&memory, &other, &pinned}) {
    SUCCEED_CALL(duet_memory_fill(context, to->data(), 255, 1003));
    CHECK(to->read() == std::vector<unsigned char>(1003, 255));
    std::vector<unsigned char> expected(1003, 255);
    for (const auto& [first, count, byte] :
         {std::array{1, 7, 0}, {13, 1, 3}, {511, 300, 128}, {1000, 3, 9}, {400, 0, 77}}) {
      SUCCEED_CALL(duet_memory_fill(context, to->data() + first, byte, static_cast<size_t>(count)));
      std::fill_n(expected.begin() + first, count, static_cast<unsigned char>(byte));
      CHECK(to->read() == expected);
    }
  }
  // Host to memory, memory to memory, memory to pinned memory and on to the host, each in part.
  std::vector<unsigned char> source = counted(1003), expected(1003, 255);
  for (const Bytes* each : {&memory, &other, &pinned}) SUCCEED_CALL(duet_memory_fill(context, each->data(), 255, 1003));
  SUCCEED_CALL(duet_memory_copy(context, memory.data() + 5, source.data() + 2, 701));
  std::copy_n(source.begin() + 2, 701, expected.begin() + 5);
  CHECK(memory.read() == expected);
  SUCCEED_CALL(duet_memory_copy(context, other.data() + 3, memory.data() + 6, 401));
  std::vector<unsigned char> moved(1003, 255);
  std::copy_n(expected.begin() + 6, 401, moved.begin() + 3);
  CHECK(other.read() == moved);
  SUCCEED_CALL(duet_memory_copy(context, pinned.data() + 1, other.data() + 1, 1001));
  SUCCEED_CALL(duet_context_synchronize(context));
  CHECK(std::memcmp(pinned.data() + 1, moved.data() + 1, 1001) == 0);  // the host reads it itself
  CHECK(pinned.data()[1002] == 255);
  SUCCEED_CALL(duet_memory_copy(context, nullptr, nullptr, 0));
  SUCCEED_CALL(duet_memory_fill(context, nullptr, 0, 0));
  CHECK(memory.read() == expected);
}

TEST_CASE("more bytes than a thread fills alone are filled, and no others") {
  Context context(3);
  const size_t bytes = 5 * 128 * 1024 + 7;
  const Bytes memory(context, bytes + 2);
  SUCCEED_CALL(duet_memory_fill(context, memory.data(), 255, bytes + 2));
  SUCCEED_CALL(duet_memory_fill(context, memory.data() + 1, 3, bytes));
  std::vector<unsigned char> expected(bytes + 2, 3);
  expected.front() = expected.back() = 255;
  CHECK(memory.read() == expected);
}

TEST_CASE(
    "pageable memory of the host is the caller's again when a copy from it returns, and kernels see what was copied "
    "before them") {
  Context context(1);
  const Bytes source(context, 12 * sizeof(float)), rows(context, 6 * sizeof(float)),
      indices(context, 2 * sizeof(int64_t));
  std::vector<float> values = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
  std::vector<int64_t> numbers = {3, 1};
  SUCCEED_CALL(duet_memory_copy(context, source.data(), values.data(), 12 * sizeof(float)));
  SUCCEED_CALL(duet_memory_copy(context, indices.data(), numbers.data(), 2 * sizeof(int64_t)));
  values.assign(12, -1), numbers.assign(2, 0);
  SUCCEED_CALL(duet_gather_forward(
      context,
      sized<duet_gather_inputs>({.source = duet_f32_matrix(reinterpret_cast<float*>(source.data()), 4, 3),
                                 .indices = duet_i64_vector(reinterpret_cast<int64_t*>(indices.data()), 2)}),
      sized<duet_gather_outputs>({.rows = duet_f32_matrix(reinterpret_cast<float*>(rows.data()), 2, 3)})));
  float found[6] = {};
  SUCCEED_CALL(duet_memory_copy(context, found, rows.data(), sizeof found));
  SUCCEED_CALL(duet_context_synchronize(context));
  const float expected[6] = {9, 10, 11, 3, 4, 5};
  CHECK(std::memcmp(found, expected, sizeof found) == 0);
}

TEST_CASE("misuse of memory is refused by name") {
  Context context(1);
  unsigned char here[8] = {};
  void* data = nullptr;
  FAIL_CALL(duet_memory_allocate(nullptr, 8, &data), DUET_STATUS_INVALID_ARGUMENT, "memory_allocate: context: null");
  FAIL_CALL(duet_memory_allocate(context, 8, nullptr), DUET_STATUS_INVALID_ARGUMENT, "memory_allocate: data: null");
  FAIL_CALL(duet_pinned_allocate(nullptr, 8, &data), DUET_STATUS_INVALID_ARGUMENT, "pinned_allocate: context: null");
  FAIL_CALL(duet_pinned_allocate(context, 8, nullptr), DUET_STATUS_INVALID_ARGUMENT, "pinned_allocate: data: null");
  FAIL_CALL(duet_memory_release(nullptr, nullptr), DUET_STATUS_INVALID_ARGUMENT, "memory_release: context: null");
  FAIL_CALL(duet_pinned_release(nullptr, nullptr), DUET_STATUS_INVALID_ARGUMENT, "pinned_release: context: null");
  FAIL_CALL(duet_memory_fill(nullptr, here, 0, 8), DUET_STATUS_INVALID_ARGUMENT, "memory_fill: context: null");
  FAIL_CALL(duet_memory_fill(context, nullptr, 0, 5), DUET_STATUS_INVALID_ARGUMENT,
            "memory_fill: data: null, and 5 bytes");
  for (const int32_t byte : {-1, 256})
    FAIL_CALL(duet_memory_fill(context, here, byte, 8), DUET_STATUS_INVALID_ARGUMENT,
              "byte: expected 0 to 255, got " + std::to_string(byte));
  FAIL_CALL(duet_memory_copy(nullptr, here, here, 0), DUET_STATUS_INVALID_ARGUMENT, "memory_copy: context: null");
  FAIL_CALL(duet_memory_copy(context, nullptr, here, 8), DUET_STATUS_INVALID_ARGUMENT,
            "memory_copy: to: null, and 8 bytes");
  FAIL_CALL(duet_memory_copy(context, here, nullptr, 8), DUET_STATUS_INVALID_ARGUMENT,
            "memory_copy: from: null, and 8 bytes");
  FAIL_CALL(duet_context_synchronize(nullptr), DUET_STATUS_INVALID_ARGUMENT, "context_synchronize: context: null");
  SUCCEED_CALL(duet_context_synchronize(context));
  CHECK(data == nullptr);
  for (const unsigned char byte : here) CHECK(byte == 0);
#ifndef DUET_TEST_UNDER_ASAN  // which ends a program that asks for so much
  FAIL_CALL(duet_memory_allocate(context, size_t{1} << 46, &data), DUET_STATUS_OUT_OF_MEMORY,
            "memory_allocate: allocating 70368744177664 bytes");
#endif
}

TEST_CASE("a fault says what a call that had looked would have said") {
  FAIL_CALL(duet_fault_check(nullptr), DUET_STATUS_INVALID_ARGUMENT, "fault_check: fault: null");
  duet_fault fault = {};
  CHECK(duet_fault_check(&fault) == DUET_STATUS_OK);
  fault = {nullptr, 3, 40, 0, 19};  // whatever the rest holds
  CHECK(duet_fault_check(&fault) == DUET_STATUS_OK);
  fault.argument = "indices";
  FAIL_CALL(duet_fault_check(&fault), DUET_STATUS_INVALID_ARGUMENT,
            "fault_check: indices[3]: expected 0 to 19, got 40");
  fault = {"ratio", -1, 1.5, 0, 1};
  FAIL_CALL(duet_fault_check(&fault), DUET_STATUS_INVALID_ARGUMENT, "fault_check: ratio: expected 0 to 1, got 1.5");
  fault = {"indices", 0, 4503599627370497, 0, 9};
  FAIL_CALL(duet_fault_check(&fault), DUET_STATUS_INVALID_ARGUMENT,
            "indices[0]: expected 0 to 9, got 4503599627370497");
}

TEST_CASE("a context notes the first fault and keeps it; the CPU refuses at once") {
  NotingContext context;
  Floats source = Floats(5, 3).fill(1), rows(3, 3);
  const auto gather = [&](std::array<int64_t, 3> numbers) {
    Longs indices(3, 1);
    for (int64_t k = 0; k < 3; ++k) indices.at(k) = numbers[static_cast<size_t>(k)];
    const duet_status status = duet_gather_forward(
        context, sized<duet_gather_inputs>({.source = source.matrix(), .indices = indices.vector()}),
        sized<duet_gather_outputs>({.rows = rows.matrix()}));
    device.synchronize();
    return status;
  };
  if (on_cpu()) {
    FAIL_CALL(gather({0, 5, -1}), DUET_STATUS_INVALID_ARGUMENT, "indices[1]: expected 0 to 4, got 5");
    CHECK(context.taken().empty());
    return;
  }
  REQUIRE(gather({4, 0, 2}) == DUET_STATUS_OK);
  CHECK(context.taken().empty());
  REQUIRE(gather({0, 5, -1}) == DUET_STATUS_OK);
  CHECK((rows.at(0, 2) == 1 && std::isnan(rows.at(1, 0)) && std::isnan(rows.at(2, 2))));
  REQUIRE(gather({-9, 0, 0}) == DUET_STATUS_OK);  // later, though further to the front
  REQUIRE(gather({0, 0, 0}) == DUET_STATUS_OK);   // which forgets nothing
  CHECK(context.taken() == "fault_check: inputs.indices[1]: expected 0 to 4, got 5");
  REQUIRE(gather({0, 0, 7}) == DUET_STATUS_OK);
  CHECK(context.taken() == "fault_check: inputs.indices[2]: expected 0 to 4, got 7");
}

TEST_CASE("small_rows is any size, or -1") {
  duet_context* context = nullptr;
  duet_context_options options = DUET_CONTEXT_OPTIONS_INIT;
  options.device = device.kind;
  for (const int64_t rows : {int64_t{-2}, INT64_MIN}) {
    options.small_rows = rows;
    FAIL_CALL(duet_context_create(&options, &context), DUET_STATUS_INVALID_ARGUMENT,
              "options.small_rows: expected -1 or more, got " + std::to_string(rows));
    CHECK(context == nullptr);
  }
  for (const int64_t rows : {int64_t{-1}, int64_t{0}, int64_t{1}, INT64_MAX}) {
    options.small_rows = rows;
    SUCCEED_CALL(duet_context_create(&options, &context));
    duet_context_destroy(context);
    context = nullptr;
  }
}

TEST_CASE("the devices that there are have facts, others a reason") {
  int32_t count = -1;
  duet_device_facts facts = DUET_DEVICE_FACTS_INIT;
  FAIL_CALL(duet_device_count(DUET_DEVICE_CPU, nullptr), DUET_STATUS_INVALID_ARGUMENT, "device_count: count: null");
  FAIL_CALL(duet_device_count(static_cast<duet_device>(2), &count), DUET_STATUS_INVALID_ARGUMENT,
            "device: unknown value 2");
  for (const duet_device kind : {DUET_DEVICE_CPU, DUET_DEVICE_CUDA}) {
    CAPTURE(kind);
    count = -1;
    if (duet_device_count(kind, &count) != DUET_STATUS_OK) {
      const std::string reason = duet_last_error();
      CHECK(kind != device.kind);
      CHECK(count == 0);
      CHECK(((reason.find("this build has no ") != std::string::npos) !=
             (reason.find("no CUDA device on this machine: ") != std::string::npos)));
      CHECK(duet_device_describe(kind, 0, &facts) == DUET_STATUS_UNSUPPORTED);
      CHECK(std::string(duet_last_error()).find(reason) != std::string::npos);
      continue;
    }
    CHECK(count >= 1);
    if (kind == DUET_DEVICE_CPU) CHECK(count == 1);
    for (const int32_t index : {-1, count})
      FAIL_CALL(duet_device_describe(kind, index, &facts), DUET_STATUS_INVALID_ARGUMENT,
                "index: expected 0 to " + std::to_string(count - 1) + ", got " + std::to_string(index));
    FAIL_CALL(duet_device_describe(kind, 0, nullptr), DUET_STATUS_INVALID_ARGUMENT, "device_describe: facts: null");
    facts.struct_size = 0;
    FAIL_CALL(duet_device_describe(kind, 0, &facts), DUET_STATUS_INVALID_ARGUMENT, "facts.struct_size: expected ");
    std::memset(&facts, 0x5a, sizeof facts);
    facts.struct_size = sizeof facts;
    SUCCEED_CALL(duet_device_describe(kind, 0, &facts));
    CHECK(facts.struct_size == sizeof facts);
    REQUIRE(std::memchr(facts.name, 0, sizeof facts.name) != nullptr);
    if (kind == DUET_DEVICE_CPU) {
      CHECK(std::string(facts.name) == "CPU");
      CHECK((facts.capability == 0 && facts.multiprocessors == 0 && facts.memory_bytes == 0 && facts.free_bytes == 0 &&
             facts.emulated == 0));
    } else {
      CHECK(std::strlen(facts.name) > 0);
      CHECK((facts.capability >= 80 && facts.capability < 1000));
      CHECK(facts.multiprocessors >= 1);
      CHECK((facts.free_bytes > 0 && facts.free_bytes <= facts.memory_bytes));
      CHECK(facts.shared_bytes_of_block >= 99 * 1024);
      if (on_cpu()) continue;
      CHECK((facts.emulated == 1) == device.emulated);
      // What is allocated is no longer free, within what others of the machine do meanwhile.
      Context context(1);
      const Bytes memory(context, size_t{64} << 20);
      duet_device_facts less = DUET_DEVICE_FACTS_INIT;
      SUCCEED_CALL(duet_device_describe(kind, 0, &less));
      if (device.emulated) CHECK(facts.free_bytes - less.free_bytes == int64_t{64} << 20);
    }
  }
}
