#include "data/layout.h"

#include "tests/data/npy_files.h"

using namespace duet::data;
using namespace duet::test;

namespace {

using Arrays = std::map<std::string, std::string>;

void refused(const std::vector<std::string>& paths, const std::vector<std::string>& parts) {
  check_refused([&] { detect_layout(paths, "x.h5"); }, DUET_STATUS_INVALID_ARGUMENT, parts);
}

}  // namespace

TEST_CASE("layout: parts, by whatever sign and in whatever case") {
  for (const char separator : std::string("/._-")) {
    const std::string s(1, separator);
    const Layout layout = detect_layout({"train" + s + "audio", "Train" + s + "Labels", "val" + s + "audio",
                                         "audio_feat" + s + "test", "LAB" + s + "TEST", "about"},
                                        "x.h5");
    CHECK(layout.splits.at("train") == Arrays{{"audio", "train" + s + "audio"}, {"labels", "Train" + s + "Labels"}});
    CHECK(layout.splits.at("test") == Arrays{{"audio", "audio_feat" + s + "test"}, {"labels", "LAB" + s + "TEST"}});
    CHECK(layout.splits.at("val") == Arrays{{"audio", "val" + s + "audio"}});
    CHECK(layout.flags.empty());
    CHECK(layout.orders.empty());
  }
}

TEST_CASE("layout: flags and orders choose rows of the same arrays") {
  const Arrays all = {{"audio", "audio_feat"}, {"labels", "Label_ID"}, {"visual", "visual_feat"}};
  for (const std::string flags : {"Train_test", "Split"}) {
    const Layout layout = detect_layout({"Label_ID", flags, "audio_feat", "visual_feat"}, "x.h5");
    CHECK(layout.flags == flags);
    CHECK(layout.splits.at("train") == all);
    CHECK(layout.splits.at("test") == all);
    CHECK(layout.splits.size() == 2);
  }
  const Layout layout =
      detect_layout({"Label_ID", "audio_feat", "test_order", "train_order", "val_order", "visual_feat"}, "x.h5");
  CHECK(layout.orders == Arrays{{"test", "test_order"}, {"train", "train_order"}, {"val", "val_order"}});
  for (const std::string split : {"train", "test", "val"}) CHECK(layout.splits.at(split) == all);
}

TEST_CASE("layout: what cannot be told is refused with the names that are there") {
  refused({}, {"x.h5: no layout that is known", "found none", "--map"});
  refused({"audio", "visual"}, {"found audio, visual (--map"});
  refused({"train/audio"}, {"x.h5: no layout", "found train/audio"});
  refused({"train", "test"}, {"x.h5: no layout"});
  refused({"train/audio", "audio_train", "test/audio"}, {"x.h5: train/audio and audio_train are both audio of train"});
  refused({"train_order", "audio"}, {"x.h5: an order of one split"});
  refused({"1", "2", "3", "4", "5", "6", "7", "8", "9", "10"}, {"7, 8 and 2 more"});
}

TEST_CASE("layout: --map names each array") {
  const std::vector<std::string> paths = {"a/b", "c"};
  const Layout layout = mapped_layout({"audio/train=/a/b", "labels/test=c"}, paths, "x.h5");
  CHECK(layout.splits.at("train") == Arrays{{"audio", "a/b"}});
  CHECK(layout.splits.at("test") == Arrays{{"labels", "c"}});
  const auto wrong = [&](const std::vector<std::string>& mappings, const std::vector<std::string>& parts) {
    check_refused([&] { mapped_layout(mappings, paths, "x.h5"); }, DUET_STATUS_INVALID_ARGUMENT, parts);
  };
  for (const std::string form : {"", "audio", "audio=c", "/train=c", "audio/=c", "=c"})
    wrong({form}, {"--map: expected ARRAY/SPLIT=PATH, got '" + form + "'"});
  wrong({"audio/dev=c"}, {"--map: expected the split train, test or val, got 'audio/dev=c'"});
  wrong({"a/b/train=c"}, {"--map: expected a name without '/'"});
  wrong({"audio/train=d"}, {"x.h5: no array 'd'; found a/b, c"});
  wrong({"audio/train=c", "audio/train=a/b"}, {"c and a/b are both audio of train"});
}
