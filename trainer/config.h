// What a training run can be told. One table (config_keys.cpp) names every key, its type, range and meaning; parsing,
// validation, the resolved config of a run, `duet config` and docs/CONFIG.md all read it. The defaults are those
// of METHOD.md section 6 and stand here alone.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <variant>
#include <vector>

namespace duet {

struct Config {
  std::string data;
  std::vector<std::string> map, modalities;
  std::string pool = "mean";
  std::string scaling_a = "auto", scaling_v = "auto";
  double input_limit = 5;
  double labels = 1, validation = 0;

  std::string method = "psd";
  uint64_t seed = 0;
  int64_t threads = 0, data_memory = 0;

  int64_t epochs = 40, steps = 0;
  int64_t batch_size = 128, smallest_batch = 8;
  std::string sampler = "shuffled";
  int64_t balanced_classes = 8, balanced_samples = 16;
  int64_t evaluate_every_epochs = 0, patience = 0, evaluation_block_rows = 1024;
  int64_t log_every_steps = 0;
  int64_t checkpoint_every_epochs = 0, checkpoint_every_steps = 0, checkpoints_kept = 2;
  bool tensorboard = false;
  std::string init;

  std::vector<int64_t> hidden_units = {256, 256};
  int64_t embedding_dim = 64;
  std::string activation = "relu";
  bool layer_norm = false;
  double dropout = 0.2;
  double logit_scale = 10;

  std::string optimizer = "adamw";
  double learning_rate = 1e-3;
  std::string schedule = "constant";
  int64_t warmup_steps = 0;
  double learning_rate_final_share = 0;
  double beta1 = 0.9, beta2 = 0.999, optimizer_eps = 1e-8;
  double momentum = 0.9;
  double weight_decay = 1e-3, gradient_clip = 0;
  double teacher_momentum = 0.95;

  double ratio_end = 0.3, ratio_epochs_share = 0.6, rho_epochs_share = 0.3;
  double margin = 0.2;
  std::string mining = "all";
  int64_t mining_slots = 1;
  double temperature = 0.1, teacher_temperature = 0.1;
  bool learn_temperature = false;
  std::string pair_loss = "infonce";
  double pair_bias = -10, pair_margin = 0.25;
  double label_weight = 1, cross_weight = 1, kl_weight = 0.5, soft_weight = 0.5, pair_weight = 1,
         contrastive_weight = 1, decorrelation_weight = 0;
  bool hide_labels = true, lift = true, trust = true, pair_evidence = true;
  double largest_lift = 100, unannotated_kappa = 0.5, supervision_momentum = 0.95;

  bool operator==(const Config&) const = default;
};

// The values a number may take; infinite where there is no bound.
struct Range {
  double low, high;
  bool low_open = false, high_open = false;
  bool holds(double value) const;
};

struct ConfigKey {
  using Member =
      std::variant<bool Config::*, int64_t Config::*, uint64_t Config::*, double Config::*, std::string Config::*,
                   std::vector<int64_t> Config::*, std::vector<std::string> Config::*>;
  const char* name;
  Member member;
  Range range;  // of numbers, or of each number of a list
  std::vector<std::string> choices;
  const char* description;
  // What a run that is resumed may have in place of its value: another one where that changes none of its numbers.
  enum class OnResume { same, larger, any } on_resume = OnResume::same;
};

std::span<const ConfigKey> config_keys();
const ConfigKey* find_key(const std::string& name);
// The key that is the fewest edits away.
const ConfigKey& nearest_key(const std::string& name);
// Characters to add, to leave out or to replace until one word is the other (Levenshtein).
size_t edit_distance(const std::string& a, const std::string& b);
std::string type_name(const ConfigKey& key);
std::string range_text(const ConfigKey& key);

// Each throws UsageError, its text starting with source ("config.json", "--set", "--labels"), and leaves config as it
// was. A number of any key must keep to its range as a float32, which is what the kernels take: 1e-300 is no value
// above 0 there. Objects from files may have the key "format".
// A key that earlier versions had and that no longer has an effect is passed over: what each returns says so, a line a
// key.
std::vector<std::string> set_from_json(Config& config, const nlohmann::json& object, const std::string& source);
std::vector<std::string> set_from_file(Config& config, const std::string& path);
void set_from_text(Config& config, const std::string& name, const std::string& value, const std::string& source);
std::vector<std::string> set_from_assignment(Config& config, const std::string& assignment);  // "key=value", of --set

// What no key alone can tell, that the keys fit together: one line, or "" where they do. validate() throws it as
// UsageError.
std::string misfit(const Config& config);
void validate(const Config& config);
// A modality is the stem of its .npy file, and stands in config.json and in the model.
bool is_modality_name(const std::string& name);

// Every key with its value, in the table's order.
nlohmann::ordered_json to_json(const Config& config);
// A key's value where nobody sets it, as JSON writes it.
std::string default_text(const ConfigKey& key);

}  // namespace duet
