"""gpu_page.py JSON...: a page of what `./dev gpu-check` wrote, beside the first JSON with the ending .md. Of several
runs on one device the first says everything, a later one what the first has not. Training steps are those of every run,
each beside what was measured with it."""
import json
import sys
from pathlib import Path


def table(header, rows):
    lines = "".join(" --- |" if k == 0 else " ---: |" for k in range(len(header)))
    return ["| " + " | ".join(header) + " |", "|" + lines,
            *("| " + " | ".join(row) + " |" for row in rows), ""]


def number(value, digits=3):
    return "-" if value is None else f"{value:.{digits}g}" if value < 100 else f"{value:,.0f}"


def share(value):
    """Of a limit or of a product; none where the work was done in another pass."""
    return number(value if value is None or value <= 2 else None, 2)


def goals(runs):
    rows, seen = [], set()
    for run in runs:
        for each in run["goals"]:
            if each["name"] in seen or each["figure"] is None:
                continue
            seen.add(each["name"])
            said = {True: "yes", False: "**no**", None: "-"}[each["reached"]]
            rows.append([each["name"], each["goal"], number(each["figure"]), said, run["commit"]])
    without = {each["name"]: each["goal"] for run in runs for each in run["goals"] if each["name"] not in seen}
    return rows + [[name, goal, "-", "not measured", "-"] for name, goal in without.items()]


def benchmarks(runs):
    rows, seen = [], set()
    for run in runs:
        for line in run["benchmarks"]:
            key = tuple(line[each] for each in ("operation", "variant", "pass", "precision", "n", "m", "d"))
            if key in seen:
                continue
            seen.add(key)
            product = line["products"] * line["product_s"] / line["median_s"] if line["product_s"] else None
            rows.append([f"{key[0]} {key[1]} {key[2]}", key[3], f"{key[4]} x {key[5]} x {key[6]}",
                         number(1e3 * line["median_s"]), share(line["share"]), share(product), run["commit"]])
    return rows


def training(runs):
    """Every run's: what stands beside one another was measured together."""
    rows = []
    for run in runs:
        for line in run["training"]:
            if line.get("operation") == "training_step":
                rows.append(["duet", str(line["n"]), number(line["loop_rate"]), run["commit"]])
        for line in run["training"]:
            if "mode" in line:
                words = number(line["steps_per_s"]) if "steps_per_s" in line else line["failed"]
                name = f"PyTorch {line.get('torch', '')} {line['mode']}".replace("  ", " ")
                rows.append([name, str(line["batch"]), words, run["commit"]])
    return rows


def page(runs, files):
    device = runs[0]["device"]
    driver, runtime = (f"{version // 1000}.{version % 1000 // 10}"
                       for version in (device["driver_version"], device["runtime_version"]))
    lines = [f"# What `./dev gpu-check` measured: {device['name']}", "",
             f"`python3 bench/gpu_page.py` wrote this page of {' and '.join(files)}. {device['multiprocessors']} "
             f"multiprocessors, {device['memory_bytes'] / 1e9:.0f} GB,",
             f"driver for CUDA {driver}, runtime {runtime}, code for compute capability "
             f"{device['capability'] // 10}.{device['capability'] % 10}. The last column is the commit.", ""]
    for run, file in zip(runs, files):
        by_kind = {}
        for each in run["results"]:
            by_kind.setdefault(each["kind"], []).append(each)
        lines += [f"## {run['commit']}: {run['seconds']:.0f} s, {file}", ""]
        rows = []
        for kind, each in by_kind.items():
            failed = [one["name"] for one in each if one["status"] == "failed"]
            rows.append([kind, str(sum(one["status"] == "passed" for one in each)),
                         str(sum(one["status"] == "skipped" for one in each)), ", ".join(failed) or "-"])
        lines += table(["what", "passed", "skipped", "failed, or not begun in time"], rows)
    lines += ["## Goals", "", *table(["what", "goal", "found", "reached", "commit"], goals(runs)),
              "## Operations", "",
              "Limit: operations over the rate of a large product in the precision, or bytes over the rate of a copy,",
              "both measured there; the share of the larger. Bare products: the time of cuBLAS's of the same shapes",
              "(fp32 for tf32x3) over the operation's. \"-\": there is none, or the work was done in another pass.", "",
              *table(["operation", "precision", "n x m x d", "ms", "share of the limit", "bare products", "commit"],
                     benchmarks(runs)),
              "## Training steps", "",
              "psd at the shapes of VEGAS (128 and 1024 columns), steps a second of the wall clock.", "",
              *table(["what", "batch", "steps a second", "commit"], training(runs))]
    return "\n".join(lines[:-1]) + "\n"


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    runs = [json.loads(Path(each).read_text()) for each in sys.argv[1:]]
    Path(sys.argv[1]).with_suffix(".md").write_text(page(runs, [Path(each).name for each in sys.argv[1:]]))


if __name__ == "__main__":
    main()
