// Libraries that a damaged file can bring down read in a child process: what they do there, a crash too, is a message
// here. The child holds no more memory and takes no more time than it is given, prints nothing and ends with its
// parent.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "data/array_file.h"
#include "data/stored_array.h"

namespace duet::data {

// What the child says, in order. Each call throws where the parent has gone.
class ChildOutput {
 public:
  explicit ChildOutput(int descriptor) : descriptor_(descriptor) {}
  void number(int64_t value);
  void words(const std::string& value);
  void bytes(std::span<const std::byte> values);

 private:
  int descriptor_;
};

// The same in the parent; each call throws the child's Error where that is what came, and where the child ended.
class ChildInput {
 public:
  ChildInput(int descriptor, std::function<void()> on_end) : descriptor_(descriptor), on_end_(std::move(on_end)) {}
  int64_t number();
  std::string words();
  void bytes(std::span<std::byte> to);
  void end();  // nothing is left

 private:
  void take(std::byte* to, size_t count);
  void next_frame();
  [[noreturn]] void throw_error();  // what the child says next is one
  void receive(void* to, size_t count);

  int descriptor_;
  std::function<void()> on_end_;  // throws: the child ended too early
  uint64_t left_ = 0;             // of the frame
};

// Runs child in a process of its own while parent reads what it says. library: its name in messages. An Error of the
// child's is thrown here; where it ends by a signal, or needs more memory than 1 GiB and four times the file or more of
// the processor's time than 60 s and 1 s a megabyte, an Error (DUET_STATUS_IO_ERROR) of one line that names the file.
void read_in_child(const std::filesystem::path& path, const char* library,
                   const std::function<void(ChildOutput&)>& child, const std::function<void(ChildInput&)>& parent);

// An array through such a pipe: what describes it, then its values, which the child may send in parts.
void send_description(ChildOutput& out, const ArrayView& view);
// Strings of view's name and shape, which become ElementType::bytes; all of it.
void send_text_array(ChildOutput& out, ArrayView view, const std::vector<std::string>& strings);
// Throws DUET_STATUS_IO_ERROR, naming the array, where it is larger than a file of this size can hold.
StoredArray receive_array(ChildInput& in, const std::filesystem::path& path);
// A number and so many words, which become ascending.
std::vector<std::string> receive_names(ChildInput& in);

// A file that a library reads in children. Reader: opens a path, send_names(ChildOutput&), send_array(ChildOutput&,
// name); kLibrary, the library's name.
template <class Reader>
class ChildFile final : public ArrayFile {
 public:
  explicit ChildFile(std::filesystem::path path) : path_(std::move(path)) {
    read_in_child(
        path_, Reader::kLibrary, [&](ChildOutput& out) { Reader(path_).send_names(out); },
        [&](ChildInput& in) { names_ = receive_names(in); });
  }
  std::vector<std::string> names() const override { return names_; }
  StoredArray open(const std::string& name) const override {
    StoredArray out;
    read_in_child(
        path_, Reader::kLibrary, [&](ChildOutput& to) { Reader(path_).send_array(to, name); },
        [&](ChildInput& in) { out = receive_array(in, path_); });
    return out;
  }

 private:
  std::filesystem::path path_;
  std::vector<std::string> names_;
};

}  // namespace duet::data
