// The sample set that is linked into the program: spoken digits and drawn digits, made by samples/make_digits.py. It needs no path.
#pragma once

#include "data/dataset.h"

namespace duet::data {

// "digits (built in)": modalities audio and visual, 10 classes, every row labelled.
Dataset sample_dataset();

}  // namespace duet::data
