// Memory that is a part of a file. Where the file ends before it, as when someone truncates it, or where its disk
// fails, a use of that memory raises SIGBUS.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

namespace duet {

class Mapping {
 public:
  Mapping() = default;
  // length bytes of the file from offset on, any number, for as long as this lives; length 0: none. what: the line that
  // report_broken_mappings() has for it. Throws std::bad_alloc where the system has no room in its tables;
  // DUET_STATUS_IO_ERROR, with what and the reason, where it maps no such file.
  Mapping(int descriptor, uint64_t offset, uint64_t length, bool writable, const std::string& what);
  ~Mapping();
  Mapping(Mapping&& other) noexcept;
  Mapping& operator=(Mapping&& other) noexcept;

  std::byte* data() const { return data_; }
  uint64_t size() const { return size_; }
  // Of a mapping that is not writable: throws DUET_STATUS_IO_ERROR, naming name, where the file has been written to, or
  // has another size, since it was mapped.
  void require_unchanged(const std::string& name) const;

  // Advice on the pages that hold bytes begin to end - 1; none of it changes what they hold.
  void release(uint64_t begin, uint64_t end) const;  // they leave the process's memory until they are used again
  void fetch(uint64_t begin, uint64_t end) const;    // the system begins to read them
  void expect_order() const;                         // reads come one after another
  void expect_no_order() const;                      // they do not: nothing is read beyond what is asked for

 private:
  void advise(uint64_t begin, uint64_t end, int advice) const;

  std::byte* data_ = nullptr;
  uint64_t size_ = 0;
  std::byte* start_ = nullptr;      // of the first page
  int slot_ = -1;                   // in the table of mappings; -1: not in it
  int descriptor_ = -1;             // of the file, where it is only read
  std::array<int64_t, 3> state_{};  // its size, and when it was last written to: seconds, nanoseconds
};

// From here on a use of a mapping whose file does not hold it any more ends the program with exit code 1 and the
// mapping's line, "duet: WHAT", on standard error; any other SIGBUS has the effect that it has by default.
void report_broken_mappings();

}  // namespace duet
