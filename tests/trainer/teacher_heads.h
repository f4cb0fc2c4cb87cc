// What the teacher says of some training rows: of one side, in evaluation mode.
#pragma once

#include <cstdint>
#include <vector>

#include "data/dataset.h"
#include "runtime/device.h"
#include "trainer/model.h"

namespace duet::testing {

struct TeacherHeads {
  std::vector<double> embeddings, logits;  // rows x d, rows x C
};

inline TeacherHeads teacher_heads(Device& device, Model& model, const data::Split& split, int side,
                                  const std::vector<int64_t>& rows) {
  const data::Features& all = split.features[static_cast<size_t>(side)];
  std::vector<float> x;
  for (const int64_t row : rows) x.insert(x.end(), all.row(row), all.row(row) + all.columns);
  Tape tape(device.context());
  const NoGradient no_gradient(tape);
  const Tensor inputs = Tensor::view(x.data(), static_cast<int64_t>(rows.size()), all.columns);
  const ParameterView teacher = model.parameters().teacher();
  const Tensor outputs = side == 0 ? model.encoders().outputs_a(tape, teacher, inputs, Mode::evaluation())
                                   : model.encoders().outputs_v(tape, teacher, inputs, Mode::evaluation());
  const ops::Head head = model.classifier().forward(tape, teacher, {outputs})[0];
  return {{head.embeddings.data, head.embeddings.data + head.embeddings.size()},
          {head.logits.data, head.logits.data + head.logits.size()}};
}

}  // namespace duet::testing
