#include "runtime/ranks/mpi_ranks.h"

// The C interface alone.
#define OMPI_SKIP_MPICXX 1
#define MPICH_SKIP_MPICXX 1
#include <mpi.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <thread>

#include "kernels/core/error.h"

namespace duet {

namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

#if defined(OPEN_MPI)
constexpr const char* kLibrary = "Open MPI";
constexpr const char* kLauncher = "mpirun.openmpi";
constexpr const char *kOther = "MPICH", *kOtherSize = "PMI_SIZE", *kOtherRank = "PMI_RANK";
#elif defined(MPICH_VERSION)
constexpr const char* kLibrary = "MPICH";
constexpr const char* kLauncher = "mpiexec.mpich";
constexpr const char *kOther = "Open MPI", *kOtherSize = "OMPI_COMM_WORLD_SIZE", *kOtherRank = "OMPI_COMM_WORLD_RANK";
#else
#error "expected the mpi.h of Open MPI or of MPICH"
#endif
static_assert(std::string_view(kLibrary) == DUET_MPI_LIBRARY, "mpi.h is another MPI's than DUET_MPI says");

constexpr int kMessageTag = 1, kNoticeTag = 2;
// How long ranks of higher numbers leave it to those of lower ones to speak, so that a job ends with one line: the
// launcher ends all ranks within some 1.1 s of the first.
constexpr milliseconds kTurn{2000}, kLongestTurn{4000};
// A wait looks for messages without a pause first: those of ranks that work at the same speed arrive at once.
constexpr std::chrono::microseconds kNoPause{200}, kFirstPause{50}, kLongestPause{1000};
constexpr int kNobody = -1;

std::string first_line(const char* characters, int length) {
  const std::string_view whole(characters, static_cast<size_t>(length));
  return std::string(whole.substr(0, whole.find('\n')));
}

std::string reason_of(int code) {
  char message[MPI_MAX_ERROR_STRING];
  int length = 0;
  MPI_Error_string(code, message, &length);
  return first_line(message, length);
}

void check(int code, const char* function) {
  if (code != MPI_SUCCESS) throw Error(DUET_STATUS_IO_ERROR, text("ranks: ", function, ": ", reason_of(code)));
}

std::string library_version() {
  char version[MPI_MAX_LIBRARY_VERSION_STRING];
  int length = 0;
  check(MPI_Get_library_version(version, &length), "MPI_Get_library_version");
  return first_line(version, length);
}

int environment_number(const char* name, int otherwise) {
  const char* value = std::getenv(name);
  return value ? std::atoi(value) : otherwise;
}

void wait_for_turn(int turns) { std::this_thread::sleep_for(std::min(turns * kTurn, kLongestTurn)); }

[[noreturn]] void unsupported(int turns, const std::string& message) {
  wait_for_turn(turns);
  throw Error(DUET_STATUS_UNSUPPORTED, message);
}

// "rank 2", "ranks 1, 2 and 5"
std::string names_of(const std::vector<int>& ranks) {
  std::string names = text(ranks.size() == 1 ? "rank " : "ranks ", ranks.front());
  for (size_t i = 1; i < ranks.size(); ++i) names += text(i + 1 == ranks.size() ? " and " : ", ", ranks[i]);
  return names;
}

}  // namespace

class MpiRanks::Engine {
 public:
  explicit Engine(const MpiOptions& options);
  int rank() const { return rank_; }
  int size() const { return static_cast<int>(peers_.size()); }
  void exchange(const char* call, std::span<const Outgoing> outgoing, std::span<const Incoming> incoming);
  // How many notices each rank has been sent; none is sent from here on.
  std::vector<int64_t> stop_telling();
  // Takes the notices under way, so many from each rank, and ends MPI.
  void finish(const std::vector<int64_t>& notices);

 private:
  // What a waiting rank tells the others: whom it waits for; kNobody where it has heard from all of them.
  struct Peer {
    int told = kNobody, heard = kNobody;  // what is on its way to it, what came last from it
    MPI_Request telling = MPI_REQUEST_NULL, hearing = MPI_REQUEST_NULL;
    Clock::time_point heard_at;
    int64_t times_told = 0, times_heard = 0;
    int pending = 0;  // requests of the call under way
  };

  void post(const char* call, int peer, void* data, size_t bytes, bool sends);
  // Whether one of the messages has arrived or left.
  bool test(const char* call);
  void listen(const char* call);
  int listen_to(int peer);
  void tell(const char* call, int whom);
  std::vector<int> silent() const;
  [[noreturn]] void fail(const std::vector<int>& gone, const std::string& message);
  [[noreturn]] void lose(int peer, const char* call, int code);
  [[noreturn]] void give_up(const char* call);
  int turn_without(const std::vector<int>& gone) const;

  MpiOptions options_;
  int rank_ = 0;
  std::vector<Peer> peers_;  // one a rank
  std::vector<MPI_Request> requests_;
  std::vector<int> request_peers_, indices_;
  std::vector<MPI_Status> statuses_;
  bool tells_ = true;
  std::string failure_;  // of the call that has failed; empty: none
};

MpiRanks::Engine::Engine(const MpiOptions& options) : options_(options) {
  using std::chrono::seconds;
  require(options.deadline >= seconds(1), "deadline: expected at least 1000 ms, got ", options.deadline.count());
  require(options.part_bytes >= 1 && options.part_bytes <= INT32_MAX, "part_bytes: expected 1 to ", INT32_MAX, ", got ",
          options.part_bytes);
  int started = 0;
  check(MPI_Initialized(&started), "MPI_Initialized");
  if (started) unsupported(0, "ranks: MPI has been started before in this process");
  const int others = environment_number(kOtherSize, 1);
  int provided = 0, size = 0;
  check(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &provided), "MPI_Init_thread");
  check(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
  check(MPI_Comm_rank(MPI_COMM_WORLD, &rank_), "MPI_Comm_rank");
  check(MPI_Comm_size(MPI_COMM_WORLD, &size), "MPI_Comm_size");
  if (size == 1 && others > 1)
    unsupported(environment_number(kOtherRank, 0),
                text("ranks: the launcher is ", kOther, "'s, this program is built with ", kLibrary, ": start it with ",
                     kLauncher));
  if (provided < MPI_THREAD_FUNNELED) unsupported(rank_, text("ranks: this ", kLibrary, " has no threads"));
  const std::string version = library_version();
  if (version.find(kLibrary) != 0)
    unsupported(rank_, text("ranks: expected the library of ", kLibrary, ", got ", version));
  int major = 0, minor = 0;
  check(MPI_Get_version(&major, &minor), "MPI_Get_version");
  if (major != MPI_VERSION || minor < MPI_SUBVERSION)
    unsupported(rank_, text("ranks: built for MPI ", MPI_VERSION, '.', MPI_SUBVERSION, ", but the library has ", major,
                            '.', minor));
  peers_.resize(static_cast<size_t>(size));
  for (int peer = 0; peer < size; ++peer) {
    peers_[static_cast<size_t>(peer)].heard_at = Clock::now() - options_.deadline;
    if (peer != rank_) check(listen_to(peer), "MPI_Irecv");
  }
}

int MpiRanks::Engine::listen_to(int peer) {
  Peer& one = peers_[static_cast<size_t>(peer)];
  return MPI_Irecv(&one.heard, 1, MPI_INT, peer, kNoticeTag, MPI_COMM_WORLD, &one.hearing);
}

// Takes the notices that have come.
void MpiRanks::Engine::listen(const char* call) {
  for (int peer = 0; peer < size(); ++peer) {
    if (peer == rank_) continue;
    Peer& one = peers_[static_cast<size_t>(peer)];
    int came = 0;
    int code = MPI_Test(&one.hearing, &came, MPI_STATUS_IGNORE);
    if (code == MPI_SUCCESS && came) {
      one.heard_at = Clock::now();
      ++one.times_heard;
      code = listen_to(peer);
    }
    if (code != MPI_SUCCESS) lose(peer, call, code);
  }
}

void MpiRanks::Engine::tell(const char* call, int whom) {
  for (int peer = 0; peer < size(); ++peer) {
    if (peer == rank_) continue;
    Peer& one = peers_[static_cast<size_t>(peer)];
    int left = 0;  // the last one has; so has a null request
    int code = MPI_Test(&one.telling, &left, MPI_STATUS_IGNORE);
    if (code == MPI_SUCCESS && left) {
      one.told = whom;
      ++one.times_told;
      code = MPI_Isend(&one.told, 1, MPI_INT, peer, kNoticeTag, MPI_COMM_WORLD, &one.telling);
    }
    if (code != MPI_SUCCESS) lose(peer, call, code);
  }
}

void MpiRanks::Engine::post(const char* call, int peer, void* data, size_t bytes, bool sends) {
  auto* at = static_cast<std::byte*>(data);
  for (size_t done = 0; done < bytes; done += options_.part_bytes) {
    const int count = static_cast<int>(std::min(bytes - done, options_.part_bytes));
    MPI_Request request = MPI_REQUEST_NULL;
    const int code = sends ? MPI_Isend(at + done, count, MPI_BYTE, peer, kMessageTag, MPI_COMM_WORLD, &request)
                           : MPI_Irecv(at + done, count, MPI_BYTE, peer, kMessageTag, MPI_COMM_WORLD, &request);
    if (code != MPI_SUCCESS) lose(peer, call, code);
    requests_.push_back(request);
    request_peers_.push_back(peer);
    ++peers_[static_cast<size_t>(peer)].pending;
  }
}

bool MpiRanks::Engine::test(const char* call) {
  int done = 0;
  const int code =
      MPI_Testsome(static_cast<int>(requests_.size()), requests_.data(), &done, indices_.data(), statuses_.data());
  if (code != MPI_SUCCESS && code != MPI_ERR_IN_STATUS) fail({}, text("ranks: ", call, ": ", reason_of(code)));
  if (done == MPI_UNDEFINED) return false;
  for (int i = 0; i < done; ++i) {
    const int peer = request_peers_[static_cast<size_t>(indices_[static_cast<size_t>(i)])];
    const int error = code == MPI_SUCCESS ? MPI_SUCCESS : statuses_[static_cast<size_t>(i)].MPI_ERROR;
    if (error != MPI_SUCCESS) lose(peer, call, error);
    --peers_[static_cast<size_t>(peer)].pending;
  }
  return done > 0;
}

// Ranks that this one waits for and that have not said lately that they wait too.
std::vector<int> MpiRanks::Engine::silent() const {
  std::vector<int> ranks;
  for (int peer = 0; peer < size(); ++peer) {
    const Peer& one = peers_[static_cast<size_t>(peer)];
    if (one.pending > 0 && Clock::now() - one.heard_at > options_.deadline / 2) ranks.push_back(peer);
  }
  return ranks;
}

// Of this rank among those that are there.
int MpiRanks::Engine::turn_without(const std::vector<int>& gone) const {
  return rank_ - static_cast<int>(std::count_if(gone.begin(), gone.end(), [&](int one) { return one < rank_; }));
}

// gone: those that will not speak.
void MpiRanks::Engine::fail(const std::vector<int>& gone, const std::string& message) {
  failure_ = message;
  wait_for_turn(turn_without(gone));
  throw Error(DUET_STATUS_IO_ERROR, message);
}

void MpiRanks::Engine::lose(int peer, const char* call, int code) {
  fail({peer}, text("ranks: rank ", peer, " is gone in ", call, ": ", reason_of(code)));
}

void MpiRanks::Engine::give_up(const char* call) {
  std::vector<int> ranks = silent();
  if (ranks.empty()) {  // whom those wait for that this one waits for
    for (const Peer& one : peers_)
      if (one.pending > 0 && one.heard != kNobody && one.heard != rank_) ranks.push_back(one.heard);
    std::sort(ranks.begin(), ranks.end());
    ranks.erase(std::unique(ranks.begin(), ranks.end()), ranks.end());
  }
  const double seconds = std::chrono::duration<double>(options_.deadline).count();
  if (ranks.empty()) fail({}, text("ranks: no rank has gone on in ", call, " for ", seconds, " s"));
  fail(ranks, text("ranks: ", names_of(ranks), ranks.size() == 1 ? " has" : " have", " not answered in ", call, " for ",
                   seconds, " s"));
}

void MpiRanks::Engine::exchange(const char* call, std::span<const Outgoing> outgoing,
                                std::span<const Incoming> incoming) {
  if (!failure_.empty()) throw Error(DUET_STATUS_IO_ERROR, failure_);
  requests_.clear();
  request_peers_.clear();
  for (Peer& peer : peers_) peer.pending = 0;
  for (const Incoming& one : incoming) post(call, one.peer, one.bytes.data(), one.bytes.size(), false);
  for (const Outgoing& one : outgoing)
    post(call, one.peer, const_cast<std::byte*>(one.bytes.data()), one.bytes.size(), true);
  indices_.resize(requests_.size());
  statuses_.resize(requests_.size());

  size_t left = requests_.size();
  const Clock::time_point begun = Clock::now();
  Clock::time_point moved = begun, told = begun;
  std::chrono::microseconds pause = kFirstPause;
  while (left > 0) {
    if (test(call)) {
      left = 0;
      for (const Peer& peer : peers_) left += static_cast<size_t>(peer.pending);
      moved = Clock::now();
      pause = kFirstPause;
      continue;
    }
    const Clock::time_point now = Clock::now();
    if (now - moved < kNoPause) {
      sched_yield();
      continue;
    }
    listen(call);
    if (now - moved > options_.deadline) give_up(call);
    if (tells_ && now - told > options_.deadline / 10) {
      const std::vector<int> ranks = silent();
      tell(call, ranks.empty() ? kNobody : ranks.front());
      told = now;
    }
    std::this_thread::sleep_for(pause);
    pause = std::min(2 * pause, kLongestPause);
  }
}

std::vector<int64_t> MpiRanks::Engine::stop_telling() {
  tells_ = false;
  std::vector<int64_t> times;
  for (const Peer& peer : peers_) times.push_back(peer.times_told);
  return times;
}

void MpiRanks::Engine::finish(const std::vector<int64_t>& notices) {
  // From here on nothing but a signal ends a wait.
  alarm(static_cast<unsigned>(std::chrono::ceil<std::chrono::seconds>(options_.deadline).count()));
  for (size_t peer = 0; peer < peers_.size(); ++peer)
    while (peers_[peer].times_heard < notices[peer]) listen("finish");
  for (Peer& one : peers_) {
    if (one.hearing != MPI_REQUEST_NULL) check(MPI_Cancel(&one.hearing), "MPI_Cancel");
    check(MPI_Wait(&one.hearing, MPI_STATUS_IGNORE), "MPI_Wait");
    check(MPI_Wait(&one.telling, MPI_STATUS_IGNORE), "MPI_Wait");
  }
  const int code = MPI_Finalize();
  alarm(0);
  check(code, "MPI_Finalize");
}

MpiRanks::MpiRanks(const MpiOptions& options) : MpiRanks(std::make_unique<Engine>(options)) {
  const std::string own = library_version();
  const Gathered versions = all_gather(std::as_bytes(std::span(own.data(), own.size())));
  const auto version_of = [&](int rank) {
    return std::string(reinterpret_cast<const char*>(versions.of(rank).data()), versions.of(rank).size());
  };
  for (int rank = 1; rank < size(); ++rank)
    if (version_of(rank) != version_of(0))
      unsupported(this->rank(),
                  text("ranks: rank ", rank, " runs ", version_of(rank), " where rank 0 runs ", version_of(0)));
}

MpiRanks::MpiRanks(std::unique_ptr<Engine> engine)
    : Ranks(engine->rank(), engine->size()), engine_(std::move(engine)) {}

MpiRanks::~MpiRanks() = default;

void MpiRanks::exchange(const char* call, std::span<const Outgoing> outgoing, std::span<const Incoming> incoming) {
  engine_->exchange(call, outgoing, incoming);
}

void MpiRanks::finish() {
  barrier();
  const std::vector<int64_t> told = engine_->stop_telling();
  const Gathered all = all_gather(std::as_bytes(std::span(told)));
  std::vector<int64_t> notices;
  for (int peer = 0; peer < size(); ++peer)
    std::memcpy(&notices.emplace_back(), &all.of(peer)[static_cast<size_t>(rank()) * sizeof(int64_t)], sizeof(int64_t));
  engine_->finish(notices);
}

}  // namespace duet
