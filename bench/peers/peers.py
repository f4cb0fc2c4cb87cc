"""Runs the same works on duet and on what people use today, in one sitting, and writes JSON, a Markdown page and plots.

A work is checked before it is timed: losses and gradients equal to 1e-4. Each system runs in a process of its own, at
growing sizes until it runs out of memory or a call takes longer than the limit. Results are written work by work, into
those that are there."""
import argparse
import datetime
import importlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(ROOT / ".venv" / "inductor"))

try:
    import numpy as np
except ImportError:
    sys.exit("peers: numpy is needed to draw the inputs, and could not be installed")

import jobs
import machine
import report
import works
from on_duet import OnDuet
from rows import (
    CLASSES,
    COMPILED,
    COMPILED_SIZES,
    DUET,
    EAGER,
    GROWTH,
    MAIN,
    METRIC,
    NAMES,
    PRODUCT,
    RUN,
    SCIKIT,
    STEP,
    STEP_GOALS,
    WORKS,
)

PACKAGES = {EAGER: "torch", METRIC: "pytorch-metric-learning", SCIKIT: "scikit-learn"}
BANDED = 16384  # from here on the bare product is timed on a band of rows, which is how it goes through larger ones


def say(line):
    print(line, file=sys.stderr, flush=True)


def load(library):
    """The systems that are there, and why the others are not."""
    makers = {
        EAGER: ("torch", "on_torch", lambda forms: forms.OnTorch(False)),
        COMPILED: ("torch", "on_torch", lambda forms: forms.OnTorch(True)),
        METRIC: ("pytorch_metric_learning", "on_torch", lambda forms: forms.OnMetricLearning()),
        SCIKIT: ("sklearn", "on_scikit", lambda forms: forms.OnScikitLearn()),
    }
    systems, missing = {DUET: OnDuet(library)}, {}
    for system, (module, forms, make) in makers.items():
        try:
            importlib.import_module(module)
            systems[system] = make(importlib.import_module(forms))
        except Exception as error:
            first_line = (str(error).strip().splitlines() or [type(error).__name__])[0]
            missing[system] = f"not installed ({first_line[:100]})"
            say(f"{system}: {missing[system]}")
    return systems, missing


def versions():
    out = {}
    for package in ("numpy", *PACKAGES.values()):
        try:
            out[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            out[package] = None
    return out


class Sitting:
    def __init__(self, build, threads, quick):
        self.program, self.bench_program = str(build / "duet"), str(build / "duet-bench")
        self.threads, self.quick = threads, quick
        memory = int(0.7 * jobs.available_bytes())
        self.limits = jobs.Limits(4, 90, 0.25, memory) if quick else jobs.Limits(60, 120, 1.5, memory)
        self.systems, self.missing = load(build / "kernels" / "libduet.so")

    def bench(self, *arguments):
        """A line of duet-bench."""
        done = subprocess.run([self.bench_program, "--json", *map(str, arguments)], capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(done.stderr.strip())
        return json.loads(done.stdout.splitlines()[0])

    def peaks(self):
        line = self.bench("--operation", "gather", "--n", 8, "--m", 8, "--repeat", 1, "--threads", self.threads)
        return {key: line[f"peak_{key}"] for key in ("flops_per_s", "bytes_per_s")}

    def thread_counts(self):
        return sorted({1, self.threads}, reverse=True)

    def set_threads(self, system, threads):
        if system in (EAGER, COMPILED, METRIC):
            import torch
            torch.set_num_threads(threads)

    def measure(self, work, system, n, threads, expected):
        """A row of the results; expected is duet's answer, which duet's own run leaves there."""
        inputs, small = works.draw(n, work.d, CLASSES), works.draw(48, work.d, CLASSES)
        form, warm = getattr(self.systems[system], work.name), []

        def make():
            self.set_threads(system, threads)
            if system in (DUET, EAGER) and not warm:  # code loaded, threads started, before memory is looked at
                warm.append(True)
                form(small, threads)[0]()
            return form(inputs, threads)

        def check(answer):
            if system == DUET:
                expected.update(answer)
                return "" if all(np.isfinite(value).all() for value in answer.values()) else "not finite"
            return works.difference(answer, expected, expected.get("slack", 0.0))

        row = jobs.run(make, self.limits, check, compiles=system == COMPILED)
        asks_slack = system == DUET and work.name.startswith("triplet") and n <= MAIN and "slack" not in expected
        if row["status"] == "ok" and asks_slack:
            slack = jobs.once(lambda: works.hinge_slack(form, inputs), self.limits.seconds)
            expected["slack"] = row["hinge_slack"] = slack.get("answer", 0.0)
        if row["status"] == "ok" and system == SCIKIT:
            asked = len(range(*works.sample(n).indices(n)))
            row["median_s"] *= n / asked
            row["note"] = f"{asked} queries of {n}, scaled up"
        row = {"system": system, "n": n, "threads": threads, **row}
        what = f"{work.name:20} {system:24} n {n:6}  {threads} thread{'s' if threads > 1 else ' '} "
        if row["status"] == "ok":
            say(what + f"{row['median_s'] * 1e3:10.2f} ms  {row['extra_bytes'] / 1e6:9.1f} MB extra")
        else:
            say(what + row["status"])
        return row

    def foreseen(self, last, n):
        """Why size n need not be tried, going by the last one; "" where it may go well."""
        growth = (n / last["n"]) ** 1.9
        if last["extra_bytes"] * growth > 1.3 * self.limits.memory_bytes:
            return f"{jobs.OUT_OF_MEMORY}, going by its growth"
        over = last["median_s"] * growth > 1.3 * self.limits.seconds
        return f"over {self.limits.seconds:.0f} s, going by its growth" if over else ""

    def run_work(self, work):
        rows, last, ended = [], {}, {}
        sizes = tuple(n for n in work.sizes if n in (1024, MAIN)) or (8192,) if self.quick else work.sizes
        for n in sizes:
            expected = {}
            for system in work.systems:
                if system == COMPILED and n not in COMPILED_SIZES:
                    continue
                why = self.missing.get(system) or ended.get(system)
                if not why and system != DUET and not expected:
                    why = "not run: no answer of duet's to compare with"
                if not why and system in last:
                    why = self.foreseen(last[system], n)
                if why:
                    row = {"system": system, "n": n, "threads": self.threads, "status": why}
                else:
                    row = self.measure(work, system, n, self.threads, expected)
                rows.append(row)
                if row["status"] != "ok":
                    ended[system] = row["status"]
                    continue
                last[system] = row
                if n == work.n and self.threads > 1 and row["median_s"] < 0.4 * self.limits.seconds:
                    rows.append(self.measure(work, system, n, 1, expected))
        out = {"rows": rows}
        if work.bench and work.n in sizes:
            operation, variant, passes = work.bench
            out["products"] = []
            for threads in self.thread_counts():
                form = ("--operation", operation, "--variant", variant, "--pass", passes)
                shape = ("--n", work.n, "--m", work.n, "--d", work.d, "--classes", CLASSES)
                line = self.bench(*form, *shape, "--threads", threads, "--repeat", 5 if self.quick else 21)
                keys = ("threads", "median_s", "spread", "product_s", "products", "ratio", "limit_s", "share")
                out["products"].append({key: line[key] for key in keys})
                count = f"{threads} thread{'s' if threads > 1 else ''}"
                say(f"{work.name:20} {line['ratio']:.2f} of {line['products']} bare products, {count}")
        return out

    def run_product(self):
        """The bare product and torch.mm of the same shape, in turn."""
        rows = []
        for n in (1024, MAIN) if self.quick else GROWTH:
            for threads in self.thread_counts() if n == MAIN else [self.threads]:
                band = min(n, MAIN) if n >= BANDED else n
                ours, theirs = [], []
                inputs = works.draw(n, 128, CLASSES) if n <= BANDED else None

                def make():
                    self.set_threads(EAGER, threads)
                    return self.systems[EAGER].product(inputs, threads)

                for _ in range(3 if n <= MAIN else 1):
                    shape, repeats = ("--n", band, "--m", n, "--d", 128), ["--repeat", 3] if n > BANDED else []
                    line = self.bench("--operation", "product", *shape, "--threads", threads, *repeats)
                    ours.append(line["median_s"] * n / band)
                    if EAGER in self.systems and n <= BANDED:
                        row = jobs.run(make, self.limits, lambda answer: "")
                        theirs += [row["median_s"]] if row["status"] == "ok" else []
                duet_s, torch_mm_s = statistics.median(ours), statistics.median(theirs) if theirs else None
                rows.append({"n": n, "d": 128, "threads": threads, "duet_s": duet_s, "torch_mm_s": torch_mm_s})
                what = f"{PRODUCT:20} n {n:6}  {threads} thread{'s' if threads > 1 else ' '} "
                of_torch = f"{torch_mm_s * 1e3:.2f} ms" if theirs else "-"
                say(what + f"{duet_s * 1e3:10.2f} ms  torch.mm {of_torch}")
        return {"rows": rows}

    def timed(self, name, system, threads, body, **more):
        """A row of something that times itself."""

        def on_threads():
            self.set_threads(system, threads)
            return body()

        row = jobs.once(on_threads, self.limits.compile_seconds + 4 * self.limits.seconds)
        row = {"system": system, "threads": threads, **more, "status": row["status"], **row.get("answer", {})}
        say(f"{name:20} {system:24} {more}  {threads} thread{'s' if threads > 1 else ' '} " +
            (f"{row['median_s'] * 1e3:10.2f} ms" if row["status"] == "ok" else row["status"]))
        return row

    def run_step(self, scratch):
        """Steps at the shapes of VEGAS."""
        import training
        wrong = jobs.once(lambda: training.check(self.program, scratch), 120)
        agreed = wrong.get("answer", wrong["status"])
        say(f"{STEP:20} " + (agreed or "losses and gradients agree"))
        if agreed:
            failed = {"system": EAGER, "threads": self.threads, "status": "another answer: " + agreed}
            return {"rows": [{**failed, "batch": batch} for batch in STEP_GOALS]}
        pairs, steps = Path(scratch) / "pairs", 15 if self.quick else 40
        training.write_pairs(pairs, 4096 if self.quick else 8192, (128, 1024), CLASSES, 0.5)
        rows = []
        for threads in self.thread_counts():
            for batch in STEP_GOALS:
                run = Path(scratch) / f"run{batch}_{threads}"
                on_duet = lambda: training.step_time_on_duet(self.program, pairs, run, batch, threads)
                rows.append(self.timed(STEP, DUET, threads, on_duet, batch=batch))
                for system in (EAGER, COMPILED):
                    on_torch = lambda: training.step_time_on_torch(pairs, CLASSES, batch, steps, system == COMPILED)
                    rows.append(self.timed(STEP, system, threads, on_torch, batch=batch))
        return {"rows": rows}

    def run_training(self, scratch):
        """A whole run on spoken and drawn digits, files to score."""
        import training
        digits = Path(os.environ.get("DUET_SHARED_DIR", ROOT.parent / "shared")) / "data" / "avdigits"
        name, source = (
            ("avdigits", digits) if digits.is_dir() else ("the built-in digits", ROOT / "data" / "samples" / "digits")
        )
        folder = training.in_row_order(source, Path(scratch) / "digits")
        epochs = 4 if self.quick else 40
        rows = []
        for threads in self.thread_counts():
            run = Path(scratch) / f"digits{threads}"
            on_duet = lambda: training.run_on_duet(self.program, folder, run, threads, 0.1, epochs)
            on_torch = lambda: training.run_on_torch(folder, 0.1, epochs, training.evidence_of(run))
            rows.append(self.timed(RUN, DUET, threads, on_duet, data=name, epochs=epochs))
            rows.append(self.timed(RUN, EAGER, threads, on_torch, data=name, epochs=epochs))
        return {"rows": rows}

    def run(self, name):
        if name == PRODUCT:
            return self.run_product()
        if name in (STEP, RUN):
            if EAGER in self.missing:
                return {"rows": [{"system": EAGER, "threads": self.threads, "status": self.missing[EAGER]}]}
            with tempfile.TemporaryDirectory() as scratch:
                return self.run_step(scratch) if name == STEP else self.run_training(scratch)
        return self.run_work(next(work for work in WORKS if work.name == name))


def main():
    parser = argparse.ArgumentParser(prog="./dev bench peers", description=__doc__)
    parser.add_argument(
        "--quick",
        action="store_true",
        help="four minutes instead of twenty-five: fewer sizes, shorter limits, results under build/peers",
    )
    parser.add_argument(
        "--only", default=",".join(NAMES), metavar="NAMES", help="only these, separated by commas: " + ", ".join(NAMES)
    )
    parser.add_argument(
        "--render", action="store_true", help="measure nothing: page and plots anew from the JSON that is there"
    )
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--build", type=Path, default=ROOT / "build" / "release")
    options = parser.parse_args()
    names = [name for name in NAMES if name in options.only.split(",")]
    unknown = set(options.only.split(",")) - set(NAMES)
    if unknown:
        parser.error(f"--only: unknown {', '.join(sorted(unknown))}")
    here = machine.describe()
    folder = ROOT / "build" / "peers" if options.quick else ROOT / "bench" / "results"
    file = folder / (machine.slug(here) + ".json")
    document = json.loads(file.read_text()) if file.exists() else {}
    if options.render:
        return report.write(folder, machine.slug(here), document)

    sitting = Sitting(options.build, options.threads, options.quick)
    document = {"machine": here, "quick": options.quick, "threads": options.threads, "works": document.get("works", {})}
    done = []
    try:
        for name in names:
            started, load = time.time(), os.getloadavg()[0]
            entry = sitting.run(name)
            about = {
                "date": datetime.date.today().isoformat(),
                "seconds": round(time.time() - started),
                "load": round(load, 2),
                "versions": {
                    "duet": sitting.bench("--operation", "gather", "--n", 8, "--m", 8, "--repeat", 1)["version"],
                    **versions(),
                },
                "limit_s": sitting.limits.seconds,
                "memory_limit_bytes": sitting.limits.memory_bytes,
                "peaks": sitting.peaks(),
            }
            document["works"][name] = {**about, **entry}
            report.write(folder, machine.slug(here), document)
            done.append(name)
    except KeyboardInterrupt:
        rest = ",".join(n for n in names if n not in done)
        say(f"stopped; what is done is in {folder.relative_to(ROOT)}; the rest: ./dev bench peers --only {rest}")
        return 130
    say(f"wrote {folder.relative_to(ROOT)}/{machine.slug(here)}.md")
    return 0


if __name__ == "__main__":
    sys.exit(main())
