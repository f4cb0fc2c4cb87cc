#include "trainer/best_model.h"

#include <charconv>
#include <string_view>
#include <system_error>
#include <vector>

#include "kernels/core/error.h"
#include "runtime/files/atomic_file.h"
#include "runtime/files/checksum.h"
#include "runtime/files/file_bytes.h"

namespace duet {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kStart = "best-", kEnding = ".safetensors";

// "best-12.safetensors": 12; other names: -1.
int64_t step_of(const std::string& name) {
  if (!name.starts_with(kStart) || !name.ends_with(kEnding) || name.size() < kStart.size() + kEnding.size()) return -1;
  const char *const begin = name.data() + kStart.size(), *const end = name.data() + name.size() - kEnding.size();
  int64_t step = 0;
  const auto [stop, error] = std::from_chars(begin, end, step);
  return error == std::errc() && stop == end ? step : -1;
}

bool is_there(const fs::path& path) {
  std::error_code ignored;
  return fs::exists(path, ignored);
}

void copy_durably(const fs::path& from, const fs::path& to) {
  const FileBytes file(from);
  AtomicFile copied(to);
  copied.write(file.bytes().data(), file.bytes().size());
  copied.commit();
}

// Whether a file is there and as it was written. One that cannot be read is not.
bool holds(const fs::path& path, const std::string& checksum) {
  if (!is_there(path)) return false;
  try {
    return checksum_text(file_checksum(path).value()) == checksum;
  } catch (const Error&) {
    return false;
  }
}

}  // namespace

nlohmann::ordered_json to_json(const BestModel& best) {
  if (!best.found()) return nullptr;
  return {{"epoch", best.epoch}, {"step", best.step}, {"map", best.map}};
}

fs::path BestModelFiles::kept_path(int64_t step) const { return kept_ / text(kStart, step, kEnding); }

void BestModelFiles::replace(const Model& model, BestModel& best, const BestModel& before,
                             const std::set<int64_t>& needed) const {
  const bool keeps = before.found() && needed.contains(before.step);
  if (keeps && is_there(path_) && !is_there(kept_path(before.step))) copy_durably(path_, kept_path(before.step));
  best.checksum = checksum_text(model.save_with(path_, {}, {{"best", to_json(best).dump()}}).value());
}

void BestModelFiles::prune(const std::set<int64_t>& needed) const {
  remove_kept([&](int64_t step) { return needed.contains(step); });
}

// What cannot be removed is in nobody's way.
void BestModelFiles::remove_kept(const std::function<bool(int64_t)>& stays) const {
  std::error_code ignored;
  std::vector<fs::path> gone;
  fs::directory_iterator entry(kept_, ignored), end;
  for (; !ignored && entry != end; entry.increment(ignored)) {
    const std::string name = entry->path().filename().string();
    const int64_t step = step_of(name);
    const bool part = name.starts_with(kStart) && name.ends_with(".part");
    if (part || (step >= 0 && !stays(step))) gone.push_back(entry->path());
  }
  for (const fs::path& path : gone) fs::remove(path, ignored);
}

bool BestModelFiles::is_whole(const BestModel& best) const { return best.found() && holds(path_, best.checksum); }

std::string BestModelFiles::restore(BestModel& best) const {
  std::string note;
  if (best.found() && !holds(path_, best.checksum)) {
    if (holds(kept_path(best.step), best.checksum)) {
      copy_durably(kept_path(best.step), path_);
    } else {
      note = text(path_.string(), ": the best model, of epoch ", best.epoch, ", is ",
                  is_there(path_) ? "not as it was written" : "gone", "; the best one from here on takes its place");
      best = {};
    }
  }
  if (!best.found() && is_there(path_)) {
    std::error_code error;
    fs::remove(path_, error);
    if (error) throw FileError(text(path_.string(), ": cannot be removed (", error.message(), ")"), error.value());
  }
  remove_kept([&](int64_t step) { return step <= best.step; });
  return note;
}

}  // namespace duet
