#include "data/child.h"

#include <csignal>
#include <cstdlib>

#include "tests/data/npy_files.h"

using namespace duet::data;
using namespace duet::test;

namespace {

void nothing(ChildInput&) {}

}  // namespace

TEST_CASE("a child's words, numbers and values arrive, of any size") {
  const Folder folder;
  const auto path = folder.write("x", "content");
  std::vector<std::byte> large(3'000'000, std::byte{7}), got(large.size() - 1);
  int64_t number = 0;
  std::string words, none = "something";
  read_in_child(
      path, "library",
      [&](ChildOutput& out) {
        out.number(-5);
        out.words("words");
        out.words("");
        out.bytes(std::span(large).first(1'000'000));
        out.bytes({});
        out.bytes(std::span(large).subspan(1'000'001));
      },
      [&](ChildInput& in) {
        number = in.number();
        words = in.words();
        none = in.words();
        in.bytes(got);
      });
  CHECK(number == -5);
  CHECK(words == "words");
  CHECK(none.empty());
  CHECK(std::ranges::equal(got, std::span(large).first(got.size())));
  read_in_child(
      path, "library", [](ChildOutput&) {}, nothing);
}

TEST_CASE("however a child ends, it is one line that names file and library") {
  const Folder folder;
  const auto path = folder.write("x.h5", "content");
  const auto ends = [&](duet_status status, const std::vector<std::string>& parts,
                        const std::function<void(ChildOutput&)>& child) {
    for (const bool reads : {true, false})
      check_refused(
          [&] {
            read_in_child(path, "libhdf5", child, [&](ChildInput& in) {
              if (reads) in.number();
            });
          },
          status, parts);
  };
  ends(DUET_STATUS_UNSUPPORTED, {"what it says"},
       [](ChildOutput&) { throw duet::Error(DUET_STATUS_UNSUPPORTED, "what it says"); });
  ends(DUET_STATUS_IO_ERROR, {"x.h5: libhdf5: another thing"},
       [](ChildOutput&) { throw std::runtime_error("another thing"); });
  for (const int number : {SIGSEGV, SIGABRT, SIGKILL})
    ends(DUET_STATUS_IO_ERROR, {"x.h5: damaged: libhdf5 ended on it (", number == SIGKILL ? "signal 9" : ""},
         [number](ChildOutput&) { std::raise(number); });
  ends(DUET_STATUS_IO_ERROR, {"x.h5: damaged: libhdf5 ended on it (no reason given)"},
       [](ChildOutput&) { std::_Exit(0); });
#if !defined(DUET_TEST_UNDER_ASAN) && !defined(DUET_TEST_UNDER_TSAN)
  ends(DUET_STATUS_IO_ERROR, {"x.h5: libhdf5 needs more than 1024 MiB"}, [](ChildOutput& out) {
    const std::vector<std::byte> huge(size_t{1} << 31);
    out.bytes(huge);
  });
#endif
}

TEST_CASE("a child that nobody reads any more ends") {
  const Folder folder;
  const auto path = folder.write("x.h5", "content");
  const std::vector<std::byte> block(1 << 20);
  const auto endless = [&](ChildOutput& out) {
    for (;;) out.bytes(block);
  };
  check_refused(
      [&] {
        read_in_child(path, "libhdf5", endless, [](ChildInput&) { throw duet::Error(DUET_STATUS_IO_ERROR, "enough"); });
      },
      DUET_STATUS_IO_ERROR, {"enough"});
}

TEST_CASE("an array that no file of this size can hold is refused before anything is allocated") {
  const Folder folder;
  const auto path = folder.write("x.h5", "content");
  check_refused(
      [&] {
        read_in_child(
            path, "libhdf5",
            [](ChildOutput& out) {
              send_description(out, {.name = "x.h5: a", .shape = {int64_t{1} << 40, 1}});
            },
            [&](ChildInput& in) { receive_array(in, path); });
      },
      DUET_STATUS_IO_ERROR, {"x.h5: a: damaged: shape (1099511627776, 1) needs 4398046511104 bytes"});
}
