"""What one rank of `mpirun -n N duet train` does of an epoch, and the memory that its batch takes.

usage: python bench/rank_work.py [--program build/mpi/duet] [--data DIR] [--ranks 1,2,3,4] [--batch 1024]
                                 [--hidden 1024,1024] [--method psd] [--json FILE]

Instructions: those of the second of two epochs, counted by callgrind, so they do not depend on what else the machine
does. Memory: the largest resident set of a run with this batch less that of one with 32 rows a batch, so that what
does not grow with the batch (data, parameters, libraries) is left out. For each number of ranks N: the rank with the
most, and N times that over one process's; 1 means that all of it is shared out evenly. Needs Open MPI's mpirun as
Debian names it, mpirun.openmpi, and valgrind.
"""
import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

SMALL_BATCH = 32


def resident(command, folder):
    """Runs a rank, and leaves the bytes of its largest resident set in a file of the folder."""
    child = subprocess.Popen(command)
    _, status, usage = os.wait4(child.pid, 0)
    rank = os.environ.get("OMPI_COMM_WORLD_RANK", "0")
    Path(folder, f"rank{rank}").write_text(str(usage.ru_maxrss * 1024))
    return os.waitstatus_to_exitcode(status)


class Runs:
    def __init__(self, options):
        self.options = options

    def train(self, ranks, prefix, batch, epochs):
        """Runs a training of so many ranks, each begun by prefix."""
        options = self.options
        command = ["mpirun.openmpi", "--oversubscribe", "-n", str(ranks), *prefix, options.program, "train", "--quiet",
                   "--data", options.data, "--method", options.method, "--epochs", str(epochs), "--threads", "1",
                   "--rank-timeout", "3600", "--set", f"batch_size={batch}", f"hidden_units={options.hidden}"]
        environment = dict(os.environ)
        if os.geteuid() == 0:
            environment |= {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
        with tempfile.TemporaryDirectory() as elsewhere:
            ended = subprocess.run(command, cwd=elsewhere, env=environment, capture_output=True, text=True)
        if ended.returncode != 0:
            sys.exit(f"rank_work: {ranks} ranks: {ended.stderr.strip()}")

    def instructions(self, ranks):
        """Of each rank those of an epoch."""
        counts = []
        for epochs in (1, 2):
            with tempfile.TemporaryDirectory() as folder:
                self.train(ranks, ["valgrind", "--quiet", "--tool=callgrind",
                                   f"--callgrind-out-file={folder}/rank%q{{OMPI_COMM_WORLD_RANK}}"],
                           self.options.batch, epochs)
                counts.append([int(re.search(r"^(?:summary|totals): (\d+)", Path(folder, f"rank{rank}").read_text(),
                                             re.MULTILINE)[1]) for rank in range(ranks)])
        return [two - one for one, two in zip(*counts)]

    def bytes_of_batch(self, ranks):
        """Of each rank the memory that the batch takes."""
        sizes = []
        for batch in (SMALL_BATCH, self.options.batch):
            with tempfile.TemporaryDirectory() as folder:
                self.train(ranks, [sys.executable, str(Path(__file__).resolve()), "--resident", folder], batch, 1)
                sizes.append([int(Path(folder, f"rank{rank}").read_text()) for rank in range(ranks)])
        return [large - small for small, large in zip(*sizes)]


def main():
    if len(sys.argv) > 3 and sys.argv[1] == "--resident":
        return resident(sys.argv[3:], sys.argv[2])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default="build/mpi/duet")
    parser.add_argument("--data", default="../shared/data/avdigits")
    parser.add_argument("--ranks", default="1,2,3,4")
    parser.add_argument("--batch", type=int, default=1024)
    parser.add_argument("--hidden", default="1024,1024")
    parser.add_argument("--method", default="psd")
    parser.add_argument("--json")
    options = parser.parse_args()
    options.program, options.data = (str(Path(each).resolve()) for each in (options.program, options.data))
    runs = Runs(options)
    rows, alone = [], None
    print("ranks  instructions of an epoch   x N    bytes of the batch   x N")
    for ranks in [1] + [each for each in map(int, options.ranks.split(",")) if each != 1]:
        most = {"instructions": max(runs.instructions(ranks)), "bytes": max(runs.bytes_of_batch(ranks))}
        alone = alone or most
        shares = {name: most[name] * ranks / alone[name] for name in most}
        rows.append({"ranks": ranks, **most, "shares": shares})
        print(f"{ranks:5}  {most['instructions']:24,}  {shares['instructions']:5.3f}  {most['bytes']:18,}  "
              f"{shares['bytes']:5.3f}", flush=True)
    if options.json:
        Path(options.json).write_text(json.dumps({"method": options.method, "batch": options.batch,
                                                  "hidden_units": options.hidden, "data": Path(options.data).name,
                                                  "ranks": rows}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
