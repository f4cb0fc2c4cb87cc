// Scratch of which every thread needs a piece of its own.
#pragma once

#include "kernels/core/check.h"

namespace duet::cpu {

// Piece is built as Piece(workspace, size). It needs the same number of bytes every time.
template <class Piece>
class ThreadScratch {
 public:
  ThreadScratch(Workspace& workspace, int64_t threads, int64_t size) : size_(size), first_(workspace) {
    Workspace one;
    Piece(one, size);
    bytes_ = static_cast<int64_t>(one.used());
    workspace.take<char>(bytes_ * threads);
  }
  Piece of(int thread) const {
    Workspace own = first_;
    own.take<char>(bytes_ * thread);
    return Piece(own, size_);
  }

 private:
  int64_t size_, bytes_;
  Workspace first_;
};

}  // namespace duet::cpu
