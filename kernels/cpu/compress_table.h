// For every mask of 8 lanes, the lanes that it names, in order; zeros behind them.
#pragma once

#include <cstdint>

namespace duet::cpu {

struct CompressTable {
  uint8_t lanes[256][8] = {};

  constexpr CompressTable() {
    for (int mask = 0; mask < 256; ++mask)
      for (int lane = 0, at = 0; lane < 8; ++lane)
        if (mask >> lane & 1) lanes[mask][at++] = static_cast<uint8_t>(lane);
  }
};
inline constexpr CompressTable kCompressTable;

}  // namespace duet::cpu
