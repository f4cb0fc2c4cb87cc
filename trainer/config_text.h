// The config's table as text: for people who write a config file, for editors that check one, for docs/CONFIG.md.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

namespace duet {

// A config file with every key at its default, each under a comment that says what it means and may be.
std::string commented_config();
// JSON Schema (draft 2020-12) of a config file.
nlohmann::ordered_json config_schema();
// As Markdown: docs/CONFIG.md holds it.
std::string keys_table();

}  // namespace duet
