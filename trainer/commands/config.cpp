// `duet config`: the keys of a config file.
#include <iostream>
#include <nlohmann/json.hpp>

#include "trainer/commands/command.h"
#include "trainer/commands/options.h"
#include "trainer/config_text.h"

namespace duet {
namespace {

class ConfigCommand final : public Command {
 public:
  void declare(CLI::App& app) override {
    app.add_flag("--schema", schema_, "print the JSON Schema of a config file");
    app.add_flag("--table", table_, "print the keys as a Markdown table")->excludes("--schema");
  }
  int run() override {
    if (schema_)
      std::cout << config_schema().dump(2) << '\n';
    else
      std::cout << (table_ ? keys_table() : commented_config());
    return kExitDone;
  }

 private:
  bool schema_ = false, table_ = false;
};

}  // namespace

std::unique_ptr<Command> make_config() { return std::make_unique<ConfigCommand>(); }

}  // namespace duet
