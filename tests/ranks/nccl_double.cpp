#include "tests/ranks/nccl_double.h"

#include <cstring>

using duet::test::nccl_script;

namespace {

// What begins in the background is asked for anew.
ncclResult_t begun(ncclResult_t code) {
  nccl_script.polled = 0;
  return code;
}

}  // namespace

ncclResult_t ncclGetVersion(int* version) {
  *version = nccl_script.version;
  return ncclSuccess;
}

ncclResult_t ncclGetUniqueId(ncclUniqueId* id) {
  std::memset(id, 7, sizeof *id);
  return nccl_script.id;
}

const char* ncclGetErrorString(ncclResult_t code) {
  return code == ncclSystemError ? "unhandled system error" : "remote process exited";
}

const char* ncclGetLastError(ncclComm_t) { return nccl_script.detail.c_str(); }

ncclResult_t ncclCommInitRankConfig(ncclComm_t* communicator, int, ncclUniqueId id, int, ncclConfig_t* config) {
  ++nccl_script.inits;
  for (const char byte : id.internal)
    if (byte != 7) return ncclInvalidArgument;
  if (config->blocking != 0) return ncclInvalidUsage;
  *communicator = reinterpret_cast<ncclComm_t>(&nccl_script);
  return begun(nccl_script.init);
}

ncclResult_t ncclCommGetAsyncError(ncclComm_t, ncclResult_t* state) {
  *state = nccl_script.polled++ < nccl_script.polls_in_progress ? ncclInProgress : nccl_script.background;
  return ncclSuccess;
}

ncclResult_t ncclGroupStart() {
  ++nccl_script.groups_begun;
  return ncclSuccess;
}

ncclResult_t ncclGroupEnd() {
  ++nccl_script.groups_ended;
  return begun(nccl_script.group_end);
}

ncclResult_t ncclSend(const void*, size_t, ncclDataType_t, int, ncclComm_t, cudaStream_t) {
  ++nccl_script.sends;
  return nccl_script.send;
}

ncclResult_t ncclRecv(void*, size_t, ncclDataType_t, int, ncclComm_t, cudaStream_t) {
  ++nccl_script.receives;
  return ncclSuccess;
}

ncclResult_t ncclCommFinalize(ncclComm_t) {
  ++nccl_script.finalized;
  return begun(nccl_script.finalize);
}

ncclResult_t ncclCommDestroy(ncclComm_t) {
  ++nccl_script.destroyed;
  return nccl_script.destroy;
}

ncclResult_t ncclCommAbort(ncclComm_t) {
  ++nccl_script.aborted;
  return ncclSuccess;
}
