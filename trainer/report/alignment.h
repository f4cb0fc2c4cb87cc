// How a batch of the training split is aligned: P of METHOD.md 4, the softmax over the scores of each row of A with all
// rows of V, by the student and by the teacher. A run keeps what it was before training in a file of its folder.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "trainer/model.h"

namespace duet::report {

// Numbers of rows, and the class of each (-1: unlabelled), ordered by class.
struct AlignmentBatch {
  std::vector<int64_t> rows;
  std::vector<int32_t> classes;
};
// At most 24 rows, of eight classes where there are so many: classes and rows as the seed draws them. Rows without a
// label only where the others are too few.
AlignmentBatch draw_batch(std::span<const int32_t> labels, uint64_t seed);

// n x n each, by rows; student: empty where it is not known.
struct Alignment {
  std::vector<float> student, teacher;
};
enum class Members { teacher, both };
// features: of the training split, scaled. Both empty where a probability is not finite.
Alignment align(duet_context* context, const Model& model,
                const std::array<data::Features, data::kModalities>& features, const AlignmentBatch& batch,
                Members members);

// {"rows", "classes", "student", "teacher"}; probabilities are rounded to a 10,000th.
nlohmann::ordered_json to_json(const AlignmentBatch& batch, const Alignment& alignment);
struct RecordedAlignment {
  AlignmentBatch batch;
  Alignment alignment;
};
// None where the folder has no such file, or it is of a split whose rows have other labels. Throws UsageError where it
// is of a newer format.
std::optional<RecordedAlignment> read_alignment(const std::filesystem::path& run, std::span<const int32_t> labels);

}  // namespace duet::report
