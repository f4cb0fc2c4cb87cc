#include "data/samples/samples.h"

#include <span>

#include "data/npy.h"

// The files themselves, between two symbols each, in the read-only data of the program. DUET_DIGITS is their folder.
#define EMBED(symbol, file)                                                                                                                        \
  asm(".pushsection .rodata\n.balign 64\nduet_" #symbol ":\n.incbin \"" DUET_DIGITS "/" file "\"\nduet_" #symbol "_end:\n.byte 0\n.popsection\n"); \
  extern "C" __attribute__((visibility("hidden"))) const std::byte duet_##symbol[], duet_##symbol##_end[];

EMBED(digits_train_audio, "train/audio.npy")
EMBED(digits_train_visual, "train/visual.npy")
EMBED(digits_train_labels, "train/labels.npy")
EMBED(digits_test_audio, "test/audio.npy")
EMBED(digits_test_visual, "test/visual.npy")
EMBED(digits_test_labels, "test/labels.npy")

namespace duet::data {
namespace {

NpyView embedded(const std::byte* first, const std::byte* end, const char* name) { return parse_npy({first, end}, name); }

#define DIGITS(split, array) \
  embedded(duet_digits_##split##_##array, duet_digits_##split##_##array##_end, "built-in digits, " #split "/" #array ".npy")

}  // namespace

Dataset sample_dataset() {
  Dataset dataset;
  dataset.name = "digits (built in)";
  dataset.modalities = {"audio", "visual"};
  dataset.train = {{read_features(DIGITS(train, audio)), read_features(DIGITS(train, visual))}, read_labels(DIGITS(train, labels))};
  dataset.test = {{read_features(DIGITS(test, audio)), read_features(DIGITS(test, visual))}, read_labels(DIGITS(test, labels))};
  complete_dataset(dataset);
  return dataset;
}

}  // namespace duet::data
