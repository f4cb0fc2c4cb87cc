"""Steps per second of progressive self-distillation in PyTorch at the shapes of VEGAS, a JSON object a mode and batch,
as `./dev gpu-check` sets them beside duet's. Exit status 77: PyTorch is not here.

Modes: eager; graph: the whole eager step as one CUDA graph; compiled: the losses, supervision and both networks through
torch.compile, forward and backward, with a fused optimizer; compiled_graph: the same step as one CUDA graph. What is
compiled is kept on the disk, so that compiled_graph finds it. Products are float32 as PyTorch does them by default,
which is what duet's tf32x3 stands beside. The data is on the device; no loss is read."""
import argparse
import json
import signal
import sys
import tempfile
import time

WIDTHS, CLASSES, EPOCH, EPOCHS, BATCHES = (128, 1024), 10, 12, 40, 8  # as bench/training_step_bench.cpp has it
# Of a mode, all its batches; the first steps compile.
SECONDS = {"eager": 20, "graph": 20, "compiled": 60, "compiled_graph": 45}
WARMING = 5


def trainer_of(torch, training, mode, device, labels):
    model = training.Pair(WIDTHS, CLASSES).to(device)
    optimizer = None
    if mode != "eager":
        on_gpu = device == "cuda"
        optimizer = torch.optim.AdamW(model.parameters(), 1e-3, weight_decay=1e-3, fused=True, capturable=on_gpu)
    trainer = training.Trainer(
        model, labels, CLASSES, EPOCHS, optimizer=optimizer, compiles=mode.startswith("compiled")
    )
    trainer.start_epoch(EPOCH)
    return trainer


def captured(torch, step):
    """step() as one CUDA graph, captured on a stream beside the default one, which a capture may not use."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(WARMING):
            step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


def rates(torch, training, mode, device, batches, seconds):
    """Yields batch and steps per second: as many steps as take about so many seconds, one after another, waited for
    once."""
    if device == "cuda" and not torch.cuda.is_available():
        raise RuntimeError("PyTorch finds no CUDA device")
    if mode.endswith("graph") and device != "cuda":
        raise RuntimeError("CUDA graphs need a CUDA device")
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None
    for batch in batches:
        torch.manual_seed(0)
        x_a, x_v = (torch.randn(BATCHES * batch, width, device=device) for width in WIDTHS)
        labels = torch.randint(CLASSES, (BATCHES * batch,), device=device)
        trainer = trainer_of(torch, training, mode, device, labels)
        rows = torch.empty(batch, dtype=torch.int64, device=device)

        def step():
            trainer.step(x_a[rows], x_v[rows], labels[rows])

        order = torch.randperm(BATCHES * batch, device=device).split(batch)
        rows.copy_(order[0])
        do = captured(torch, step) if mode.endswith("graph") else step

        def timed(steps):
            wait()
            start = time.perf_counter()
            for k in range(steps):
                rows.copy_(order[k % BATCHES])
                do()
            wait()
            return time.perf_counter() - start

        timed(WARMING)
        steps = max(WARMING, int(seconds * WARMING / timed(WARMING)))
        yield {"batch": batch, "steps_per_s": steps / timed(steps)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cuda")
    parser.add_argument("--modes", default=",".join(SECONDS))
    parser.add_argument("--batches", default="128,512,4096")
    parser.add_argument(
        "--budget",
        type=float,
        default=sum(SECONDS.values()),
        help="seconds for everything; a mode that is not begun by then fails",
    )
    parser.add_argument("--seconds", type=float, default=1, help="of steps a line")
    parser.add_argument("--warm", action="store_true", help="print no line: compile alone, for a later call to find")
    parser.add_argument(
        "--duet", help="the program, whose losses and gradients are held to PyTorch's on the same device first"
    )
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))  # and the process of the mode under way with it
    end = time.monotonic() + options.budget
    try:
        import torch
        import jobs
        import training
    except ImportError as error:
        print(f"no PyTorch here: {error}")
        return 77
    batches = [int(batch) for batch in options.batches.split(",")]
    failed = 0
    if options.duet:
        with tempfile.TemporaryDirectory() as scratch:
            agreed = jobs.once(lambda: training.check(options.duet, scratch, options.device, options.device), 30)
        wrong = agreed.get("answer", agreed["status"])
        print(json.dumps({"check": wrong or "losses and gradients agree"}), flush=True)
        failed = int(bool(wrong))
    for mode in options.modes.split(","):
        left = end - time.monotonic()
        limit = left if options.warm else min(SECONDS[mode], left)
        of_mode = lambda: rates(torch, training, mode, options.device, batches, options.seconds)
        found, ending = jobs.each(of_mode, limit) if left > 0 else ([], "out of time")
        if options.warm:
            print(f"{mode}: {len(found)} of {len(batches)} batches: {ending}", flush=True)
            continue
        for line in found:
            print(json.dumps({"mode": mode, **line, "torch": torch.__version__}), flush=True)
        for batch in batches[len(found):]:
            print(json.dumps({"mode": mode, "batch": batch, "failed": ending}), flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main())
