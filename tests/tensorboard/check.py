"""The event file of a run, read by TensorBoard's own reader, beside metrics.jsonl.

check.py RUN: every number of every line is a scalar of its step, and there is no other. The reader stops at a wrong
checksum without a word: then scalars are missing.
"""
import json
import math
import struct
import sys
from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

KEYS = ["loss", "loss_label", "loss_soft", "loss_cross", "loss_kl", "loss_pair", "loss_dis"]
KEYS += ["learning_rate", "ratio", "rho", "concord", "pair_weight"]


def float32(value):
    return struct.unpack("f", struct.pack("f", value))[0]


run = Path(sys.argv[1])
expected = {}
for line in map(json.loads, (run / "metrics.jsonl").read_text().splitlines()):
    if "step" not in line or "resumed" in line:
        continue
    if "map" in line:
        split = line.get("split", "test") + ("_best" if line.get("model") == "best" else "")
        numbers = {f"{split}/map/{direction}": value for direction, value in line["map"].items()}
        numbers[f"{split}/recall_at_1/mean"] = line["recall"]["1"]["mean"]
    else:
        kind = "epoch" if "seconds" in line else "step"
        numbers = {f"{kind}/{key}": line[key] for key in KEYS if key in line}
    for tag, value in numbers.items():
        if value is not None:
            expected.setdefault(tag, []).append((line["step"], float32(value)))

accumulator = EventAccumulator(str(run), size_guidance={"scalars": 0})
accumulator.Reload()
found = {
    tag: [(event.step, event.value) for event in accumulator.Scalars(tag)]
    for tag in accumulator.Tags()["scalars"]
}
assert found == expected, f"{sorted(found)} and {sorted(expected)} differ"
times = [event.wall_time for event in accumulator.Scalars("epoch/loss")]
assert times == sorted(times) and all(math.isfinite(time) and time > 1e9 for time in times)
print(f"{run.name}: {len(found)} tags, {sum(map(len, found.values()))} scalars")
