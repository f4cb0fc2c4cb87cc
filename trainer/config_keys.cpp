// The table of config keys, and what is read off it alone.
#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numeric>

#include "kernels/core/error.h"
#include "trainer/config.h"

namespace duet {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr Range kAnyValue{-kInfinity, kInfinity};
constexpr Range kAnyNumber{-kInfinity, kInfinity, true, true};
constexpr Range kNotNegative{0, kInfinity, false, true};
constexpr Range kPositive{0, kInfinity, true, true};
constexpr Range kShare{0, 1};
constexpr Range kBelowOne{0, 1, false, true};

// Beyond these no product of two extents is safe from overflow, and no machine has the memory.
constexpr double kMostUnits = 1 << 20, kMostRows = 1 << 30;

constexpr double kMostMebibytes = 0x1p40;  // as bytes they fit into 64 bits

constexpr double kLargestSeed = 0x1p64;  // 2^64 - 1, which is no double

constexpr auto kAnyOnResume = ConfigKey::OnResume::any;

Range at_least(double low) { return {low, kInfinity}; }

const std::vector<std::string> kScalings = {"auto", "zscore", "norm", "none"};

const std::vector<ConfigKey>& table() {
  static const std::vector<ConfigKey> keys = {
      {"data",
       &Config::data,
       kAnyValue,
       {},
       "folder or file of the data set; empty: the digits embedded in the program",
       kAnyOnResume},
      {"map",
       &Config::map,
       kAnyValue,
       {},
       "where the arrays of a data set lie that is no folder with train/ and test/, each as ARRAY/SPLIT=PATH; empty: "
       "their names say it",
       kAnyOnResume},
      {"modalities",
       &Config::modalities,
       kAnyValue,
       {},
       "the two modalities, first A, then V; empty: the two that the data set holds, in its order"},
      {"pool",
       &Config::pool,
       kAnyValue,
       {"mean", "max", "first", "flatten"},
       "what becomes of a time axis, of arrays n x t x d (and of further axes between n and d): the mean or the "
       "largest value over the times, the first time "
       "alone, or t d columns"},
      {"scaling_a", &Config::scaling_a, kAnyValue, kScalings,
       "inputs of A: `zscore` (x - mean) / std; `norm` x sqrt(width) / mean row norm; both: 0 for a column that is "
       "constant in training "
       "(equal values, std within what its type rounds off, or 1 / std not finite); `none`: as they are; `auto`: "
       "`norm` where no training value is "
       "negative, the smallest is 0 and either over 50 % are 0, or over 10 % and all rows share one "
       "sum or norm, else `zscore`"},
      {"scaling_v", &Config::scaling_v, kAnyValue, kScalings, "the same for V"},
      {"input_limit",
       &Config::input_limit,
       kNotNegative,
       {},
       "scaled inputs are clipped to plus or minus this; 0: not clipped"},
      {"labels",
       &Config::labels,
       {0, 1, true},
       {},
       "share of each class that keeps its label (at least one sample a class)"},
      {"validation",
       &Config::validation,
       kBelowOne,
       {},
       "share of the training rows of each class, and of those without a label, that validate in place of training, "
       "for "
       "a data set without val/; the last labelled row of a class stays. 0: none"},
      {"method", &Config::method, kAnyValue, {"label", "triplet", "contrastive", "psd"}, "the training method"},
      {"seed", &Config::seed, {0, kLargestSeed}, {}, "seed of every random draw"},
      {"threads",
       &Config::threads,
       {0, 1024},
       {},
       "CPU threads; 0: what affinity mask and cgroup allow. The result does not depend on it",
       kAnyOnResume},
      {"data_memory",
       &Config::data_memory,
       {0, kMostMebibytes},
       {},
       "MiB of memory for features, and for each file that they are read from; what is beyond it lies in a file and is "
       "read as needed. 0: a quarter of what is available. The result does not depend on it",
       kAnyOnResume},
      {"epochs",
       &Config::epochs,
       {1, 1e9},
       {},
       "passes over the training rows; the schedules of r, rho and learning rate span them",
       ConfigKey::OnResume::larger},
      {"steps",
       &Config::steps,
       at_least(0),
       {},
       "stop after this many steps, the schedules unchanged; 0: run to the last epoch",
       kAnyOnResume},
      {"batch_size", &Config::batch_size, {2, kMostRows}, {}, "rows a batch (sampler `shuffled`)"},
      {"smallest_batch", &Config::smallest_batch, {2, kMostRows}, {}, "a last batch with fewer rows is left out"},
      {"sampler",
       &Config::sampler,
       kAnyValue,
       {"shuffled", "balanced"},
       "`shuffled`: every row once an epoch; `balanced`: labelled rows, P classes with K each"},
      {"balanced_classes", &Config::balanced_classes, {1, kMostUnits}, {}, "P of the sampler `balanced`"},
      {"balanced_samples", &Config::balanced_samples, {1, kMostUnits}, {}, "K of the sampler `balanced`"},
      {"evaluate_every_epochs",
       &Config::evaluate_every_epochs,
       at_least(0),
       {},
       "evaluate this often, and after the last epoch: the validation split, or where there is none the test split; "
       "0: the validation split after every epoch, the test split after the last one alone",
       kAnyOnResume},
      {"patience",
       &Config::patience,
       at_least(0),
       {},
       "end the run after so many evaluations of the validation split without a better MAP; 0: at the last epoch",
       kAnyOnResume},
      {"evaluation_block_rows",
       &Config::evaluation_block_rows,
       {1, kMostRows},
       {},
       "rows embedded at a time outside training"},
      {"log_every_steps",
       &Config::log_every_steps,
       at_least(0),
       {},
       "write the losses of every such step to metrics.jsonl; 0: none",
       kAnyOnResume},
      {"checkpoint_every_epochs",
       &Config::checkpoint_every_epochs,
       at_least(0),
       {},
       "write a checkpoint after every so many epochs; 0, and the next key too: as often as costs at most 2 % of the "
       "run's time",
       kAnyOnResume},
      {"checkpoint_every_steps",
       &Config::checkpoint_every_steps,
       at_least(0),
       {},
       "write a checkpoint after every so many steps",
       kAnyOnResume},
      {"checkpoints_kept", &Config::checkpoints_kept, at_least(1), {}, "checkpoints kept, the last ones", kAnyOnResume},
      {"tensorboard",
       &Config::tensorboard,
       kAnyValue,
       {},
       "write the losses, the learning rate and MAP for TensorBoard too, as an event file of the run directory",
       kAnyOnResume},
      {"init",
       &Config::init,
       kAnyValue,
       {},
       "start from the weights of this model, a file or a run directory, in place of those that the seed draws",
       kAnyOnResume},
      {"hidden_units",
       &Config::hidden_units,
       {1, kMostUnits},
       {},
       "widths of the encoders' hidden layers; empty: one linear layer"},
      {"embedding_dim", &Config::embedding_dim, {1, kMostUnits}, {}, "width of the shared space"},
      {"activation", &Config::activation, kAnyValue, {"relu", "tanh", "gelu"}, "after each hidden layer"},
      {"layer_norm", &Config::layer_norm, kAnyValue, {}, "normalise each hidden layer before its activation"},
      {"dropout", &Config::dropout, kBelowOne, {}, "probability to drop a hidden unit in training"},
      {"logit_scale", &Config::logit_scale, kPositive, {}, "logits = this times (W embedding + b)"},
      {"optimizer", &Config::optimizer, kAnyValue, {"adamw", "sgd"}, "the optimizer"},
      {"learning_rate", &Config::learning_rate, kPositive, {}, "highest rate of the schedule"},
      {"schedule", &Config::schedule, kAnyValue, {"constant", "cosine"}, "how the rate goes on after the warm-up"},
      {"warmup_steps", &Config::warmup_steps, at_least(0), {}, "steps over which the rate rises linearly first"},
      {"learning_rate_final_share",
       &Config::learning_rate_final_share,
       kShare,
       {},
       "`cosine`: share of learning_rate that is left at the end"},
      {"beta1", &Config::beta1, kBelowOne, {}, "AdamW: decay of the first moment"},
      {"beta2", &Config::beta2, kBelowOne, {}, "AdamW: decay of the second moment"},
      {"optimizer_eps", &Config::optimizer_eps, kPositive, {}, "AdamW: added to the root of the second moment"},
      {"momentum", &Config::momentum, kBelowOne, {}, "SGD: momentum"},
      {"weight_decay",
       &Config::weight_decay,
       kNotNegative,
       {},
       "on all parameters but a learned temperature; decoupled in AdamW"},
      {"gradient_clip",
       &Config::gradient_clip,
       kNotNegative,
       {},
       "largest Euclidean norm of all gradients of a step together, which are scaled down to it; 0: not clipped"},
      {"teacher_momentum",
       &Config::teacher_momentum,
       kShare,
       {},
       "teacher = this times teacher + the rest of the student, after each step"},
      {"ratio_end", &Config::ratio_end, kShare, {}, "the annotated ratio r falls from 1 to this"},
      {"ratio_epochs_share",
       &Config::ratio_epochs_share,
       {0, 1, true},
       {},
       "share of the epochs over which r falls (half a cosine)"},
      {"rho_epochs_share",
       &Config::rho_epochs_share,
       {0, 1, true},
       {},
       "share of the epochs over which the distillation weight rho rises from 0 to 1"},
      {"margin", &Config::margin, kNotNegative, {}, "of the triplets, in squared Euclidean distance"},
      {"mining",
       &Config::mining,
       kAnyValue,
       {"all", "hard", "semihard", "distance_weighted"},
       "triplets of the method `triplet`; `psd` takes all"},
      {"mining_slots", &Config::mining_slots, {1, 1000}, {}, "negatives drawn an anchor by `distance_weighted`"},
      {"temperature",
       &Config::temperature,
       {1e-3, kInfinity, false, true},
       {},
       "of the student's alignment and of the pair term"},
      {"teacher_temperature",
       &Config::teacher_temperature,
       {1e-3, kInfinity, false, true},
       {},
       "of the teacher's alignment"},
      {"learn_temperature",
       &Config::learn_temperature,
       kAnyValue,
       {},
       "learn the student's temperature (as ln(1/tau)), starting from `temperature`, then at most 10; of the pair loss "
       "`sigmoid` its bias too"},
      {"pair_loss",
       &Config::pair_loss,
       kAnyValue,
       {"infonce", "multi_positive", "sigmoid", "decoupled", "circle", "ntxent"},
       "L_pair (`contrastive`, `psd`): a row's positives are its own pair and the rows of its group (`infonce`, "
       "`sigmoid`, `decoupled`), with the rows of its class as supervision has it (`multi_positive` of `psd`) or with "
       "those of its label, where the run may see it (`circle`, `ntxent`, `multi_positive` of `contrastive`)"},
      {"pair_bias", &Config::pair_bias, kAnyNumber, {}, "bias of the pair loss `sigmoid`"},
      {"pair_margin", &Config::pair_margin, kPositive, {}, "margin of the pair loss `circle`"},
      {"label_weight",
       &Config::label_weight,
       kNotNegative,
       {},
       "weight of L_lab, the cross-entropy of annotated samples"},
      {"cross_weight", &Config::cross_weight, kNotNegative, {}, "weight of L_cross, the triplets (`triplet`, `psd`)"},
      {"kl_weight", &Config::kl_weight, kNotNegative, {}, "weight of L_kl before rho (`psd`)"},
      {"soft_weight",
       &Config::soft_weight,
       kNotNegative,
       {},
       "weight of L_soft, the cross-entropy of the others, before rho (`psd`)"},
      {"pair_weight",
       &Config::pair_weight,
       kNotNegative,
       {},
       "a factor of the weight w of L_pair (`psd`); 0: no such term"},
      {"contrastive_weight",
       &Config::contrastive_weight,
       kNotNegative,
       {},
       "weight of L_pair in the method `contrastive`"},
      {"decorrelation_weight", &Config::decorrelation_weight, kNotNegative, {}, "lambda_dis, weight of L_dis (`psd`)"},
      {"hide_labels",
       &Config::hide_labels,
       kAnyValue,
       {},
       "hide labels by the ratio r (`psd`); false: annotated = labelled"},
      {"lift", &Config::lift, kAnyValue, {}, "align the teacher's class frequencies with the labelled ones"},
      {"trust",
       &Config::trust,
       kAnyValue,
       {},
       "trust a hidden sample only where the teacher's two heads agree; false: always"},
      {"pair_evidence",
       &Config::pair_evidence,
       kAnyValue,
       {},
       "weigh L_pair and its gradients by what the training split tells of labels and pairs (`psd`); false: as if it "
       "told nothing"},
      {"largest_lift", &Config::largest_lift, kPositive, {}, "upper bound of the lift"},
      {"unannotated_kappa",
       &Config::unannotated_kappa,
       kShare,
       {},
       "weight of the agreement target for samples that are not annotated"},
      {"supervision_momentum",
       &Config::supervision_momentum,
       kShare,
       {},
       "of the running class frequencies and of concord"},
  };
  return keys;
}

struct TypeName {
  const char* operator()(bool Config::*) const { return "boolean"; }
  const char* operator()(int64_t Config::*) const { return "integer"; }
  const char* operator()(uint64_t Config::*) const { return "integer"; }
  const char* operator()(double Config::*) const { return "number"; }
  const char* operator()(std::string Config::*) const { return "string"; }
  const char* operator()(std::vector<int64_t> Config::*) const { return "list of integers"; }
  const char* operator()(std::vector<std::string> Config::*) const { return "list of strings"; }
};

}  // namespace

bool Range::holds(double value) const {
  return (low_open ? value > low : value >= low) && (high_open ? value < high : value <= high);
}

std::span<const ConfigKey> config_keys() { return table(); }

const ConfigKey* find_key(const std::string& name) {
  for (const ConfigKey& key : table())
    if (name == key.name) return &key;
  return nullptr;
}

const ConfigKey& nearest_key(const std::string& name) {
  const ConfigKey* nearest = &table().front();
  for (const ConfigKey& key : table())
    if (edit_distance(name, key.name) < edit_distance(name, nearest->name)) nearest = &key;
  return *nearest;
}

size_t edit_distance(const std::string& a, const std::string& b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t above = row[j];
      row[j] = std::min({above + 1, row[j - 1] + 1, diagonal + (a[i - 1] != b[j - 1])});
      diagonal = above;
    }
  }
  return row[b.size()];
}

std::string type_name(const ConfigKey& key) { return std::visit(TypeName{}, key.member); }

std::string range_text(const ConfigKey& key) {
  if (!key.choices.empty()) {
    std::string list;
    for (const std::string& choice : key.choices) list += (list.empty() ? "" : ", ") + choice;
    return list;
  }
  const auto [low, high, low_open, high_open] = key.range;
  if (std::isinf(low)) return "";
  const auto number = [](double value) {
    if (value == kLargestSeed) return text(std::numeric_limits<uint64_t>::max());
    return value == std::floor(value) && value < 1e15 ? text(static_cast<int64_t>(value)) : text(value);
  };
  if (std::isinf(high)) return (low_open ? "above " : "at least ") + number(low);
  return text(low_open ? "(" : "[", number(low), ", ", number(high), high_open ? ")" : "]");
}

}  // namespace duet
