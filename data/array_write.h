// Arrays of any format as .npy files.
#pragma once

#include <string>

#include "data/labels.h"
#include "data/stored_array.h"
#include "runtime/files/atomic_file.h"

namespace duet::data {

std::string type_name(ElementType type);  // as NumPy has it, "float32"; of strings "strings"

// The rows of the view in C order, little-endian and of the type that they have (bfloat16 as float32). Throws
// DUET_STATUS_INVALID_ARGUMENT, naming the array, where it has no rows or no numbers.
void write_npy(AtomicFile& file, const ArrayView& view);
// Labels of shape (n): whole numbers of 64 bits where the column has numbers, else strings of fixed width; sets of
// classes as bytes of 0 and 1, of shape (n, C).
void write_npy(AtomicFile& file, const LabelColumn& labels);

}  // namespace duet::data
