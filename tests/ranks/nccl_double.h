// A double of NCCL's library: it answers what a test has written down, and counts. It moves no bytes.
#pragma once

#include <nccl.h>

#include <string>

namespace duet::test {

// Of the calling thread, a rank.
struct NcclScript {
  int version = NCCL_VERSION_CODE;
  ncclResult_t id = ncclSuccess, init = ncclInProgress, send = ncclSuccess, group_end = ncclInProgress,
               finalize = ncclInProgress, destroy = ncclSuccess;
  // What goes on in the background: so often it is still at it, then it has come to this.
  int polls_in_progress = 2;
  ncclResult_t background = ncclSuccess;
  std::string detail;  // of ncclGetLastError

  int inits = 0, groups_begun = 0, groups_ended = 0, sends = 0, receives = 0, finalized = 0, destroyed = 0, aborted = 0;
  int polled = 0;
};
inline thread_local NcclScript nccl_script;

}  // namespace duet::test
