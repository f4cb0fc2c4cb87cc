// What a check of an array's values finds: the first one out of range. Each backend looks in its own memory; <operation>.cpp has the words.
#pragma once

#include <cstdint>

namespace duet {

struct Outside {
  int64_t position = -1;  // -1: none
  int64_t value = 0;

  explicit operator bool() const { return position >= 0; }
};

}  // namespace duet
