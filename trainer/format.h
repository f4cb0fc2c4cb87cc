// The numbers of the formats of the files that a run leaves behind, each under the key "format". A file without one is
// of duet 0.1.0, before there were numbers. A format's number grows when a reader of the old one would misread the new
// one; readers know every number up to their own.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "runtime/json_text.h"
#include "trainer/usage_error.h"

namespace duet {

inline constexpr const char* kFormatKey = "format";
inline constexpr int64_t kConfigFormat = 1, kMachineFormat = 1, kMetricsFormat = 1, kModelFormat = 1,
                         kEvidenceFormat = 1, kProfileFormat = 1, kCheckpointFormat = 1, kReportFormat = 1,
                         kAlignmentFormat = 1, kAblationFormat = 1;

// Throws UsageError, naming the file and both numbers, unless given is a number of 1 to newest.
inline void require_known_format(const nlohmann::json& given, int64_t newest, const std::string& file) {
  usage_require(given.is_number_integer() && given.get<double>() >= 1, file,
                ": format: expected a whole number from 1, got ", shown_json(given));
  usage_require(given.get<double>() <= static_cast<double>(newest), file, ": its format is ", shown_json(given),
                ", and this duet reads up to ", newest, "; a newer duet wrote it");
}

}  // namespace duet
