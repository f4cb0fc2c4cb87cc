// `duet completion bash|zsh|fish`: a script that completes duet's commands, options and their values in that shell.
#pragma once

#include <string>

namespace CLI {
class App;
}

namespace duet {

// Of the commands and options that program has. Throws UsageError for another shell.
std::string completion_script(const CLI::App& program, const std::string& shell);

}  // namespace duet
