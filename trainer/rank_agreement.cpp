#include "trainer/rank_agreement.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

namespace duet {
namespace {

// Each rank's words, in the order of ranks.
std::vector<std::string> all_gather(Ranks& ranks, const std::string& words) {
  const Gathered gathered = ranks.all_gather(std::as_bytes(std::span(words)));
  std::vector<std::string> out;
  for (int rank = 0; rank < ranks.size(); ++rank) {
    const std::span<const std::byte> bytes = gathered.of(rank);
    out.emplace_back(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }
  return out;
}

// What the lowest rank with words says, after its number where that is not 0 and not all say the same; "" where none
// has any.
std::string first_of(Ranks& ranks, const std::string& words) {
  const std::vector<std::string> all = all_gather(ranks, words);
  const auto found = std::ranges::find_if(all, [](const std::string& each) { return !each.empty(); });
  if (found == all.end()) return "";
  if (found == all.begin() || std::ranges::all_of(all, [&](const std::string& each) { return each == *found; }))
    return *found;
  return text("rank ", found - all.begin(), ": ", found->substr(1)).insert(0, 1, (*found)[0]);
}

// What stands before the words that ranks exchange.
constexpr char kUsage = 'u', kOther = 'o';

[[noreturn]] void raise(const Ranks& ranks, const std::string& marked) {
  if (marked[0] == kUsage) throw SharedUsageError(marked.substr(1));
  if (ranks.rank() > 0) throw SaidByFirst(marked.substr(1));
  throw std::runtime_error(marked.substr(1));
}

}  // namespace

void together(Ranks* ranks, const std::function<void()>& body) {
  if (!ranks) return body();
  std::string fault;
  try {
    body();
  } catch (const UsageError& error) {
    fault = kUsage + std::string(error.what());
  } catch (const std::exception& error) {
    fault = kOther + std::string(error.what());
  }
  if (const std::string first = first_of(*ranks, fault); !first.empty()) raise(*ranks, first);
}

void require_alike(Ranks& ranks, const nlohmann::ordered_json& facts) {
  const nlohmann::ordered_json of_first = nlohmann::ordered_json::parse(all_gather(ranks, facts.dump()).front());
  std::string fault;
  const auto compare = [&](const std::string& key) {
    const nlohmann::ordered_json here = facts.value(key, nlohmann::ordered_json("none")),
                                 there = of_first.value(key, nlohmann::ordered_json("none"));
    if (fault.empty() && here != there)
      fault = kUsage + text(key, ": ", here.dump(), ", and ", there.dump(), " on rank 0: ranks train one model");
  };
  for (const auto& [key, value] : facts.items()) compare(key);
  for (const auto& [key, value] : of_first.items()) compare(key);
  if (const std::string first = first_of(ranks, fault); !first.empty()) raise(ranks, first);
}

}  // namespace duet
