#include "trainer/checkpoint.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <iterator>
#include <utility>

#include "kernels/core/error.h"
#include "runtime/files/atomic_file.h"
#include "runtime/files/checksum.h"
#include "runtime/files/file_bytes.h"
#include "runtime/json_text.h"
#include "trainer/checkpoint_reader.h"
#include "trainer/format.h"
#include "trainer/usage_error.h"

namespace duet {
namespace {

namespace fs = std::filesystem;

constexpr const char *kTensors = ".safetensors", *kManifest = ".json";
constexpr std::array<std::pair<ParameterKind, const char*>, 3> kKinds = {
    {{ParameterKind::value, "student."},
     {ParameterKind::first_moment, "first_moment."},
     {ParameterKind::second_moment, "second_moment."}}};

// "step-12.json": 12; other names: none.
std::optional<int64_t> step_of(const std::string& name, const std::string& ending) {
  constexpr std::string_view kStart = "step-";
  if (!name.starts_with(kStart) || !name.ends_with(ending) || name.size() < kStart.size() + ending.size())
    return std::nullopt;
  int64_t step = 0;
  const char *const begin = name.data() + kStart.size(), *const end = name.data() + name.size() - ending.size();
  const auto [stop, error] = std::from_chars(begin, end, step);
  if (error != std::errc() || stop != end || step < 0) return std::nullopt;
  return step;
}

std::vector<std::string> names_in(const fs::path& folder) {
  std::vector<std::string> names;
  std::error_code refused;
  fs::directory_iterator entry(folder, refused), end;
  for (; !refused && entry != end; entry.increment(refused)) names.push_back(entry->path().filename().string());
  return names;
}

}  // namespace

void Checkpoint::restore(ParameterStore& parameters) const {
  read_parameters(file, parameters, ParameterKind::teacher);
  for (const auto& [kind, prefix] : kKinds) read_parameters(file, parameters, kind, prefix);
}

fs::path CheckpointFolder::path_of(int64_t step, const char* ending) const {
  return path_ / text("step-", step, ending);
}

fs::path CheckpointFolder::last_file() const { return last_ ? path_of(*last_, kTensors) : fs::path(); }

// A manifest that cannot be read is of a damaged checkpoint.
std::set<int64_t> CheckpointFolder::best_steps() const {
  std::set<int64_t> out;
  for (const int64_t step : steps()) {
    try {
      out.insert(best_step_in(path_of(step, kManifest)));
    } catch (const DamagedCheckpoint&) {
    } catch (const JsonError&) {
    } catch (const nlohmann::json::exception&) {
    } catch (const Error&) {
    }
  }
  out.erase(0);
  return out;
}

std::vector<int64_t> CheckpointFolder::steps() const {
  std::vector<int64_t> steps;
  for (const std::string& name : names_in(path_))
    if (const auto step = step_of(name, kManifest)) steps.push_back(*step);
  std::ranges::sort(steps);
  return steps;
}

std::optional<Checkpoint> CheckpointFolder::newest(std::vector<std::string>& notes) {
  const std::vector<int64_t> all = steps();
  for (auto step = all.rbegin(); step != all.rend(); ++step) {
    const std::string name = path_of(*step, kManifest).string();
    const auto left_out = [&](const std::string& reason) {
      notes.push_back(text(name, ": left out: ", reason));
      usage_require(std::next(step) != all.rend(), name, ": ", reason, "; there is no older checkpoint",
                    notes.size() > 1 ? ", and newer ones are damaged too" : "");
    };
    try {
      Checkpoint found = read_checkpoint(path_of(*step, kManifest), path_of(*step, kTensors), *step);
      last_ = *step;
      return found;
    } catch (const DamagedCheckpoint& damage) {
      left_out(damage.what());
    } catch (const JsonError& error) {
      left_out(error.with_key());
    } catch (const nlohmann::json::exception& error) {
      left_out(text("a value of another type (", error.what(), ")"));
    } catch (const Error& error) {  // of the system, or a file that is none of this format
      left_out(error.what());
    }
  }
  return std::nullopt;
}

void CheckpointFolder::save(const Model& model, const RunFacts& facts, const TrainingState& training,
                            const LoopState& loop, int64_t kept) {
  // One of this step may be there: a process that was killed may not have come to removing others.
  if (last_ != training.steps) write(model, facts, training, loop);
  remove_parts();
  const std::vector<int64_t> all = steps();
  for (size_t k = 0; k + static_cast<size_t>(kept) < all.size(); ++k) remove(all[k]);
}

void CheckpointFolder::write(const Model& model, const RunFacts& facts, const TrainingState& training,
                             const LoopState& loop) {
  const int64_t step = training.steps;
  std::error_code error;
  fs::create_directory(path_, error);
  if (error) throw FileError(text(path_.string(), ": cannot be made (", error.message(), ")"), error.value());
  remove_parts();
  // Of steps that this run has not come to: it went on from an older checkpoint.
  for (const int64_t other : steps())
    if (!last_ || other > *last_) remove(other);

  // ordered_json writes a double with as many digits as tell it from every other.
  nlohmann::ordered_json run = {{"step", step},
                                {"updates", training.updates},
                                {"epoch", loop.epoch},
                                {"batch", loop.batch},
                                {"changes", loop.changes},
                                {"seconds", loop.seconds},
                                {"metrics_bytes", loop.metrics_bytes},
                                {"machine", facts.machine},
                                {"data", facts.data}};
  if (loop.best.found()) {
    run[kCheckpointBest] = to_json(loop.best);
    run[kCheckpointBest]["evaluations_since"] = loop.best.evaluations_since;
    run[kCheckpointBest]["xxh64"] = loop.best.checksum;
  }
  const std::array<double, 2> rates = {training.pair_weight, training.learning_rate};
  std::array<double, kLossNames.size()> losses{};
  for (size_t k = 0; k < losses.size(); ++k) losses[k] = loop.sum.*kLossNames[k].value;
  std::vector<NamedArray> arrays = {
      {"run.losses", DUET_DTYPE_F64, {kLossCount}, losses.data()},
      {"run.rates", DUET_DTYPE_F64, {2}, rates.data()},
      {"run.class_frequencies", DUET_DTYPE_F32, {std::ssize(training.frequencies)}, training.frequencies.data()},
      {"run.concord", DUET_DTYPE_F32, {1}, &training.concord}};
  std::array<std::vector<float>, kKinds.size()> values;
  for (size_t k = 0; k < kKinds.size(); ++k) {
    values[k] = model.parameters().read(kKinds[k].first);
    std::ranges::move(named_arrays(model.parameters(), values[k], kKinds[k].second), std::back_inserter(arrays));
  }
  const fs::path path = path_of(step, kTensors);
  const Checksum written = model.save_with(path, arrays, {{kCheckpointRun, run.dump()}});
  nlohmann::ordered_json manifest = {{kFormatKey, kCheckpointFormat},
                                     {"file", path.filename().string()},
                                     {"bytes", written.bytes()},
                                     {"xxh64", checksum_text(written.value())}};
  if (loop.best.found()) manifest[kCheckpointBest] = loop.best.step;
  const std::string words = manifest.dump(2) + '\n';
  AtomicFile file(path_of(step, kManifest));
  file.write(words.data(), words.size());
  file.commit();
  last_ = step;
}

// The manifest first: without it the other file is nothing. What cannot be removed is in nobody's way.
void CheckpointFolder::remove(int64_t step) const {
  std::error_code ignored;
  fs::remove(path_of(step, kManifest), ignored);
  fs::remove(path_of(step, kTensors), ignored);
}

// The process that writes here is this one alone.
void CheckpointFolder::remove_parts() const {
  std::error_code ignored;
  for (const std::string& name : names_in(path_)) {
    const auto step = step_of(name, kTensors);
    const bool alone = step && !fs::exists(path_of(*step, kManifest), ignored);
    if (alone || (name.starts_with("step-") && name.ends_with(".part"))) fs::remove(path_ / name, ignored);
  }
}

}  // namespace duet
