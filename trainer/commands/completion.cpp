// `duet completion`: a script that completes commands, options and their values, read off the declarations.

#include <CLI/CLI.hpp>
#include <iostream>
#include <sstream>
#include <string>
#include <vector>

#include "runtime/printable.h"
#include "trainer/commands/command.h"
#include "trainer/commands/options.h"
#include "trainer/config.h"
#include "trainer/usage_error.h"

namespace duet {
namespace {

struct Option {
  std::string name, description;
  bool takes_value = false;
  std::vector<std::string> choices;  // of the config key of this name
};
struct Declared {
  std::string name, description;
  std::vector<Option> options;
};

// The first line of a description, without what would end a shell's string or a field of its list.
std::string plain(std::string words) {
  words = words.substr(0, words.find('\n'));
  for (char& c : words)
    if (c == '\'' || c == '"' || c == '`' || c == ':' || c == '[' || c == ']' || c == '\\' || c == '$') c = ' ';
  return words;
}

std::vector<Declared> commands_of(const CLI::App& program) {
  std::vector<Declared> commands;
  for (const CLI::App* each : program.get_subcommands([](const CLI::App*) { return true; })) {
    Declared& command = commands.emplace_back(Declared{each->get_name(), plain(each->get_description()), {}});
    for (const CLI::Option* option : each->get_options()) {
      if (option->get_lnames().empty()) continue;  // a positional
      const std::string& name = option->get_lnames().front();
      Option& made =
          command.options.emplace_back(Option{name, plain(option->get_description()), option->get_type_size() > 0, {}});
      // Of an option that stands for a key, not of one that is called as a key is.
      if (const ConfigKey* key = find_key(name); key && option->get_description() == key_words(*key))
        made.choices = key->choices;
    }
  }
  return commands;
}

std::string joined(const std::vector<std::string>& words, const char* between) {
  std::string all;
  for (const std::string& word : words) all += (all.empty() ? "" : between) + word;
  return all;
}

std::string bash(const std::vector<Declared>& commands) {
  std::ostringstream out;
  std::vector<std::string> names;
  for (const Declared& command : commands) names.push_back(command.name);
  out << "# source <(duet completion bash)\n_duet() {\n"
      << "  local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} options=\n"
      << "  if [ \"$COMP_CWORD\" -eq 1 ]; then\n    COMPREPLY=($(compgen -W '" << joined(names, " ")
      << " --help --version' -- \"$word\"))\n    return\n  fi\n  case ${COMP_WORDS[1]} in\n";
  for (const Declared& command : commands) {
    out << "    " << command.name << ")\n      options='";
    for (size_t k = 0; k < command.options.size(); ++k) out << (k ? " --" : "--") << command.options[k].name;
    out << "'\n";
    for (const Option& option : command.options)
      if (!option.choices.empty())
        out << "      [ \"$before\" = --" << option.name << " ] && COMPREPLY=($(compgen -W '"
            << joined(option.choices, " ") << "' -- \"$word\")) && return\n";
    out << "      ;;\n";
  }
  out << "  esac\n  COMPREPLY=()\n"
      << "  case $word in\n    -*) COMPREPLY=($(compgen -W \"$options\" -- \"$word\")) ;;\n  esac\n}\n"
      << "complete -o default -F _duet duet\n";
  return out.str();
}

std::string zsh(const std::vector<Declared>& commands) {
  std::ostringstream out;
  out << "#compdef duet\n# source <(duet completion zsh)\n_duet() {\n  local -a commands\n  commands=(\n";
  for (const Declared& command : commands) out << "    '" << command.name << ':' << command.description << "'\n";
  out << "  )\n  if (( CURRENT == 2 )); then\n    _describe command commands\n    return\n  fi\n  case $words[2] in\n";
  for (const Declared& command : commands) {
    out << "    " << command.name << ")\n      _arguments \\\n";
    for (const Option& option : command.options) {
      out << "        '--" << option.name << '[' << option.description << ']';
      if (!option.choices.empty())
        out << ':' << option.name << ":(" << joined(option.choices, " ") << ')';
      else if (option.takes_value)
        out << ':' << option.name << ":_files";
      out << "' \\\n";
    }
    out << "        '*:file:_files'\n      ;;\n";
  }
  out << "  esac\n}\ncompdef _duet duet\n";
  return out.str();
}

std::string fish(const std::vector<Declared>& commands) {
  std::ostringstream out;
  out << "# duet completion fish | source\n";
  for (const Declared& command : commands)
    out << "complete -c duet -n __fish_use_subcommand -a " << command.name << " -d '" << command.description << "'\n";
  for (const Declared& command : commands)
    for (const Option& option : command.options) {
      out << "complete -c duet -n '__fish_seen_subcommand_from " << command.name << "' -l " << option.name << " -d '"
          << option.description << '\'';
      if (!option.choices.empty())
        out << " -x -a '" << joined(option.choices, " ") << '\'';
      else if (option.takes_value)
        out << " -r";
      out << '\n';
    }
  return out.str();
}

class CompletionCommand final : public Command {
 public:
  void declare(CLI::App& app) override {
    program_ = app.get_parent();
    app.add_option("SHELL", shell_, "bash, zsh or fish")->type_name("SHELL")->required();
  }
  int run() override {
    const std::vector<Declared> commands = commands_of(*program_);
    usage_require(shell_ == "bash" || shell_ == "zsh" || shell_ == "fish",
                  "completion: expected bash, zsh or fish, got '", shown(shell_), "'");
    std::cout << (shell_ == "bash" ? bash(commands) : shell_ == "zsh" ? zsh(commands) : fish(commands));
    return kExitDone;
  }

 private:
  const CLI::App* program_ = nullptr;
  std::string shell_;
};

}  // namespace

std::unique_ptr<Command> make_completion() { return std::make_unique<CompletionCommand>(); }

}  // namespace duet
