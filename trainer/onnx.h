// A model as ONNX: what `duet embed` does, for runtimes of others. Operator set 17 and IR version 8, which runtimes
// since ONNX 1.12 (2022) read.
//
// Inputs, float32: a matrix a modality, by its name ("audio", "visual"), rows x the width of its files, as the files
// have the values. Each has a number of rows of its own, which may be 0: whoever wants one modality gives no row of the
// other. Outputs, float32: "<modality>_embedding", rows x embedding_dim, of norm 1, and "<modality>_logits", rows x
// classes. Metadata: duet_version, class_values (JSON, the label of each column of logits).
#pragma once

#include <string>

#include "trainer/model.h"

namespace duet {

// The bytes of a .onnx file. Throws UsageError where they would be over the 2 GB that the format allows.
std::string onnx_model(const Model& model);

}  // namespace duet
