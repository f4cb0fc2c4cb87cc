// `duet export`: a trained model in the forms that other programs take.
//   --onnx FILE  trainer/onnx.h
//   --hub DIR    a folder as model hubs hold one: model.safetensors, config.json, README.md, the model's card
#pragma once

#include "trainer/command_line.h"

namespace duet {

// The exit code. Throws as the other commands do.
int export_command(const CommandLine& line);

}  // namespace duet
