#include "data/label_hiding.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "kernels/core/philox.h"
#include "tests/data/npy_files.h"

using namespace duet::data;
using namespace duet::test;

namespace {

std::map<int32_t, int> counts(const std::vector<int32_t>& labels) {
  std::map<int32_t, int> out;
  for (const int32_t label : labels) ++out[label];
  return out;
}
std::vector<int32_t> blocks(const std::vector<int>& sizes) {  // classes interleaved with unlabelled rows
  std::vector<int32_t> out;
  for (size_t c = 0; c < sizes.size(); ++c)
    for (int k = 0; k < sizes[c]; ++k) {
      out.push_back(static_cast<int32_t>(c));
      if (k % 3 == 0) out.push_back(-1);
    }
  return out;
}

}  // namespace

TEST_CASE("label hiding keeps max(1, round(s count)) of each class, halves to even") {
  const std::vector<int32_t> labels = blocks({5, 15, 25, 35, 1, 100, 4});
  const auto kept = [&](double share, int32_t c) { return counts(hide_labels(labels, share, 3))[c]; };
  CHECK(kept(0.1, 0) == 1);  // 0.5 to 0, at least 1
  CHECK(kept(0.1, 1) == 2);  // 1.5 to 2
  CHECK(kept(0.1, 2) == 2);  // 2.5 to 2
  CHECK(kept(0.1, 3) == 4);  // 3.5 to 4
  CHECK(kept(0.1, 4) == 1);
  CHECK(kept(0.1, 5) == 10);
  CHECK(kept(0.5, 4) == 1);
  CHECK(kept(0.6, 6) == 2);  // 2.4
  CHECK(kept(0.7, 6) == 3);  // 2.8
  CHECK(hide_labels(labels, 1, 3) == labels);
  CHECK(hide_labels(labels, 0, 3) == std::vector<int32_t>(labels.size(), -1));
  CHECK(hide_labels({}, 0.5, 3).empty());
}

TEST_CASE("label hiding keeps the samples whose words are smallest, nested in the share, seeded") {
  const std::vector<int32_t> labels = blocks({40, 60});
  const std::vector<int32_t> few = hide_labels(labels, 0.1, 9), more = hide_labels(labels, 0.3, 9);
  for (size_t i = 0; i < labels.size(); ++i) {
    CHECK((few[i] == labels[i] || few[i] == -1));
    if (few[i] >= 0) CHECK(more[i] == few[i]);
  }
  uint32_t kept_high = 0, hidden_low = ~0u;
  for (size_t i = 0; i < labels.size(); ++i) {
    if (labels[i] != 1) continue;
    const uint32_t word = duet::random_word(9, duet::kStreamLabelHiding, 0, i);
    if (few[i] >= 0) kept_high = std::max(kept_high, word);
    if (few[i] < 0) hidden_low = std::min(hidden_low, word);
  }
  CHECK(kept_high < hidden_low);
  CHECK(hide_labels(labels, 0.1, 9) == few);
  CHECK(hide_labels(labels, 0.1, 10) != few);
}

TEST_CASE("label hiding refuses a share outside 0 to 1") {
  for (const double share : {-0.1, 1.1, std::nan("")})
    check_refused(
        [&] {
          hide_labels(std::vector<int32_t>{0, 1}, share, 0);
        },
        DUET_STATUS_INVALID_ARGUMENT, {"labelled share: expected 0 to 1, got "});
}
