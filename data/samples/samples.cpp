#include "data/samples/samples.h"

#include "data/npy.h"
#include "kernels/core/error.h"

// The files themselves, between two symbols each, in the read-only data of the program. DUET_DIGITS is their folder.
#define EMBED(symbol, file)                                                                                      \
  asm(".pushsection .rodata\n.balign 64\nduet_" #symbol ":\n.incbin \"" DUET_DIGITS "/" file "\"\nduet_" #symbol \
      "_end:\n.byte 0\n.popsection\n");                                                                          \
  extern "C" __attribute__((visibility("hidden"))) const std::byte duet_##symbol[], duet_##symbol##_end[];

EMBED(digits_train_audio, "train/audio.npy")
EMBED(digits_train_visual, "train/visual.npy")
EMBED(digits_train_labels, "train/labels.npy")
EMBED(digits_test_audio, "test/audio.npy")
EMBED(digits_test_visual, "test/visual.npy")
EMBED(digits_test_labels, "test/labels.npy")

namespace duet::data {
namespace {

struct EmbeddedArray {
  const char *split, *name;
  const std::byte *first, *end;
};

#define DIGITS(split, array) \
  EmbeddedArray { #split, #array, duet_digits_##split##_##array, duet_digits_##split##_##array##_end }

constexpr EmbeddedArray kArrays[] = {DIGITS(train, audio), DIGITS(train, labels), DIGITS(train, visual),
                                     DIGITS(test, audio),  DIGITS(test, labels),  DIGITS(test, visual)};

}  // namespace

std::vector<std::string> SampleFiles::arrays(const std::string& split) const {
  std::vector<std::string> names;
  for (const EmbeddedArray& array : kArrays)
    if (split == array.split) names.push_back(array.name);
  return names;
}

StoredArray SampleFiles::open(const std::string& split, const std::string& name) const {
  for (const EmbeddedArray& array : kArrays)
    if (split == array.split && name == array.name)
      return {nullptr, parse_npy({array.first, array.end}, place(split) + "/" + name + ".npy")};
  throw Error(DUET_STATUS_INVALID_ARGUMENT, text(place(split), ": no array '", name, "'"));
}

}  // namespace duet::data
