// Any bytes as a checkpoint: it is read, or one of the errors that CheckpointFolder takes says why not. The first byte
// is even: what follows is the manifest, of files that it cannot fit; odd: what follows is the other file, whose size
// and checksum the manifest tells.
#include <cstring>

#include "kernels/core/error.h"
#include "runtime/files/checksum.h"
#include "runtime/json_text.h"
#include "tests/fuzz/memory_file.h"
#include "trainer/checkpoint_reader.h"
#include "trainer/format.h"
#include "trainer/usage_error.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const bool whole = data[0] % 2 == 1;
  const duet::fuzz::MemoryFile tensors(data + 1, whole ? size - 1 : 0);
  const std::filesystem::path path = tensors.path();
  std::string manifest(reinterpret_cast<const char*>(data + 1), size - 1);
  if (whole)
    manifest = nlohmann::json{{duet::kFormatKey, duet::kCheckpointFormat},
                              {"file", path.filename().string()},
                              {"bytes", size - 1},
                              {"xxh64", duet::checksum_text(duet::file_checksum(path).value())}}
                   .dump();
  const duet::fuzz::MemoryFile told(reinterpret_cast<const uint8_t*>(manifest.data()), manifest.size());
  try {
    duet::best_step_in(told.path());
    const duet::Checkpoint found = duet::read_checkpoint(told.path(), path, 7);
    if (found.training.steps != 7) std::abort();
  } catch (const duet::DamagedCheckpoint&) {
  } catch (const duet::JsonError&) {
  } catch (const nlohmann::json::exception&) {
  } catch (const duet::UsageError&) {
  } catch (const duet::Error&) {
  }
  return 0;
}
