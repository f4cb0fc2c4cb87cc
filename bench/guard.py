"""Guards the speed of the kernels against bench/baseline.json.

Ratios to the bare product of the same run may worsen by 25 %: they are measured again, up to three times, before that counts, and on another
processor model than the baseline's they are shown and decide nothing. Instructions of a call, counted by callgrind, may grow by 5 %: they hardly vary,
and valgrind shows every processor with AVX2 as the same one."""
import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "bench" / "peers"))

import machine  # noqa: E402

BASELINE = ROOT / "bench" / "baseline.json"
WORSE, MORE, TRIES = 1.25, 1.05, 3

# What has a bare product to stand beside, on a shape past one sweep block; 1 thread and all.
RATIO_OPERATIONS = ("distance", "alignment", "contrastive", "distillation", "mining", "triplet", "retrieval")
RATIO_SHAPE = ("--n", 1152, "--m", 1152, "--d", 128, "--repeat", 9)
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
                    if line["ratio"] is not None:
                        out[f"{prefix}{operation}/{line['variant']}/{line['pass']}"] = line["ratio"]
    return out


def instructions_of(program, operation):
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(["valgrind", "--tool=callgrind", f"--callgrind-out-file={folder}/out", program, "--count", "--operation", operation,
                               *map(str, COUNT_SHAPE)], capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"guard: callgrind: {(done.stderr.strip().splitlines() or ['failed'])[-1]}")
        out = {}
        for file in Path(folder).iterdir():
            text = file.read_text()
            name = re.search(r"^desc: Trigger: Client Request: (\S+)", text, re.M)
            if name:
                out[name[1]] = int(re.search(r"^(?:totals|summary): (\d+)", text, re.M)[1])
        return out


def instructions(program, threads):
    """Instructions of one call, by operation/variant/pass; as many operations at a time as there are threads, which counts do not feel."""
    with ThreadPoolExecutor(threads) as pool:
        return {name: count for each in pool.map(lambda operation: instructions_of(program, operation), COUNT_OPERATIONS) for name, count in each.items()}


def worse(now, then, factor):
    """Names whose value rose by more than the factor; the lines that are new or gone are no failure."""
    return sorted(name for name in now.keys() & then.keys() if now[name] > factor * then[name])


def same_machine(one, other):
    return all(one[key] == other[key] for key in ("model", "family", "model_number", "threads"))


def show(kind, now, then, names):
    for name in names:
        print(f"  {kind} {name}: {now[name]:.5g}, baseline {then[name]:.5g} ({(now[name] / then[name] - 1) * 100:+.0f} %)")


def refresh(program, threads):
    """The median of three runs each."""
    runs = [ratios(program, threads) for _ in range(TRIES)]
    document = {"machine": machine.describe(), "ratios": {name: round(sorted(run[name] for run in runs)[1], 3) for name in sorted(runs[0])},
                "instructions": dict(sorted(instructions(program).items()))}
    BASELINE.write_text(json.dumps(document, indent=1) + "\n")
    print(f"wrote {BASELINE.relative_to(ROOT)}: {len(document['ratios'])} ratios, {len(document['instructions'])} instruction counts")


def check(program, threads):
    if not BASELINE.exists():
        raise SystemExit("guard: no bench/baseline.json; ./dev bench baseline makes it")
    baseline = json.loads(BASELINE.read_text())
    counted = instructions(program)
    more = worse(counted, baseline["instructions"], MORE)
    here = machine.describe()
    measured = ratios(program, threads)
    slower = worse(measured, baseline["ratios"], WORSE)
    decides = same_machine(here, baseline["machine"])
    for _ in range(TRIES - 1 if decides else 0):
        if not slower:
            break
        again = ratios(program, threads, slower)
        measured.update({name: min(measured[name], again[name]) for name in slower})
        slower = worse(measured, baseline["ratios"], WORSE)

    print(f"instructions: {len(counted)} counted, {len(more)} grew by over {(MORE - 1) * 100:.0f} %")
    show("instructions", counted, baseline["instructions"], more)
    print(f"ratios to the bare product: {len(measured)} measured, {len(slower)} worse by over {(WORSE - 1) * 100:.0f} %")
    show("ratio", measured, baseline["ratios"], slower)
    if not decides:
        print(f"  not decisive: the baseline is of {machine.name(baseline['machine'])}, this is {machine.name(here)}")
    unknown = sorted((counted.keys() | measured.keys()) ^ (baseline["instructions"].keys() | baseline["ratios"].keys())) if decides else []
    if unknown:
        print(f"  {len(unknown)} lines are in one of baseline and run alone: {', '.join(unknown[:4])}{' ...' if len(unknown) > 4 else ''}")
    return 1 if more or (slower and decides) else 0


def main():
    parser = argparse.ArgumentParser(prog="./dev guard", description=__doc__)
    parser.add_argument("--bench", type=Path, default=ROOT / "build" / "release" / "duet-bench")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--refresh", action="store_true", help="measure and write the baseline (./dev bench baseline)")
    options = parser.parse_args()
    program = str(options.bench)
    if options.refresh:
        return refresh(program, options.threads)
    return check(program, options.threads)


if __name__ == "__main__":
    sys.exit(main())
