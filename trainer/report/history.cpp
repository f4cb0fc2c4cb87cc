#include "trainer/report/history.h"

#include <cmath>
#include <fstream>
#include <iterator>

#include "runtime/json_text.h"
#include "trainer/format.h"
#include "trainer/run_directory.h"
#include "trainer/usage_error.h"

namespace duet::report {
namespace {

namespace fs = std::filesystem;

nlohmann::json read_line(const std::string& line, const fs::path& file, size_t number) {
  try {
    return read_json(line);
  } catch (const JsonError& error) {
    throw UsageError(text(file.string(), ": line ", number, ": ", error.with_key()));
  }
}

}  // namespace

double value_at(const nlohmann::json& line, const std::string& path) {
  const nlohmann::json* at = &line;
  for (size_t begin = 0; begin <= path.size();) {
    const size_t end = std::min(path.find('/', begin), path.size());
    const auto found = at->find(path.substr(begin, end - begin));
    if (!at->is_object() || found == at->end()) return std::nan("");
    at = &*found;
    begin = end + 1;
  }
  return at->is_number() ? at->get<double>() : std::nan("");
}

std::string split_of(const nlohmann::json& evaluation) {
  const auto found = evaluation.find("split"), model = evaluation.find("model");
  std::string split = found != evaluation.end() && found->is_string() ? found->get<std::string>() : "test";
  return model != evaluation.end() && *model == "best" ? split + ", best model" : split;
}

std::vector<double> RunHistory::values(const std::vector<nlohmann::json>& lines, const std::string& path) {
  std::vector<double> out;
  for (const nlohmann::json& line : lines) out.push_back(value_at(line, path));
  return out;
}

double RunHistory::seconds() const { return epochs.empty() ? 0 : value_at(epochs.back(), "seconds"); }

const nlohmann::json* RunHistory::last_evaluation() const {
  const nlohmann::json* last = nullptr;
  for (const nlohmann::json& line : evaluations)
    if (split_of(line) == "test") last = &line;
  return last;
}

RunHistory read_history(const fs::path& run) {
  std::error_code refused;
  usage_require(fs::exists(run / kConfigFile, refused), run.string(), ": no run: it has no ", kConfigFile);
  RunHistory out;
  set_from_file(out.config, (run / kConfigFile).string());
  if (std::ifstream file(run / kMachineFile); file) {
    const std::string words{std::istreambuf_iterator<char>(file), {}};
    out.machine = read_line(words, run / kMachineFile, 1);
    usage_require(out.machine.is_object(), (run / kMachineFile).string(), ": expected an object");
    out.machine.erase(kFormatKey);
  }
  const fs::path metrics = run / kMetricsFile;
  std::ifstream file(metrics);
  usage_require(file.good(), metrics.string(), ": cannot be read");
  size_t number = 0;
  for (std::string words; std::getline(file, words);) {
    if (file.eof()) break;  // a line that is not whole: of a process that writes, or that was killed
    nlohmann::json line = read_line(words, metrics, ++number);
    usage_require(line.is_object(), metrics.string(), ": line ", number, ": expected an object");
    if (line.contains(kFormatKey))
      require_known_format(line[kFormatKey], kMetricsFormat, metrics.string());
    else if (line.contains("map"))
      out.evaluations.push_back(std::move(line));
    else if (line.contains("resumed"))
      out.resumed.push_back(std::move(line));
    else if (line.contains("seconds"))
      out.epochs.push_back(std::move(line));
  }
  return out;
}

}  // namespace duet::report
