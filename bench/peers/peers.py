"""Runs the same works on duet and on what people use today, in one sitting, and writes JSON, a Markdown page and plots.

A work is checked before it is timed: losses and gradients equal to 1e-4. Each system runs in a process of its own, at growing sizes until it runs
out of memory or a call takes longer than the limit."""
import argparse
import datetime
import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(ROOT / ".venv" / "inductor"))

import numpy as np  # noqa: E402

import jobs  # noqa: E402
import machine  # noqa: E402
import report  # noqa: E402
import works  # noqa: E402

DUET, EAGER, COMPILED, METRIC, SCIKIT = "duet", "PyTorch", "PyTorch compiled", "pytorch-metric-learning", "scikit-learn"
PACKAGES = {EAGER: "torch", COMPILED: "torch", METRIC: "pytorch-metric-learning", SCIKIT: "scikit-learn"}
MODULES = {EAGER: "torch", COMPILED: "torch", METRIC: "pytorch_metric_learning", SCIKIT: "sklearn"}
MAIN, CLASSES = 4096, 10
GROWTH = (256, 1024, 4096, 16384, 65536)
COMPILED_SIZES = (1024, 4096, 16384, 28103)  # each size is compiled anew, which takes longer than all its calls


@dataclass
class Work:
    name: str
    title: str
    products: int  # bare products that it replaces: its operations at least
    squares: int  # n x n matrices that it has to read or write
    systems: tuple
    sizes: tuple = (MAIN,)
    d: int = 128

    def limit_s(self, n, peaks):
        return max(self.products * 2 * n * n * self.d / peaks["flops_per_s"], 4 * (self.squares * n * n + 2 * n * self.d) / peaks["bytes_per_s"])


TORCH = (DUET, EAGER, COMPILED)
WORKS = [
    Work("distance", "distance, forward, against torch.cdist", 1, 1, TORCH),
    Work("distance_both", "distance, forward and backward, against torch.cdist", 3, 3, TORCH),
    Work("alignment", "alignment: log-sum-exp of rows and columns", 1, 0, TORCH, GROWTH),
    Work("infonce", "InfoNCE, forward and backward", 4, 0, TORCH, GROWTH),
    Work("distillation", "distillation with soft agreement, forward and backward", 6, 0, TORCH, GROWTH),
    Work("mining", "hard mining, anchors in rows and in columns", 1, 0, (*TORCH, METRIC), GROWTH),
    Work("triplet_soft", "triplets, all, soft agreement, forward and backward, against a sorted form", 4, 0, TORCH, GROWTH),
    Work("triplet_labels", "triplets, all, hard labels, forward and backward", 4, 0, (*TORCH, METRIC), (1024,)),
    Work("retrieval", "mean average precision", 1, 0, (DUET, EAGER, SCIKIT), (28103,), 64),
]


def load(library):
    """The systems that are there, and why the others are not."""
    systems, missing = {DUET: works.OnDuet(library)}, {}
    for system, module in MODULES.items():
        try:
            importlib.import_module(module)
            import on_torch
            systems[system] = {EAGER: lambda: on_torch.OnTorch(False), COMPILED: lambda: on_torch.OnTorch(True), METRIC: on_torch.OnMetricLearning,
                               SCIKIT: on_torch.OnScikitLearn}[system]()
        except Exception as error:
            missing[system] = f"not installed ({type(error).__name__}: {str(error).splitlines()[0][:100] if str(error) else ''})"
    return systems, missing


def set_threads(system, threads):
    if system in (EAGER, COMPILED, METRIC):
        import torch
        torch.set_num_threads(threads)


def measure(work, system, systems, n, threads, limits, expected):
    """A row of the results; expected is duet's answer, which duet's own run leaves there."""
    inputs = works.draw(n, work.d, CLASSES)
    small = works.draw(48, work.d, CLASSES)

    def make():
        set_threads(system, threads)
        form = getattr(systems[system], work.name)
        if system in (DUET, EAGER) and not getattr(make, "warm", False):  # code loaded, threads started, before memory is looked at
            make.warm = True
            form(small, threads)()
        return form(inputs, threads)

    def check(answer):
        if system == DUET:
            expected.update(answer)
            return "" if all(np.isfinite(value).all() for value in answer.values()) else "not finite"
        return works.difference(answer, expected, expected.get("slack", 0.0))

    row = jobs.run(make, limits, check, compiles=system == COMPILED)
    if work.name.startswith("triplet") and system == DUET and row["status"] == "ok" and n <= MAIN:
        expected["slack"] = jobs.once(lambda: works.hinge_slack(getattr(systems[DUET], work.name), inputs), limits.seconds).get("answer", 0.0)
        row["hinge_slack"] = expected["slack"]
    if system == SCIKIT and row["status"] == "ok":
        asked = len(range(*works.sample(n).indices(n)))
        row["median_s"] *= n / asked
        row["note"] = f"{asked} queries of {n}, scaled up"
    return row


def run_work(work, systems, missing, options, limits, out, product):
    previous, ended = {}, {}
    for n in work.sizes:
        expected = {}
        for system in work.systems:
            row = {"work": work.name, "system": system, "n": n, "m": n, "d": work.d, "threads": options.threads}
            last = previous.get(system)
            if system in missing:
                row["status"] = missing[system]
            elif system == COMPILED and n not in COMPILED_SIZES:
                continue
            elif system != DUET and not expected:
                row["status"] = "not run: no answer of duet's to compare with"
            elif system in ended:
                row["status"] = ended[system]
            elif last and last[1] * (n / last[0]) ** 1.9 > 1.3 * limits.seconds:
                row["status"] = f"over {limits.seconds:.0f} s (as it grows)"
            else:
                row.update(measure(work, system, systems, n, options.threads, limits, expected))
            if row["status"] == "ok":
                previous[system] = (n, row["median_s"])
            elif system not in missing:
                ended[system] = row["status"]
            out.append(row)
            say(f"{work.name:15} {system:24} n {n:6}  " + (f"{row['median_s'] * 1e3:10.2f} ms  {row['extra_bytes'] / 2**20:9.1f} MiB extra" if row["status"] == "ok" else row["status"]))
            if n == MAIN and system in (DUET, EAGER) and options.threads > 1 and not options.quick and row["status"] == "ok":
                out.append({**row, **measure(work, system, systems, n, 1, limits, {} if system == DUET else expected), "threads": 1})
        product(n, work.d)


def say(line):
    print(line, file=sys.stderr, flush=True)


def bench(program, *arguments):
    done = subprocess.run([program, "--json", *map(str, arguments)], capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[0])


def run_training(options, systems, limits, scratch):
    """Steps at the shapes of VEGAS, and a whole run on spoken and drawn digits."""
    if EAGER not in systems:
        return []
    import training
    rows = []

    def add(work, system, body, **more):
        def on_threads():
            set_threads(EAGER, options.threads)
            return body()

        row = jobs.once(on_threads, limits.compile_seconds + 4 * limits.seconds)
        answer = row.pop("answer", None)
        if row["status"] == "ok":
            row.update(answer if isinstance(answer, dict) else {"median_s": answer})
        rows.append({"work": work, "system": system, "threads": options.threads, **more, **row})
        say(f"{work:15} {system:24} " + (f"{row['median_s'] * 1e3:10.2f} ms" if row["status"] == "ok" else row["status"]))

    wrong = jobs.once(lambda: training.check(options.program, scratch), 120)
    agreed = wrong.get("answer", wrong["status"])
    say("training step: " + ("losses and gradients agree" if agreed == "" else agreed))
    if agreed:
        return [{"work": "training_step", "system": EAGER, "threads": options.threads, "status": "another answer: " + str(agreed)}]
    pairs = Path(scratch) / "pairs"
    training.write_pairs(pairs, 4096 if options.quick else 8192, (128, 1024), CLASSES, 0.5)
    for batch in (128, 512):
        add("training_step", DUET, lambda: training.step_time_on_duet(options.program, pairs, Path(scratch) / f"run{batch}", batch, options.threads), batch=batch)
        for system in (EAGER, COMPILED):
            add("training_step", system, lambda: training.step_times_on_torch(pairs, CLASSES, batch, 15 if options.quick else 40, system == COMPILED),
                batch=batch)
    digits = options.shared / "data" / "avdigits"
    name = "avdigits" if digits.is_dir() else "built-in digits"
    source = digits if digits.is_dir() else ROOT / "data" / "samples" / "digits"
    folder = training.in_row_order(source, Path(scratch) / "digits")
    epochs = 4 if options.quick else 40

    def on_duet():
        seconds, lines = training.train_on_duet(options.program, folder, Path(scratch) / "digits_run", options.threads, labels=0.1, epochs=epochs)
        return {"median_s": seconds, "map": next(line["map"]["mean"] for line in reversed(lines) if "map" in line)}

    def on_torch():
        start = time.perf_counter()
        score = training.train_on_torch(folder, 0.1, epochs)
        return {"median_s": time.perf_counter() - start, "map": score}

    add("training_run", DUET, on_duet, data=name, epochs=epochs)
    add("training_run", EAGER, on_torch, data=name, epochs=epochs)
    return rows


def versions():
    out = {}
    for package in ("numpy", *dict.fromkeys(PACKAGES.values())):
        try:
            out[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            out[package] = None
    return out


def main():
    parser = argparse.ArgumentParser(prog="./dev bench peers", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="three minutes instead of fifteen: fewer sizes, shorter limits, results under build/")
    parser.add_argument("--works", default="", help="only these, separated by commas; training is one of them")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--build", type=Path, default=ROOT / "build" / "release")
    options = parser.parse_args()
    options.program, options.bench = str(options.build / "duet"), str(options.build / "duet-bench")
    options.shared = Path(os.environ.get("DUET_SHARED_DIR", ROOT.parent / "shared"))
    started = time.time()
    names = options.works.split(",") if options.works else [*(work.name for work in WORKS), "training"]
    unknown = set(names) - {*(work.name for work in WORKS), "training"}
    if unknown:
        parser.error(f"--works: unknown {', '.join(sorted(unknown))}")
    chosen = [work for work in WORKS if work.name in names]
    limits = jobs.Limits(60, 120, 1.0, int(0.7 * jobs.available_bytes()))
    if options.quick:
        limits = jobs.Limits(4, 60, 0.25, limits.memory_bytes)
        for work in chosen:
            work.sizes = tuple(n for n in work.sizes if n in (1024, 4096)) or (8192,)

    systems, missing = load(options.build / "kernels" / "libduet.so")
    products, results = {}, []

    def product(n, d):
        """The yardsticks of a shape, measured right after the works that they stand beside."""
        if (n, d) in products:
            return
        line = bench(options.bench, "--operation", "product", "--n", n, "--m", n, "--d", d, "--threads", options.threads, *(["--repeat", 1] if n > 30000 else []))
        products[n, d] = {"n": n, "d": d, "duet_s": line["median_s"], "peaks": {"flops_per_s": line["peak_flops_per_s"], "bytes_per_s": line["peak_bytes_per_s"]}}
        if EAGER in systems and n <= 30000:
            inputs = works.draw(n, d, CLASSES)

            def make():
                set_threads(EAGER, options.threads)
                return systems[EAGER].product(inputs, options.threads)

            row = jobs.run(make, limits, lambda answer: "")
            products[n, d]["torch_mm_s"] = row.get("median_s")

    for work in chosen:
        run_work(work, systems, missing, options, limits, results, product)
    with tempfile.TemporaryDirectory() as scratch:
        training_rows = run_training(options, systems, limits, scratch) if "training" in names else []

    product(MAIN, 128)
    described = machine.describe()
    peaks = {key: max(each["peaks"][key] for each in products.values()) for key in ("flops_per_s", "bytes_per_s")}
    document = {"machine": described, "versions": {"duet": bench(options.bench, "--operation", "gather", "--n", 8, "--m", 8, "--repeat", 1)["version"], **versions()},
                "date": datetime.date.today().isoformat(), "quick": options.quick, "threads": options.threads, "seconds": round(time.time() - started),
                "load": os.getloadavg()[0], "limit_s": limits.seconds, "memory_limit_bytes": limits.memory_bytes, "peaks": peaks,
                "products": [products[key] for key in sorted(products)], "results": results, "training": training_rows}
    folder = ROOT / "build" / "peers" if options.quick or options.works else ROOT / "bench" / "results"
    folder.mkdir(parents=True, exist_ok=True)
    report.write(folder, machine.slug(described), machine.name(described), document, chosen)
    say(f"wrote {folder.relative_to(ROOT)}/{machine.slug(described)}.md in {document['seconds']} s")


if __name__ == "__main__":
    main()
