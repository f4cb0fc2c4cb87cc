#!/usr/bin/env bash
# mpi_faults.sh PROGRAM MPI [DEADLINE]: a rank that is killed, that stops, throws or leaves ends the job, with exit code
# other than 0, no process left, and a line that names the rank where it can be known. DEADLINE: in milliseconds, 3000.
set -euo pipefail
program=$1 mpi=$2 deadline=${3:-3000}
. "$(dirname "$0")/launch.sh"
work=$(mktemp -d)
job=
trap '[ -z "$job" ] || kill "$job" 2>/dev/null || true; rm -rf "$work"' EXIT
# A turn of each rank, and what a launcher takes to end its ranks.
limit=$((deadline / 1000 + 5))

fail() {
  echo "FAILED: $name: $1"
  cat "$work/log"
  exit 1
}

# begin NAME MODE: a job of 4 ranks in the background.
begin() {
  name=$1
  : >"$work/log"
  (launch 4 "$program" "$2" "$deadline") >"$work/log" 2>&1 &
  job=$!
}

# alive PID: whether it runs; one that nobody has waited for yet does not.
alive() { [[ $(sed 's/.*) //' "/proc/$1/stat" 2>/dev/null || true) = [!Z]* ]]; }

# send SIGNAL: to rank 2, in the midst of calls.
send() {
  local tries=0
  while [ "$(grep -c '^rank . pid' "$work/log" || true)" -lt 4 ]; do
    tries=$((tries + 1))
    [ $tries -lt 300 ] || fail "the ranks have not begun in 30 s"
    sleep 0.1
  done
  sleep 0.3
  kill "-$1" "$(sed -n 's/^rank 2 pid //p' "$work/log")"
}

# ends TEXT [LINES]: the job does within the limit, and says TEXT; of the program's own lines there is one at most, or
# LINES.
ends() {
  local started=$SECONDS code=0 pid
  while alive "$job"; do
    [ $((SECONDS - started)) -le $limit ] || fail "not at its end after $limit s"
    sleep 0.1
  done
  wait "$job" || code=$?
  job=
  [ $code -ne 0 ] || fail "exit code 0"
  grep -q "$1" "$work/log" || fail "expected a line with '$1'"
  [ "$(grep -c '^duet-mpi-ranks: ' "$work/log" || true)" -le "${2:-1}" ] || fail "too many lines"
  for pid in $(sed -n 's/^rank . pid //p' "$work/log"); do
    if alive "$pid"; then sleep 1; fi
    if alive "$pid"; then fail "process $pid is left"; fi
  done
  echo "$name: exit code $code within $((SECONDS - started + 1)) s: $(grep -m 1 "$1" "$work/log")"
}

begin 'a rank that stops' loop
send STOP
ends 'duet-mpi-ranks: ranks: rank 2 has not answered in '

begin 'a rank that is killed' loop
send KILL
# The launcher sees it first, and MPICH's knows no rank.
if [ "$mpi" = openmpi ]; then ends 'rank 2 .*on signal 9'; else ends 'EXIT CODE: 9'; fi

begin 'a rank that another one waits for' chain
ends 'duet-mpi-ranks: ranks: rank 2 has not answered in chain for '

begin 'a rank that throws' throw
ends 'duet-mpi-ranks: rank 1 cannot read its rows'

begin 'a rank that leaves' leave
ends 'process rank 1 \|BAD TERMINATION'

name='a rank that is late'
(launch 4 "$program" late "$deadline") >"$work/log" 2>&1 || fail "it has ended the job"
[ ! -s "$work/log" ] || fail "a job that is whole says something"
echo "$name: exit code 0"

# Under the other MPI's launcher every process would be a job of its own; each says so, as MPICH's does not end the
# others.
if [ "$mpi" = openmpi ]; then other=mpiexec.mpich; else other=mpirun.openmpi; fi
if command -v $other >/dev/null; then
  name="the launcher of another MPI"
  if [ "$mpi" = openmpi ]; then mpi=mpich; else mpi=openmpi; fi
  own=$launcher launcher=$other
  begin "$name" loop
  ends "start it with $own" 4
fi
