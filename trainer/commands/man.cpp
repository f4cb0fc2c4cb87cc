// `duet man`: the manual page, in the language of man(7), read off the declarations.
#include <CLI/CLI.hpp>
#include <iostream>
#include <string>

#include "kernels/duet.h"
#include "trainer/commands/command.h"

namespace duet {
namespace {

// Words as a line of text: no line of them is taken for a request, no hyphen for a typographic one.
std::string roff(const std::string& words) {
  std::string out;
  for (const char c : words) {
    if ((c == '.' || c == '\'') && (out.empty() || out.back() == '\n')) out += "\\&";
    if (c == '\\')
      out += "\\e";
    else if (c == '-')
      out += "\\-";
    else
      out += c;
  }
  return out;
}

// "\fB--run\fR \fIDIR\fR"
std::string option_words(const CLI::Option& option) {
  std::string words = "\\fB" + roff(option.get_name(option.get_positional(), true)) + "\\fR";
  if (option.get_expected_max() > 0 && !option.get_positional())
    words += " \\fI" + roff(option.get_type_name()) + "\\fR";
  return words;
}

void print_options(const CLI::App& app) {
  for (const CLI::Option* option : app.get_options())
    std::cout << ".TP\n"
              << option_words(*option) << '\n'
              << roff(option->get_description()) << (option->get_required() ? " (required)" : "") << '\n';
}

// What stands below an application's options: "Examples:" and a line each.
void print_examples(const CLI::App& app) {
  const std::string footer = app.get_footer();
  const size_t end = footer.find('\n');
  if (end == std::string::npos) return;
  std::cout << ".PP\nExamples:\n.nf\n" << roff(footer.substr(end + 1)) << "\n.fi\n";
}

class ManCommand final : public Command {
 public:
  void declare(CLI::App& app) override { program_ = app.get_parent(); }
  int run() override {
    std::cout << ".TH DUET 1 \"\" \"duet " << duet_version() << "\" \"User Commands\"\n.SH NAME\n"
              << "duet \\- train and use encoders of two modalities that share one space\n.SH SYNOPSIS\n"
              << ".B duet\n\\fICOMMAND\\fR [\\fIOPTIONS\\fR]\n.SH DESCRIPTION\n"
              << roff(program_->get_description()) << '\n'
              << "Results go to standard output, everything else to standard error.\n.SH OPTIONS\n";
    print_options(*program_);
    std::cout << ".SH COMMANDS\n";
    for (const CLI::App* command : program_->get_subcommands([](const CLI::App*) { return true; })) {
      std::cout << ".SS duet " << roff(command->get_name()) << '\n' << roff(command->get_description()) << ".\n";
      print_options(*command);
      print_examples(*command);
    }
    std::cout << ".SH EXIT STATUS\n.TP\n0\ndone\n.TP\n1\nit failed\n.TP\n2\n"
              << "a mistake in the arguments or in a file, which one line on standard error names\n"
              << ".TP\n128 plus a signal's number\na signal ended it early, and nothing is left half\\-written\n"
              << ".SH ENVIRONMENT\n.TP\n.B NO_COLOR\nset to anything: no colour on a terminal\n";
    return kExitDone;
  }

 private:
  const CLI::App* program_ = nullptr;
};

}  // namespace

std::unique_ptr<Command> make_man() { return std::make_unique<ManCommand>(); }

}  // namespace duet
