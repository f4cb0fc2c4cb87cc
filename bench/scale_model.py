"""scale_model.py [--check PAGE | --write PAGE]: what ranks send, hold and wait for, as tables in Markdown.

Without a flag it prints the tables. A page holds each of them between <!-- table: NAME --> and <!-- end of table -->;
--check says where page and model differ and exits 1, --write puts the tables into the page. Bytes and memory of the
gathered scheme follow trainer/ranked_batch.cpp, trainer/ranked_losses.cpp and runtime/ranks/ranks.cpp call by call. The
ring and every time are a model of what is not built and was not measured (docs/SCALE.md).
"""
import argparse
import difflib
import functools
import re
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent


def enumerator(path, name):
    """The value of an enumerator of the C interface, so that the model follows it."""
    found = re.search(rf"\b{name} = (\d+)", (ROOT / path).read_text())
    if not found:
        sys.exit(f"scale_model.py: {path}: expected {name} = a number")
    return int(found[1])


F32, F64, I64 = 4, 8, 8  # bytes
PAIR_SUMS = enumerator("kernels/contrastive/contrastive.h", "DUET_CONTRASTIVE_SUMS")
PAIR_STATISTICS = enumerator("kernels/contrastive/contrastive.h", "DUET_CONTRASTIVE_STATISTICS")
KL_SUMS = enumerator("kernels/distillation/distillation.h", "DUET_DISTILLATION_SUMS")
KL_STATISTICS = enumerator("kernels/distillation/distillation.h", "DUET_DISTILLATION_STATISTICS")
BLOCK_ROWS = enumerator("runtime/ranks/block_tree.h", "kBlockRows")
TILE_BLOCKS = enumerator("trainer/ranked_batch.cpp", "kTileBlocks")
SCALARS = 2  # behind a column gradient: of the scale and of the bias (ranked_losses.cpp, ColumnGradients)
INTENT = 6 * I64  # what a call sends to every other rank first (ranks.h, Intent)
REQUESTS = 2  # signal and checkpoint, the maximum of all ranks, once a step (loop.cpp, request)
ROW_OPTIONS = 4 * F32  # trust, kappa, group, annotated: what travels beside a row of a ring's block

# The encoders of a step of bench/results/nvidia-h200.md: VEGAS, two hidden layers of 256.
INPUTS, HIDDEN = (128, 1024), (256, 256)

# Measured on one H200 (bench/results/nvidia-h200.md, nvidia-h200-with-pytorch.json), forward and backward, tf32x3,
# 262144 x 262144 x 256.
MEASURED_N, MEASURED_D = 262144, 256
PAIR_SECONDS, PAIR_PRODUCTS = 2.684, 4  # alignment log_sum_exp both; products of d multiply-adds a pair
KL_SECONDS, KL_PRODUCTS = 4.290, 6  # distillation agreement both
PAIR_RATE = PAIR_PRODUCTS * MEASURED_N**2 * MEASURED_D / PAIR_SECONDS  # multiply-adds a second
KL_RATE = KL_PRODUCTS * MEASURED_N**2 * MEASURED_D / KL_SECONDS
PAIR_EXTRA_BYTES, KL_EXTRA_BYTES = 1_233_141_824, 1_875_918_976  # extra_bytes of the same two lines
# triplet all_soft both tf32x3, 8192 x 8192 x 512: sorting takes most of it, so a pair has a time and no rate.
TRIPLET_A_PAIR = 0.019 / 8192**2

# Words of packed operands a row, in units of d (kernels/distillation/PLAN.md): the student's rows and columns; beside
# them the teacher's rows.
PAIR_PACKED, KL_PACKED = 2, 3
GRADIENT_BLOCKS = 2 * 4096 * 4096 * F32  # G and its transpose of a backward block (kernels/cuda/sweep.h)

# NVIDIA, "Introducing NVIDIA HGX H100": NVLink's 900 GB/s of a GPU are both directions together.
NVLINK = 900e9 / 2
# NVIDIA, DGX SuperPOD reference architecture for H100, key components: 400 Gb/s InfiniBand; DGX BasePOD, core
# components: eight ConnectX-7 of 400 Gb/s a system of eight GPUs.
INFINIBAND = 400e9 / 8
GPUS_A_SYSTEM = 8
BUDGET = 80e9  # bytes of a rank

METHODS = ("label", "triplet", "contrastive", "psd")


def parameters(d, classes):
    """P, the floats of the parameters that rows are read by: two encoders and the shared classifier."""
    count = classes * d + classes
    for width in INPUTS:
        for units in (*HIDDEN, d):
            count += (width + 1) * units
            width = units
    return count


class Call(NamedTuple):
    """Of a step: a gather of so many bytes a row, or a sum over all rows of length items."""
    gathered: int = 0
    length: int = 0
    item: int = 0

    @property
    def summed(self):
        return self.length * self.item


def losses(method):
    """How many triplet, distillation and pair losses it has."""
    return {"label": (0, 0, 0), "triplet": (2, 0, 0), "contrastive": (0, 0, 1), "psd": (2, 1, 1)}[method]


def calls(method, n, d, classes):
    triplets, distils, pairs = losses(method)
    gradient = Call(length=n * d + SCALARS, item=F32)
    made = [Call(gathered=F32 * (3 * d + 2 * classes if method == "psd" else 2 * d)), Call(gathered=2 * F32)]
    for _ in range(triplets):
        made += [Call(gathered=2 * F32), Call(length=n * d, item=F32)]
    if distils:
        made += [Call(gathered=F32), Call(length=n, item=F64 * KL_SUMS), gradient]
    if pairs:
        made += [Call(gathered=F32), Call(length=n, item=F64 * PAIR_SUMS), gradient]
    return [*made, Call(length=parameters(d, classes), item=F32)]


def share(count, rank, ranks):
    return count * rank // ranks, count * (rank + 1) // ranks


def rank_blocks(rank, ranks, rows):
    blocks = -(-rows // BLOCK_ROWS)
    first, last = share(-(-blocks // TILE_BLOCKS), rank, ranks)
    return min(first * TILE_BLOCKS, blocks), min(last * TILE_BLOCKS, blocks), blocks


@functools.cache
def node_count(rank, ranks, rows):
    """As block_nodes of runtime/ranks/block_tree.cpp."""
    first, last, blocks = rank_blocks(rank, ranks, rows)
    nodes = 0
    while first < last:
        width = 1
        while width < blocks and first % (2 * width) == 0 and min(first + 2 * width, blocks) <= last:
            width *= 2
        first, nodes = min(first + width, blocks), nodes + 1
    return nodes


def traffic(method, n, ranks, d, classes):
    """Bytes that a rank sends and receives in a step, of the rank with most of each."""
    if ranks == 1:
        return 0, 0
    nodes = [node_count(rank, ranks, n) for rank in range(ranks)]
    made = calls(method, n, d, classes)
    sent, received = [], []
    for rank in range(ranks):
        first, last, _ = rank_blocks(rank, ranks, n)
        own = min(last * BLOCK_ROWS, n) - min(first * BLOCK_ROWS, n)
        control = (ranks - 1) * (INTENT * (len(made) + 1) + REQUESTS * I64)
        out = into = control
        for call in made:
            out += call.gathered * own * (ranks - 1)
            into += call.gathered * (n - own)
            begin, end = share(call.length, rank, ranks)
            slice_bytes = (end - begin) * call.item
            out += nodes[rank] * (call.summed - slice_bytes) + slice_bytes * (ranks - 1)
            into += (sum(nodes) - nodes[rank]) * slice_bytes + call.summed - slice_bytes
        sent.append(out)
        received.append(into)
    return max(sent), max(received)


def equal_traffic(method, n, ranks, d, classes):
    """The same of one direction where every rank holds one node of the tree, without the short messages."""
    made = calls(method, n, d, classes)
    return sum(call.gathered * n + 2 * call.summed for call in made) * (ranks - 1) / ranks


def ring_traffic(method, n, ranks, d, classes):
    """Of the ring: blocks of b rows of the columns go round twice, forward and backward."""
    triplets, distils, pairs = losses(method)
    b = n / ranks
    row = F32 * d
    values = (1 + (triplets > 0) + distils, 1 + distils)  # rows of d that travel forward and backward
    statistics = F32 * (distils * (KL_STATISTICS + 1) + pairs * (PAIR_STATISTICS + 1))
    beside = 2 * (ROW_OPTIONS + F32 * classes * (method == "psd")) + statistics
    sums = F64 * (distils * KL_SUMS + pairs * PAIR_SUMS)
    onward = b * (sum(values) * row + beside)  # to every rank but the first
    home = b * ((triplets + distils + pairs) * row + sums)  # gathered on the way, and back to where it came from
    gradients = 2 * F32 * parameters(d, classes) * (ranks - 1) / ranks
    return (ranks - 1) * onward + ranks * home + gradients


def workspace(method, rows, columns, d):
    """Of a kernel call on a device: packed operands, gradient blocks, and what the measurement has beside these."""
    kl = losses(method)[1]
    packed, extra = (KL_PACKED, KL_EXTRA_BYTES) if kl else (PAIR_PACKED, PAIR_EXTRA_BYTES)
    a_row = (extra - GRADIENT_BLOCKS) / (2 * MEASURED_N) - packed * F32 * MEASURED_D
    return (rows + columns) * (packed * F32 * d + a_row) + GRADIENT_BLOCKS


def gathered_arrays(method, n, ranks, d, classes):
    """Bytes of the arrays of a step on a rank with one node of the tree."""
    triplets, distils, pairs = losses(method)
    psd, row = method == "psd", F32 * d
    rows = 4 * row + psd * 2 * row  # the student's values and gradients, the teacher's values
    rows += F32 * classes * (3 if psd else 2)  # the teacher's logits, or zeros; the classes taken for true
    gathered = calls(method, n, d, classes)[0].gathered
    rows += gathered * (1 + 1 / ranks)  # all ranks' bytes, and what is sent
    rows += (triplets + distils + pairs) * 2 * row  # column gradients: the part's, the sum
    rows += triplets * (row + 2 * F32)  # the anchors' sums, loss and active
    rows += distils * (2 * F64 * KL_SUMS + F32 * (4 + 2 * KL_STATISTICS))
    rows += pairs * (2 * F64 * PAIR_SUMS + F32 * (4 + 2 * PAIR_STATISTICS))
    if triplets + distils + pairs:
        rows += row * (ranks - 1) / ranks  # the others' slices in reduce_scatter
    return n * rows


def ring_arrays(method, n, ranks, d, classes):
    """Bytes of a rank's own rows and of two travelling blocks."""
    triplets, distils, pairs = losses(method)
    psd, row = method == "psd", F32 * d
    sums = F64 * (distils * KL_SUMS + pairs * PAIR_SUMS)
    terms = F32 * (distils * (4 + 2 * KL_STATISTICS) + pairs * (4 + 2 * PAIR_STATISTICS))
    own = 4 * row + psd * 2 * row + F32 * classes * (3 if psd else 2) + terms + triplets * (row + 2 * F32)
    beside = ROW_OPTIONS + psd * F32 * classes
    forward = (1 + (triplets > 0) + distils + triplets) * row + sums + beside
    backward = (1 + distils + distils + pairs) * row + beside
    return n / ranks * (own + 2 * max(forward, backward))


def weights(d, classes):
    """Parameters, gradients, two moments, teacher; a part's gradients and their sum."""
    return 7 * F32 * parameters(d, classes)


def memory(scheme, method, n, ranks, d, classes):
    """Of the losses on a device."""
    columns = n if scheme == "gather" else n / ranks
    arrays = gathered_arrays if scheme == "gather" else ring_arrays
    return arrays(method, n, ranks, d, classes) + workspace(method, n / ranks, columns, d)


def fits(scheme, method, n, ranks, d, classes):
    return memory(scheme, method, n, ranks, d, classes) + weights(d, classes) <= BUDGET


def largest_batch(scheme, method, ranks, d, classes):
    step = ranks * BLOCK_ROWS * TILE_BLOCKS
    low, high = 0, 1
    while fits(scheme, method, high * step, ranks, d, classes):
        high *= 2
    while high - low > 1:
        middle = (low + high) // 2
        if fits(scheme, method, middle * step, ranks, d, classes):
            low = middle
        else:
            high = middle
    return low * step


def compute_seconds(method, n, ranks, d):
    """Of all pairs on ranks at the measured rates; encoders take none."""
    triplets, distils, pairs = losses(method)
    a_pair = triplets * TRIPLET_A_PAIR + distils * KL_PRODUCTS * d / KL_RATE + pairs * PAIR_PRODUCTS * d / PAIR_RATE
    return a_pair * n * n / ranks


def link(ranks):
    return NVLINK if ranks <= GPUS_A_SYSTEM else INFINIBAND


def figure(value, digits=3):
    """Rounded to so many digits, never in exponents."""
    text = f"{value:.{digits}g}"
    return f"{float(text):,.0f}" if value >= 100 else f"{float(text):g}"


def scaled(value, units):
    factor, unit = next((each for each in units if value >= 0.9995 * each[0]), units[-1])
    return f"{figure(value / factor)} {unit}"


def size(value):
    return "0" if value == 0 else scaled(value, ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")))


def seconds(value):
    return scaled(value, ((1, "s"), (1e-3, "ms"), (1e-6, "us")))


def rows_of(value):
    return scaled(value, ((1e9, "G"), (1e6, "M"), (1e3, "k")))


def table(header, rows):
    lines = ["| " + " | ".join(header) + " |", "| --- |" + " ---: |" * (len(header) - 1)]
    return lines + ["| " + " | ".join(row) + " |" for row in rows]


def bytes_table():
    rows = []
    for n in (512, 4096, 32768):
        for ranks in (1, 2, 4, 8):
            cells = []
            for classes in (10, 100):
                cells += [size(each) for each in traffic("psd", n, ranks, 128, classes)]
            rows.append([str(n), str(ranks), *cells])
    return table(["n", "N", "C = 10: sends", "receives", "C = 100: sends", "receives"], rows)


def methods_table():
    rows = []
    for method in METHODS:
        made = calls(method, 4096, 128, 10)
        payloads = sum(1 if call.gathered else 2 for call in made) + 1  # a sum: slices, then the whole; the requests
        cells = [size(traffic(method, 4096, ranks, 128, 10)[0]) for ranks in (2, 3, 4, 8)]
        rows.append([method, str(len(made) + 1), str(len(made) + 1 + payloads), *cells])
    return table(["method", "calls", "messages to each rank", "N = 2: sends", "N = 3", "N = 4", "N = 8"], rows)


def memory_table():
    rows = []
    for n in (512, 4096, 32768):
        for ranks in (2, 4, 8):
            cells = [size(arrays(method, n, ranks, 128, 10) + weights(128, 10))
                     for method in ("contrastive", "psd") for arrays in (gathered_arrays, ring_arrays)]
            rows.append([str(n), str(ranks), *cells])
    return table(["n", "N", "contrastive: gather", "ring", "psd: gather", "ring"], rows)


def rates_table():
    rows = [[name, str(products), figure(rate / 1e12), figure(1e12 * products * 512 / rate)]
            for name, products, rate in (("InfoNCE", PAIR_PRODUCTS, PAIR_RATE), ("distillation", KL_PRODUCTS, KL_RATE))]
    return table(["loss, both passes", "products a pair", "10^12 multiply-adds a second", "ps a pair, d = 512"],
                 [*rows, ["triplets, one direction", "-", "-", figure(1e12 * TRIPLET_A_PAIR)]])


def time_table(method):
    rows = []
    for n in (32768, 262144, 1048576, 4194304):
        for ranks in (8, 64, 256, 1024):
            pairs = compute_seconds(method, n, ranks, 512)
            gather = equal_traffic(method, n, ranks, 512, 100) / link(ranks)
            ring = ring_traffic(method, n, ranks, 512, 100) / link(ranks)
            steps = [seconds(time) if fits(scheme, method, n, ranks, 512, 100) else "does not fit"
                     for scheme, time in (("gather", pairs + gather), ("ring", max(pairs, ring)))]
            rows.append([f"{n:,}", f"{ranks:,}", seconds(pairs), seconds(gather), steps[0], seconds(ring), steps[1]])
    return table(["n", "N", "pairs", "gather: sending", "a step", "ring: sending", "a step"], rows)


def batch_table():
    rows = []
    for d in (128, 512, 1024):
        for ranks in (8, 64, 256, 1024):
            cells = [rows_of(largest_batch(scheme, method, ranks, d, 100))
                     for method in ("contrastive", "psd") for scheme in ("gather", "ring")]
            rows.append([str(d), f"{ranks:,}", *cells])
    return table(["d", "N", "contrastive: gather", "ring", "psd: gather", "ring"], rows)


# arXiv 2410.17243v1, table 1: gigabytes of the loss, ViT-L/14; k is taken for 1024 rows. "-": more than the GPUs hold.
PUBLISHED = {(8, 32): ("16.67", "2.27", "0.18"), (8, 64): ("66.11", "8.63", "0.36"), (8, 128): ("-", "33.64", "0.72"),
             (8, 256): ("-", "-", "1.45"), (8, 1024): ("-", "-", "6.53 (data offloaded)"),
             (32, 32): ("16.66", "0.71", "0.05"), (32, 64): ("66.11", "2.45", "0.09"),
             (32, 128): ("-", "8.98", "0.18"), (32, 256): ("-", "34.35", "0.35"), (32, 1024): ("-", "-", "1.44")}
VIT_L_WIDTH = 768  # of ViT-L/14's shared space: NVIDIA NeMo framework user guide 24.09, CLIP, predefined configurations


def published_table():
    rows = []
    for (ranks, k), found in PUBLISHED.items():
        ours = [figure(memory(scheme, "contrastive", 1024 * k, ranks, VIT_L_WIDTH, 1) / 1e9)
                for scheme in ("gather", "ring")]
        rows.append([str(ranks), f"{k}k", *found, *ours])
    return table(["GPUs", "n", "CLIP", "OpenCLIP", "Inf-CL", "model: gather", "model: ring"], rows)


TABLES = {"bytes": bytes_table, "methods": methods_table, "memory": memory_table,
          "rates": rates_table, "time of contrastive": lambda: time_table("contrastive"),
          "time of psd": lambda: time_table("psd"), "largest batch": batch_table, "published": published_table}


def filled(page):
    """The page with its tables as the model has them; exits where a table is missing, unknown or twice there."""
    names = re.findall(r"<!-- table: (.+?) -->", page)
    if sorted(names) != sorted(TABLES):
        sys.exit(f"scale_model.py: the page has the tables {names}, expected each of {list(TABLES)} once")
    for name, make in TABLES.items():
        place = rf"(<!-- table: {re.escape(name)} -->\n)((?!<!-- table).)*?(<!-- end of table -->)"
        page, count = re.subn(place, lambda found: found[1] + "\n" + "\n".join(make()) + "\n\n" + found[3], page,
                              flags=re.DOTALL)
        if count != 1:
            sys.exit(f"scale_model.py: table {name}: expected <!-- end of table --> behind it")
    return page


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--check", type=Path, metavar="PAGE")
    what.add_argument("--write", type=Path, metavar="PAGE")
    given = parser.parse_args()
    path = given.check or given.write
    if not path:
        for name, make in TABLES.items():
            print(f"<!-- table: {name} -->\n\n" + "\n".join(make()) + "\n\n<!-- end of table -->\n")
        return
    page = path.read_text()
    model = filled(page)
    if given.write:
        path.write_text(model)
    elif page != model:
        sys.stdout.writelines(difflib.unified_diff(page.splitlines(True), model.splitlines(True), str(path), "model"))
        sys.exit(f"scale_model.py: {path} differs from the model: python3 bench/scale_model.py --write {path}")


if __name__ == "__main__":
    main()
