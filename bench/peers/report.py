"""The results as a JSON document, a Markdown page and plots."""
import json
import math

import plot

DUET = "duet"


def milliseconds(seconds):
    value = seconds * 1e3
    return f"{value:.{max(0, 2 - math.floor(math.log10(max(value, 1e-3))))}f}" if value < 1000 else f"{value:.0f}"


def megabytes(size):
    value = size / 1e6
    return f"{value:.1f}" if value < 100 else f"{value:.0f}"


def exponent(points):
    """The slope of a least-squares line through log y over log n; None below three points."""
    points = [(math.log(n), math.log(y)) for n, y in points if y > 0]
    if len(points) < 3:
        return None
    x0, y0 = (sum(values) / len(points) for values in zip(*points))
    return sum((x - x0) * (y - y0) for x, y in points) / sum((x - x0) ** 2 for x, _ in points)


def table(head, rows):
    return ["| " + " | ".join(head) + " |", "| " + " | ".join("---" for _ in head) + " |", *("| " + " | ".join(map(str, row)) + " |" for row in rows), ""]


class Page:
    def __init__(self, document, chosen):
        self.document, self.works = document, chosen
        self.products = {(each["n"], each["d"]): each for each in document["products"]}

    def row(self, work, system, n, threads=None):
        wanted = (work.name, system, n, threads or self.document["threads"])
        return next((r for r in self.document["results"] if (r["work"], r["system"], r["n"], r["threads"]) == wanted), None)

    def cell(self, row):
        if row is None:
            return "-"
        return milliseconds(row["median_s"]) + (" *" if row.get("note") else "") if row["status"] == "ok" else row["status"]

    def at(self, work):
        return 4096 if 4096 in work.sizes else work.sizes[-1]

    def comparison(self):
        systems = ["PyTorch", "PyTorch compiled", "pytorch-metric-learning", "scikit-learn"]
        rows, notes = [], []
        for work in self.works:
            n = self.at(work)
            own = self.row(work, DUET, n)
            peers = {system: self.row(work, system, n) for system in systems}
            if own is None or own["status"] != "ok":
                rows.append([work.title, n, self.cell(own), *["-"] * 4, *(self.cell(peers[s]) for s in systems), "-", "-"])
                continue
            product = self.products[n, work.d]["duet_s"]
            finished = [r for s, r in peers.items() if r and r["status"] == "ok"]
            torch = [r for r in finished if r["system"].startswith("PyTorch")]
            best = min(torch, key=lambda r: r["median_s"]) if torch else None
            faster = [f"{min(r['median_s'] for r in torch) / own['median_s']:.1f} (PyTorch)"] if torch else []
            faster += [f"{r['median_s'] / own['median_s']:.0f} ({r['system']})" for r in finished if not r["system"].startswith("PyTorch")]
            rows.append([work.title, n, milliseconds(own["median_s"]), f"{own['median_s'] / product:.2f} of {work.products}",
                         f"{work.limit_s(n, self.document['peaks']) / own['median_s'] * 100:.0f} %", megabytes(own["extra_bytes"]),
                         megabytes(best["extra_bytes"]) if best else "-", *(self.cell(peers[s]) for s in systems), ", ".join(faster) or "-"])
            notes += [f"\\* {r['system']}, {work.title}: {r['note']}." for r in finished if r.get("note")]
        head = ["work", "n = m", "duet ms", "bare products", "of the limit", "duet MB", "PyTorch MB", *(s + " ms" for s in systems), "times faster"]
        return table(head, rows) + notes + [""]

    def single_thread(self):
        rows = []
        for work in self.works:
            n = self.at(work)
            one, all_threads = self.row(work, DUET, n, 1), self.row(work, DUET, n)
            peer = self.row(work, "PyTorch", n, 1)
            if one and all_threads and one["status"] == all_threads["status"] == "ok":
                rows.append([work.title, n, self.cell(one), self.cell(all_threads), f"{one['median_s'] / all_threads['median_s']:.2f}", self.cell(peer)])
        head = ["work", "n = m", "duet ms, 1 thread", f"duet ms, {self.document['threads']} threads", "speed-up", "PyTorch ms, 1 thread"]
        return ["## One thread", "", *table(head, rows)] if rows else []

    def lines(self, work, key):
        """A line a system: its points and why it stops."""
        out = {}
        for system in work.systems:
            rows = [r for r in self.document["results"] if r["work"] == work.name and r["system"] == system and r["threads"] == self.document["threads"]]
            points = [(r["n"], r[key]) for r in rows if r["status"] == "ok" and r.get(key, 0) > 0]
            stopped = next((f"n = {r['n']}: {r['status']}" for r in rows if r["status"] != "ok"), "")
            if points:
                out[system] = points, stopped
        return out

    def growing(self):
        return [work for work in self.works if len(work.sizes) > 1]

    def growth(self):
        rows = []
        for work in self.growing():
            times, memory = self.lines(work, "median_s"), self.lines(work, "extra_bytes")
            for system, (points, stopped) in times.items():
                in_time, in_memory = exponent(points), exponent(memory.get(system, ([], ""))[0])
                rows.append([work.title, system, f"{points[0][0]} ... {points[-1][0]}", *("-" if e is None else f"{e:.2f}" for e in (in_time, in_memory)), stopped or "-"])
        head = ["work", "system", "n", "time grows with n to the power", "extra memory", "stopped at"]
        return ["## Growth", "", "Least-squares fits of the logarithms.", "", *table(head, rows)] if rows else []

    def yardstick(self):
        rows = []
        for each in self.document["products"]:
            work = 2 * each["n"] ** 2 * each["d"]
            mm = each.get("torch_mm_s")
            rows.append([each["n"], each["d"], milliseconds(each["duet_s"]), milliseconds(mm) if mm else "-", f"{each['duet_s'] / mm:.2f}" if mm else "-",
                         f"{work / each['duet_s'] / self.document['peaks']['flops_per_s'] * 100:.0f} %"])
        return ["## The yardstick", "", *table(["n = m", "d", "bare product ms", "torch.mm ms", "ratio", "of the peak"], rows)]

    def training(self):
        rows = []
        for r in self.document["training"]:
            what = f"training step, VEGAS shapes (128-d, 1024-d, 10 classes), batch {r['batch']}" if "batch" in r else \
                f"{r['data']}, {r['epochs']} epochs, psd, 10 % of the labels" if "data" in r else "training step"
            own = next((o for o in self.document["training"] if o["system"] == DUET and all(o.get(k) == r.get(k) for k in ("work", "batch", "data"))), None)
            times = f"{r['median_s'] / own['median_s']:.1f}" if r["status"] == "ok" and own and own["status"] == "ok" and r is not own else "-"
            rows.append([what, r["system"], self.cell(r), times, f"{r['map']:.3f}" if "map" in r else "-"])
        return ["## Training", "", *table(["work", "system", "ms", "times duet's", "MAP"], rows)] if rows else []

    def markdown(self, name, plots):
        d = self.document
        versions = ", ".join(f"{package} {version or 'not installed'}" for package, version in d["versions"].items())
        out = [f"# duet beside its peers: {name}", "",
               f"{d['date']}, {d['threads']} threads unless said, one sitting of {d['seconds']} s at a load of {d['load']:.1f}; medians; {versions}.",
               f"Machine limits, measured: {d['peaks']['flops_per_s'] / 1e9:.0f} GFLOP/s (fused multiply-adds in float32), "
               f"{d['peaks']['bytes_per_s'] / 1e9:.1f} GB/s (copy past the cache). `./dev bench peers` writes this page.", "",
               "d = 128 (mean average precision: 64), 10 classes. Losses and gradients were equal to 1e-4 before anything was timed "
               "(those of triplets but for what lies within 4e-6 of the hinge). \"Bare products\": the time in "
               "products of the same shape, of how many the work replaces. \"Of the limit\": the larger of those products at the peak and of the n x n matrices "
               "that are read or written at the bandwidth, in per cent of the time. Memory is what a call has in use at its peak beyond its inputs, outputs "
               "included. \"Times faster\": PyTorch is the faster of eager and compiled, and its memory that one's.", "",
               *self.comparison(), *self.yardstick(), *self.training(), *self.single_thread(), *self.growth()]
        for file, caption in plots:
            out += [f"![{caption}]({file})", ""]
        return "\n".join(out).rstrip() + "\n"


def draw_plots(folder, slug, page):
    out = []
    for work in page.growing():
        times = page.lines(work, "median_s")
        shapes = sorted((n, each) for (n, d), each in page.products.items() if d == work.d and n in work.sizes)
        lines = [(system, points, False, stopped) for system, (points, stopped) in times.items()]
        bare = [(n, work.products * each["duet_s"]) for n, each in shapes]
        plural = "s" if work.products > 1 else ""
        lines.append((f"{work.products} bare product{plural}", bare, True, ""))
        lines.append(("machine limit", [(n, work.limit_s(n, page.document["peaks"])) for n, _ in shapes], True, ""))
        memory = [(system, points, False, stopped) for system, (points, stopped) in page.lines(work, "extra_bytes").items()]
        memory.append(("one n x n matrix", [(n, 4 * n * n) for n, _ in shapes], True, ""))
        for kind, unit, content in (("time", plot.TIME, lines), ("extra memory", plot.MEMORY, memory)):
            file = f"{slug}-{work.name}-{kind.split()[-1]}.svg"
            caption = f"{work.title}: {kind}"
            (folder / file).write_text(plot.loglog(caption, "n = m (d = 128)", kind, unit, content))
            out.append((file, caption))
    return out


def write(folder, slug, name, document, chosen):
    page = Page(document, chosen)
    plots = draw_plots(folder, slug, page)
    (folder / (slug + ".json")).write_text(json.dumps(document, indent=1) + "\n")
    (folder / (slug + ".md")).write_text(page.markdown(name, plots))
