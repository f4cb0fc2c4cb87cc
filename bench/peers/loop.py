"""A step of a loop like README's, without dropout and the average of the model, with duet.torch's losses and with
pytorch-metric-learning's: everything else is the same code. Time and memory, each measurement in a process of its own,
the two in turn; the first step's losses are equal to 1e-4, before anything is timed. Writes a page into bench/results/.

Memory is what a step has in use at its peak beyond what the process has in use before it, once a first step has loaded
code and made the optimizer's state: the encoders' activations and gradients are part of it, in both alike. On a GPU it
is the device's: what PyTorch has given out at its peak, and duet's scratch memory, all of it.
"""
import argparse
import gc
import importlib
import os
import statistics
import sys
from pathlib import Path

import jobs
import machine

ROOT = Path(__file__).resolve().parents[2]
sys.path[0] = str(ROOT / "build" / "release" / "python")  # the package duet, not the file of that name beside this one
DUET, METRIC = "duet", "pytorch-metric-learning"
MODULES = {DUET: ("duet.torch", "duet.torch"),
           METRIC: ("pytorch_metric_learning.losses", "pytorch_metric_learning.distances")}
WIDTHS, CLASSES = (128, 784), 10  # avdigits'
ENCODERS = "no loss on pairs"
LOSSES = {"TripletMarginLoss": {"margin": 0.2}, "NTXentLoss": {}, "SupConLoss": {}, "CircleLoss": {}}
BATCHES = {512: 1, 4096: 3}  # goals: times as fast, at least
RESOLUTION = 2e6  # bytes; a step with CircleLoss came out 1.6 MB below one without it
MEMORY_GOAL = 20  # at 4096: times less memory, at least


class DeviceMemory:
    """The GPU's memory, as jobs.HostMemory is the process's: PyTorch's peak, and all of duet's scratch memory."""

    def __init__(self, torch):
        self.torch = torch

    def start(self):
        gc.collect()
        self.torch.cuda.synchronize()
        self.torch.cuda.reset_peak_memory_stats()
        self.before = self.torch.cuda.memory_allocated()

    def extra(self):
        contexts = sys.modules.get("duet._context")
        scratch = sum(each.workspace.bytes for each in contexts._defaults.values()
                      if each.device_index >= 0) if contexts else 0
        return self.torch.cuda.max_memory_allocated() - self.before + scratch


def step_of(system, name, n, threads, device):
    """(call, read) or (call, read, memory): one step, which returns its loss."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])  # which duet takes its threads from
    import torch
    from torch import nn

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    losses, distances = (importlib.import_module(each) for each in MODULES[system])
    options = dict(LOSSES.get(name, {}))
    if name == "TripletMarginLoss":
        options["distance"] = distances.LpDistance(power=2)
    criterion = getattr(losses, name)(**options) if name != ENCODERS else lambda *_, **__: 0

    def encoder(width):
        relu = nn.ReLU(inplace=True)
        return nn.Sequential(nn.Linear(width, 256), relu, nn.Linear(256, 256), relu, nn.Linear(256, 64))

    model = nn.ModuleList([*(encoder(width) for width in WIDTHS), nn.Linear(64, CLASSES)]).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3, weight_decay=1e-3, fused=True)
    inputs = [torch.randn(n, width).to(device) for width in WIDTHS]
    # A copy: of the same object pytorch-metric-learning would leave out every row's own pair.
    labels = torch.randint(0, CLASSES, (n,)).to(device)
    of_ref = labels.clone()

    def step():
        a, v = (nn.functional.normalize(model[k](x)) for k, x in enumerate(inputs))
        loss = criterion(a, labels, ref_emb=v, ref_labels=of_ref) + criterion(v, labels, ref_emb=a, ref_labels=of_ref)
        loss = loss + sum(nn.functional.cross_entropy(10 * model[2](x), labels) for x in (a, v))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    first = step()
    return (step, lambda _: first, DeviceMemory(torch)) if device == "cuda" else (step, lambda _: first)


def measure(systems, name, n, threads, device, rounds, limits):
    """By system: its status, and the medians over the rounds."""
    rows, expected = {system: [] for system in systems}, []

    def check(answer):
        expected.append(answer)
        return "" if abs(answer - expected[0]) <= 1e-4 * abs(expected[0]) else f"{answer} there, {expected[0]} here"

    for _ in range(rounds):
        for system, seen in rows.items():
            if not seen or seen[-1]["status"] == "ok":
                made = lambda: step_of(system, name, n, threads, device)
                # Loading CUDA takes as long as compiling.
                seen.append(jobs.run(made, limits, check, compiles=device == "cuda"))
    out = {}
    for system, seen in rows.items():
        out[system] = {"status": seen[-1]["status"]}
        if seen[-1]["status"] == "ok":
            out[system] |= {key: statistics.median(each[key] for each in seen) for key in ("median_s", "extra_bytes")}
        print(f"{name:18} n {n:5} {system:24} {out[system]}", file=sys.stderr, flush=True)
    return out


def cells(name, n, of, encoders):
    """A row of the table; encoders: bytes of a step without a loss on pairs."""
    ours, theirs = of[DUET], of[METRIC]
    texts = [f"{each['median_s'] * 1e3:.1f} ms, {each['extra_bytes'] / 1e6:.0f} MB" if each["status"] == "ok"
             else each["status"] for each in (ours, theirs)]
    if any(each["status"] != "ok" for each in (ours, theirs)):
        return [name, n, *texts, "-", "-", "-", "-"]
    faster = theirs["median_s"] / ours["median_s"]
    smaller = theirs["extra_bytes"] / max(1, ours["extra_bytes"])
    of_loss = (theirs["extra_bytes"] - encoders) / max(RESOLUTION, ours["extra_bytes"] - encoders)
    holds = faster >= BATCHES[n] and (n < 4096 or smaller >= MEMORY_GOAL)
    return [name, n, *texts, f"{faster:.1f}", f"1/{smaller:.0f}", f"1/{of_loss:.0f}", "yes" if holds else "**no**"]


def page(command, title, count, rounds, limit, encoders, table):
    from importlib import metadata

    versions = ", ".join(f"{each} {metadata.version(each)}" for each in ("torch", "pytorch-metric-learning"))
    header = ["loss", "n", DUET, METRIC, "times as fast", "share of the memory", "beyond the encoders'", "goal holds"]
    lines = [
        f"# A training step with duet.torch and with pytorch-metric-learning: {title}", "",
        f"`{command}` writes this page. README's loop at its shapes, n rows a modality, 10 classes, {count},",
        f"{versions}; medians of {rounds} processes each, in turn; losses equal to 1e-4. Memory: the",
        "peak of a step beyond what the process has in use before it, the encoders' share, alike in both, included:",
        f"{' and '.join(f'{size / 1e6:.0f} MB at n = {n}' for n, size in encoders.items())} without a loss on pairs.",
        f"\"out of memory\": {limit}. Goals: at n = 4096 at least {BATCHES[4096]} times as fast "
        f"in at most 1/{MEMORY_GOAL} of the memory, at",
        "n = 512 not slower.", "",
        "| " + " | ".join(header) + " |", "|" + " --- |" * len(header),
        *("| " + " | ".join(map(str, row)) + " |" for row in table)]
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(prog="./dev bench loop", description=__doc__.split("\n\n")[0])
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--seconds", type=float, default=60, help="that a step may take")
    parser.add_argument("--rounds", type=int, default=3, help="processes of each system")
    parser.add_argument("--only", default=",".join(LOSSES), metavar="LOSSES")
    options = parser.parse_args()
    unknown = set(options.only.split(",")) - set(LOSSES)
    if unknown:
        parser.error(f"--only: unknown {', '.join(sorted(unknown))}")
    on_gpu = options.device == "cuda"
    limits = jobs.Limits(options.seconds, options.seconds, 1.5, -1 if on_gpu else int(0.7 * jobs.available_bytes()))
    how = (options.threads, options.device, options.rounds, limits)
    encoders = {}
    for n in BATCHES:
        alone = measure((DUET,), ENCODERS, n, *how)[DUET]
        if alone["status"] != "ok":
            sys.exit(f"loop: a step of {n} rows without a loss on pairs: {alone['status']}")
        encoders[n] = alone["extra_bytes"]
    table = [cells(name, n, measure((DUET, METRIC), name, n, *how), encoders[n])
             for name in options.only.split(",") for n in BATCHES]
    here = machine.describe()
    title, slug = machine.name(here), machine.slug(here)
    count = f"{options.threads} thread{'s' if options.threads > 1 else ''}"
    limit = f"more than {limits.memory_bytes / 1e9:.0f} GB"
    if on_gpu:
        import torch

        title = count = torch.cuda.get_device_name()
        slug = machine.file_name(title)
        limit = f"more than the {torch.cuda.get_device_properties(0).total_memory / 1e9:.0f} GB of the device"
    file = ROOT / "bench" / "results" / (slug + "-loop.md")
    threads = "" if options.threads == parser.get_default("threads") else f" --threads {options.threads}"
    command = "./dev bench loop" + (" --device cuda" if on_gpu else threads)
    text = page(command, title, count, options.rounds, limit, encoders, table)
    print(text, end="")
    if set(options.only.split(",")) == set(LOSSES):
        file.write_text(text)


if __name__ == "__main__":
    main()
