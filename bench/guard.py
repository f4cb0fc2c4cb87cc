"""Guards the speed of the kernels against bench/baseline.json.

Instructions of a call, counted by callgrind, may grow by 5 %: they do not vary with what else the machine does, and
valgrind shows every processor with AVX2 as the same one; under another compiler than the baseline's they are shown and
decide nothing. Ratios to the bare product of the same run may worsen by 25 %: they are measured again, up to eight
times, before that counts, and on another processor model they decide nothing. One thread is timed unless more are asked
for: on a machine that does other work, threads wait for each other and the bare product's do not."""
import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "bench" / "peers"))

import machine  # noqa: E402

BASELINE = ROOT / "bench" / "baseline.json"
WORSE, MORE, TRIES = 1.25, 1.05, 8
SHORT = 0.2  # bare products below which a time is too short to compare

# What has a bare product to stand beside, on a shape past one sweep block.
RATIO_OPERATIONS = ("distance", "alignment", "contrastive", "distillation", "mining", "triplet", "retrieval")
RATIO_SHAPE = ("--n", 1152, "--m", 1152, "--d", 128, "--repeat", 9)
# What is quick under callgrind, which slows a call fifty-fold.
COUNT_OPERATIONS = (
    *RATIO_OPERATIONS,
    "linear",
    "head",
    "normalization",
    "activation",
    "cross_entropy",
    "decorrelation",
    "gather",
    "optimizer",
    "random",
    "reduction",
    "supervision",
)
# One tile and a bit of the next, so that the edges are counted too.
COUNT_SHAPE = ("--n", 200, "--m", 168, "--d", 48, "--threads", 1)


def lines(program, *arguments):
    done = subprocess.run([program, "--json", *map(str, arguments)], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"guard: {done.stderr.strip()}")
    return [json.loads(line) for line in done.stdout.splitlines()]


def ratios(program, threads, only=None):
    """A ratio a line, by name; only: the names to measure."""
    out = {}
    for operation in RATIO_OPERATIONS:
        for count in sorted({1, threads}):
            prefix = f"{count} threads/" if count > 1 else "1 thread/"
            wanted = {name.split("/")[2] for name in only or () if name.startswith(f"{prefix}{operation}/")}
            if only is not None and not wanted:
                continue
            for variant in sorted(wanted) or [None]:
                chosen = ("--variant", variant) if variant else ()
                for line in lines(program, "--operation", operation, *chosen, "--threads", count, *RATIO_SHAPE):
                    if line["ratio"] is not None and line["ratio"] > SHORT:
                        out[f"{prefix}{operation}/{line['variant']}/{line['pass']}"] = line["ratio"]
    return out


def instructions_of(program, operation):
    with tempfile.TemporaryDirectory() as folder:
        callgrind = ("valgrind", "--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={folder}/out")
        counted = (program, "--count", "--operation", operation, *map(str, COUNT_SHAPE))
        done = subprocess.run([*callgrind, *counted], capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"guard: callgrind: {(done.stderr.strip().splitlines() or ['failed'])[-1]}")
        out = {}
        for file in Path(folder).iterdir():
            text = file.read_text()
            name = re.search(r"^desc: Trigger: Client Request: (\S+)", text, re.M)
            if name:
                out[name[1]] = int(re.search(r"^(?:totals|summary): (\d+)", text, re.M)[1])
        return out


def instructions(program):
    """Instructions of one call, by operation/variant/pass; several operations at a time, which counts do not feel."""
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        return {
            name: count
            for each in pool.map(lambda operation: instructions_of(program, operation), COUNT_OPERATIONS)
            for name, count in each.items()
        }


def worse(now, then, factor):
    """Names whose value rose by more than the factor; the lines that are new or gone are no failure."""
    return sorted(name for name in now.keys() & then.keys() if now[name] > factor * then[name])


def same_machine(one, other):
    return all(one[key] == other[key] for key in ("model", "family", "model_number", "threads"))


def compiler():
    """Counts are compared between builds of one compiler alone."""
    return subprocess.run(["c++", "--version"], capture_output=True, text=True).stdout.splitlines()[0]


def show(kind, now, then, names):
    for name in names:
        print(
            f"  {kind} {name}: {now[name]:.5g}, baseline {then[name]:.5g} ({(now[name] / then[name] - 1) * 100:+.0f} %)"
        )


def refresh(program, threads):
    """Ratios are the median of three runs."""
    runs = [ratios(program, threads) for _ in range(3)]
    document = {
        "machine": machine.describe(),
        "compiler": compiler(),
        "ratios": {
            name: round(statistics.median(run[name] for run in runs if name in run), 3) for name in sorted(runs[0])
        },
        "instructions": dict(sorted(instructions(program).items())),
    }
    BASELINE.write_text(json.dumps(document, indent=1) + "\n")
    counted = f"{len(document['ratios'])} ratios, {len(document['instructions'])} instruction counts"
    print(f"wrote {BASELINE.relative_to(ROOT)}: {counted}")
    return 0


def check_counts(program, baseline):
    then = baseline["instructions"]
    now = instructions(program)
    more = worse(now, then, MORE)
    decides = compiler() == baseline["compiler"]
    print(f"instructions: {len(now)} calls counted, {len(more)} grew by over {(MORE - 1) * 100:.0f} %")
    show("instructions", now, then, more)
    if not decides:
        print(f"  not decisive: the baseline was built by {baseline['compiler']}, this by {compiler()}")
    name_unknown(now, then)
    return not (more and decides)


def check_ratios(program, threads, baseline):
    counted = tuple(f"{count} thread" + ("s/" if count > 1 else "/") for count in {1, threads})
    then = {name: ratio for name, ratio in baseline["ratios"].items() if name.startswith(counted) and ratio > SHORT}
    here = machine.describe()
    now = ratios(program, threads)
    slower = worse(now, then, WORSE)
    decides = same_machine(here, baseline["machine"])
    for _ in range(TRIES - 1 if decides else 0):
        if slower:
            again = ratios(program, threads, slower)
            now.update({name: min(now[name], again.get(name, 0)) for name in slower})
            slower = worse(now, then, WORSE)
    print(f"ratios to the bare product: {len(now)} measured, {len(slower)} worse by over {(WORSE - 1) * 100:.0f} %")
    show("ratio", now, then, slower)
    if not decides:
        print(f"  not decisive: the baseline is of {machine.name(baseline['machine'])}, this is {machine.name(here)}")
    name_unknown(now, then)
    return not (slower and decides)


def name_unknown(now, then):
    unknown = sorted(now.keys() ^ then.keys())
    if unknown:
        named = ", ".join(unknown[:4]) + (" ..." if len(unknown) > 4 else "")
        print(f"  {len(unknown)} stand in one of baseline and run alone: {named}")


def main():
    parser = argparse.ArgumentParser(prog="./dev guard", description=__doc__)
    parser.add_argument("--bench", type=Path, default=ROOT / "build" / "release" / "duet-bench")
    parser.add_argument(
        "--threads", type=int, default=1, help="time this many too, on a machine that does nothing else"
    )
    parser.add_argument(
        "--counts", action="store_true", help="instructions alone, which no other work on the machine disturbs"
    )
    parser.add_argument("--refresh", action="store_true", help="measure and write the baseline (./dev bench baseline)")
    options = parser.parse_args()
    program = str(options.bench)
    if options.refresh:
        return refresh(program, len(os.sched_getaffinity(0)))
    if not BASELINE.exists():
        raise SystemExit("guard: no bench/baseline.json; ./dev bench baseline makes it")
    baseline = json.loads(BASELINE.read_text())
    good = check_counts(program, baseline)
    if not options.counts:
        good = check_ratios(program, options.threads, baseline) and good
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
