// --init: a run that starts from the weights of a model.
#pragma once

#include <string>
#include <vector>

#include "trainer/model.h"

namespace duet {

// Puts the weights of config.init, a model or checkpoint file or a run directory, into a new model: student and moving
// average start from the file's moving average. The classifier keeps its draw where the classes' labels are others, a
// learned temperature or bias where the file has none. Returns a line that says what was taken, and one for each of
// these, and for inputs that are scaled otherwise. Throws UsageError, naming file and tensor, where encoders or
// modalities do not fit.
std::vector<std::string> take_initial_weights(Model& model, duet_context* context);

}  // namespace duet
