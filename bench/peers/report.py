"""The results as a JSON document, a Markdown page and plots."""
import json
import math
import textwrap

import machine
import plot
from rows import (
    COMPILED,
    DUET,
    EAGER,
    MEMORY_GROWTH,
    METRIC,
    PRODUCT,
    RUN,
    RUN_GOAL,
    SCIKIT,
    STEP,
    STEP_GOALS,
    STEP_TRIED,
    TIME_GROWTH,
    WORKS,
    YARDSTICK,
    step_limit_s,
)

TAIL = 4096  # from here on growth is not that of overheads
ABOUT = (
    "n = m = 4096 and d = 128 (mean average precision: 64) unless said, 10 classes. Losses and gradients were equal to "
    "1e-4 before anything was timed (gradients of triplets but for what lies within 4e-6 of the hinge). \"Bare "
    "products\": the time in products of the same shape, timed in turn with them in one process, of how many the work "
    "replaces. \"Of the limit\": the larger of those products at the peak and of what must be moved at the bandwidth, "
    "in per cent of the time. Memory is what a call has in use at its peak beyond its inputs, outputs included. "
    "PyTorch, where one figure is given, is the faster of eager and compiled."
)


def digits(value):
    """Three that count."""
    return f"{value:.{max(0, 2 - math.floor(math.log10(max(value, 1e-6))))}f}" if value < 1000 else f"{value:,.0f}"


def milliseconds(row):
    if row is None:
        return "-"
    return digits(row["median_s"] * 1e3) + (" *" if row.get("note") else "") if row["status"] == "ok" else row["status"]


def megabytes(row):
    return digits(row["extra_bytes"] / 1e6) if finished(row) else "-"


def count(number, noun):
    return f"{number} {noun}{'s' if number > 1 else ''}"


def wrapped(text, indent=""):
    """A paragraph as lines of at most 120 columns, the second and later ones behind indent."""
    return textwrap.fill(text, 120, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def at_most(limit):
    return lambda value: value <= limit


def at_least(limit):
    return lambda value: value >= limit


def finished(row):
    return row is not None and row["status"] == "ok"


def exponent(points):
    """The slope of a least-squares line through log y over log n; None of a single point."""
    points = [(math.log(n), math.log(y)) for n, y in points if y > 0]
    if len(points) < 2:
        return None
    x0, y0 = (sum(values) / len(points) for values in zip(*points))
    return sum((x - x0) * (y - y0) for x, y in points) / sum((x - x0) ** 2 for x, _ in points)


def table(head, rows):
    return [
        "| " + " | ".join(head) + " |",
        "| " + " | ".join("---" for _ in head) + " |",
        *("| " + " | ".join(map(str, row)) + " |" for row in rows),
        "",
    ]


class Page:
    def __init__(self, document):
        self.document, self.threads, self.entries = document, document["threads"], document["works"]
        self.works = [work for work in WORKS if work.name in self.entries]

    def row(self, name, system, threads=None, **keys):
        wanted = {"system": system, "threads": threads or self.threads, **keys}
        rows = self.entries.get(name, {}).get("rows", [])
        return next((r for r in rows if all(r.get(k) == v for k, v in wanted.items())), None)

    def peer(self, name, system, threads=None, **keys):
        """PyTorch's row is the faster of eager and compiled."""
        rows = [self.row(name, each, threads, **keys) for each in ((EAGER, COMPILED) if system == EAGER else (system,))]
        good = [r for r in rows if finished(r)]
        return min(good, key=lambda r: r["median_s"]) if good else rows[0]

    def products(self, work, threads):
        return next((p for p in self.entries[work.name].get("products", []) if p["threads"] == threads), None)

    def bare(self, n, threads=None):
        rows, wanted = self.entries.get(PRODUCT, {}).get("rows", []), (n, threads or self.threads)
        return next((r for r in rows if (r["n"], r["threads"]) == wanted), None)

    def ratio(self, name, system, threads, **keys):
        own, other = self.row(name, DUET, threads, **keys), self.peer(name, system, threads, **keys)
        if finished(own) and finished(other):
            return other["median_s"] / own["median_s"]
        return next((row["status"] for row in (other, own) if row is not None and not finished(row)), None)

    def goals(self):
        """Every goal as (title, goal, reached by threads, whether that holds, unit, the work or the batch of a step;
        None: no more to say)."""
        counts = [self.threads, 1]
        for work in self.works:
            n = work.n
            title = f"{work.title}, n = {n:,}" if n != 4096 else work.title
            if work.most:
                reached = [p["ratio"] if (p := self.products(work, threads)) else None for threads in counts]
                goal = f"at most {work.most:g} of {count(work.products, 'bare product')}"
                yield title, goal, reached, at_most(work.most), "", work
            for system, least in work.least.items():
                reached = [self.ratio(work.name, system, threads, n=n) for threads in counts]
                yield title, f"at least {least:g} x as fast as {system}", reached, at_least(least), " x", work
            if work.memory_share:
                rows = [
                    (self.row(work.name, DUET, threads, n=n), self.peer(work.name, EAGER, threads, n=n))
                    for threads in counts
                ]
                reached = [
                    other["extra_bytes"] / own["extra_bytes"] if finished(own) and finished(other) else None
                    for own, other in rows
                ]
                goal = f"at most 1/{1 / work.memory_share:.0f} of PyTorch's memory"
                yield title, goal, reached, lambda v, share=work.memory_share: v * share >= 1, " 1/x", work
            if work.memory_bytes:
                reached = [
                    r["extra_bytes"] / 1e6 if finished(r := self.row(work.name, DUET, threads, n=n)) else None
                    for threads in counts
                ]
                most = work.memory_bytes / 1e6
                yield title, f"at most {most:.0f} MB extra", reached, at_most(most), " MB", work
        for batch, least in STEP_GOALS.items() if STEP in self.entries else ():
            reached = [self.ratio(STEP, EAGER, threads, batch=batch) for threads in counts]
            title = f"training step, VEGAS shapes, batch {batch}"
            yield title, f"at least {least} x as fast as PyTorch", reached, at_least(least), " x", batch
        if RUN in self.entries:
            reached = [self.ratio(RUN, EAGER, threads) for threads in counts]
            row = self.row(RUN, DUET) or {}
            title = f"{row.get('data')}, {row.get('epochs')} epochs, psd"
            yield title, f"at least {RUN_GOAL} x as fast as PyTorch", reached, at_least(RUN_GOAL), " x", None
        if bare := self.bare(4096):
            rows = [self.bare(4096, threads) for threads in counts]
            reached = [r["duet_s"] / r["torch_mm_s"] if r and r["torch_mm_s"] else None for r in rows]
            yield "the bare product itself", f"at most {YARDSTICK} of torch.mm", reached, at_most(YARDSTICK), "", None
        for work in self.growing():
            for key, what, most in (("median_s", "time", TIME_GROWTH), ("extra_bytes", "extra memory", MEMORY_GROWTH)):
                points = self.lines(work, key).get(DUET, ([], ""))[0]
                if len(points) > 2:
                    reached = [exponent(points), None]
                    yield work.title, f"{what} grows by n to at most {most:g}", reached, at_most(most), "", None

    def show(self, value, unit):
        if value is None or isinstance(value, str):
            return value or "-"
        return f"1/{value:.0f}" if unit == " 1/x" else (f"{value:.2f}" if value < 10 else f"{value:.0f}") + unit

    def why(self, of):
        """What a work, or a training step of a batch, reaches of the machine's limit, and what was tried."""
        if isinstance(of, int):
            row, limit = self.row(STEP, DUET, batch=of), step_limit_s(of, self.entries[STEP]["peaks"])
            tried = STEP_TRIED
        else:
            row, limit = self.row(of.name, DUET, n=of.n), of.limit_s(of.n, self.entries[of.name]["peaks"])
            tried = of.tried
        share = f", of which {limit / row['median_s'] * 100:.0f} % is reached" if finished(row) else ""
        return f"The machine's limit is {digits(limit * 1e3)} ms{share}. {tried}".rstrip()

    def goal_table(self):
        rows, missed = [], []
        for title, goal, reached, holds, unit, of in self.goals():
            known = reached[0] is not None and not isinstance(reached[0], str)
            verdict = ("yes" if holds(reached[0]) else "**no**") if known else "-"
            rows.append([title, goal, *(self.show(value, unit) for value in reached), verdict])
            if verdict == "**no**" and of:
                missed.append(
                    wrapped(f"- {title}: {goal}; reached {self.show(reached[0], unit)}. {self.why(of)}", indent="  ")
                )
        by_threads = [count(t, "thread") for t in (self.threads, 1)]
        out = ["## Goals", "", *table(["work", "goal", *by_threads, f"holds, {self.threads} threads"], rows)]
        return out + (["Not reached:", "", *dict.fromkeys(missed), ""] if missed else [])

    def times(self, threads):
        systems, rows, notes = [EAGER, COMPILED, METRIC, SCIKIT], [], []
        for work in self.works:
            own = self.row(work.name, DUET, threads, n=work.n)
            if own is None:
                continue
            peers = [self.row(work.name, system, threads, n=work.n) for system in systems]
            best, products = self.peer(work.name, EAGER, threads, n=work.n), self.products(work, threads)
            share = None
            if finished(own) and threads == self.threads:
                share = work.limit_s(work.n, self.entries[work.name]["peaks"]) / own["median_s"]
            rows.append(
                [
                    work.title,
                    f"{work.n:,}",
                    milliseconds(own),
                    f"{products['ratio']:.2f} of {work.products}" if products else "-",
                    f"{share * 100:.0f} %" if share else "-",
                    *map(milliseconds, peers),
                    megabytes(own),
                    megabytes(best),
                ]
            )
            notes += [f"\\* {r['system']}: {r['note']}." for r in peers if finished(r) and r.get("note")]
        head = ["work", "n = m", "duet ms", "in bare products", "of the limit"]
        head += [*(system + " ms" for system in systems), "duet MB", "PyTorch MB"]
        if threads == 1:
            rows, head = [[*r[:4], *r[5:]] for r in rows], [*head[:4], *head[5:]]
        if not rows:
            return []
        return [f"## {count(threads, 'thread')}", "", *table(head, rows), *dict.fromkeys(notes), ""]

    def training(self):
        rows = []
        for threads in (self.threads, 1):
            on_threads = count(threads, "thread")
            for batch in STEP_GOALS if STEP in self.entries else ():
                each = [self.row(STEP, system, threads, batch=batch) for system in (DUET, EAGER, COMPILED)]
                title = f"step, VEGAS shapes (128-d, 1024-d, 10 classes), batch {batch}, {on_threads}"
                rows.append([title, *map(milliseconds, each), "-"])
            each = [self.row(RUN, system, threads) for system in (DUET, EAGER)]
            if each[0]:
                score = ", ".join(f"{r['map']:.3f}" for r in each if finished(r))
                title = f"{each[0]['data']}, {each[0]['epochs']} epochs, psd, 10 % of the labels, {on_threads}"
                rows.append([title, *map(milliseconds, each), "-", score])
        if not rows:
            return []
        head = ["work", "duet ms", "PyTorch ms", "PyTorch compiled ms", "MAP, duet and PyTorch"]
        return ["## Training", "", *table(head, rows)]

    def yardstick(self):
        rows = []
        for r in self.entries.get(PRODUCT, {}).get("rows", []):
            mm, peak = r["torch_mm_s"], self.entries[PRODUCT]["peaks"]["flops_per_s"]
            share = f"{2 * r['n'] ** 2 * r['d'] / r['duet_s'] / peak * 100:.0f} %"
            rows.append(
                [
                    f"{r['n']:,}",
                    r["threads"],
                    digits(r["duet_s"] * 1e3),
                    digits(mm * 1e3) if mm else "-",
                    f"{r['duet_s'] / mm:.2f}" if mm else "-",
                    share if r["threads"] == self.threads else "-",
                ]
            )
        if not rows:
            return []
        about = (
            "Both store into memory that is there. From n = 16,384 on, 4096 rows of the bare product are timed and "
            "scaled up: its bands."
        )
        head = ["n = m", "threads", "bare product ms", "torch.mm ms", "ratio", "of the peak"]
        return ["## The yardstick", "", wrapped(about), "", *table(head, rows)]

    def lines(self, work, key):
        """A line a system: its points and why it stops."""
        out = {}
        for system in work.systems:
            rows = [r for r in self.entries[work.name]["rows"] if (r["system"], r["threads"]) == (system, self.threads)]
            points = [(r["n"], r[key]) for r in rows if finished(r) and r[key] > 0]
            stopped = next((f"n = {r['n']:,}: {r['status']}" for r in rows if not finished(r)), "")
            if points:
                out[system] = points, stopped
        return out

    def growing(self):
        return [work for work in self.works if len(work.sizes) > 1]

    def growth(self):
        rows = []
        for work in self.growing():
            memory = self.lines(work, "extra_bytes")
            for system, (points, stopped) in self.lines(work, "median_s").items():
                taken = memory.get(system, ([], ""))[0]
                fits = (exponent([p for p in each if p[0] >= low]) for each in (points, taken) for low in (0, TAIL))
                powers = ["-" if e is None else f"{e:.2f}" for e in fits]
                sizes = f"{points[0][0]:,} ... {points[-1][0]:,}"
                rows.append([work.title, system, sizes, *powers, stopped or "-"])
        if not rows:
            return []
        about = (
            "Powers of n: least-squares fits of the logarithms over the n given and over those from "
            f"{TAIL:,} on, below which overheads weigh."
        )
        of_tail = f"n >= {TAIL:,}"
        head = ["work", "system", "n", "time", f"time, {of_tail}", "extra memory", f"extra memory, {of_tail}"]
        return ["## Growth", "", wrapped(about), "", *table([*head, "stopped at"], rows)]

    def markdown(self, plots):
        entries = list(self.entries.values())
        peaks = {key: max(e["peaks"][key] for e in entries) for key in ("flops_per_s", "bytes_per_s")}
        used = {}
        for e in entries:
            for package, version in e["versions"].items():
                used.setdefault(package, []).append(version or "not installed")
        versions = ", ".join(f"{package} {' and '.join(dict.fromkeys(each))}" for package, each in used.items())
        dates = sorted({e["date"] for e in entries})
        sitting = (
            f"{' to '.join(dict.fromkeys((dates[0], dates[-1])))}, {sum(e['seconds'] for e in entries)} s in all, load "
            f"at the start of a work at most {max(e['load'] for e in entries):.1f}; medians; {versions}. Machine "
            f"limits, measured: {peaks['flops_per_s'] / 1e9:.0f} GFLOP/s (fused multiply-adds in float32), "
            f"{peaks['bytes_per_s'] / 1e9:.1f} GB/s (copy past the cache). `./dev bench peers` writes this page."
        )
        out = [
            f"# duet beside its peers: {machine.name(self.document['machine'])}",
            "",
            wrapped(sitting),
            "",
            wrapped(ABOUT),
            "",
            *self.goal_table(),
            *self.times(self.threads),
            *(self.times(1) if self.threads > 1 else []),
            *self.training(),
            *self.yardstick(),
            *self.growth(),
        ]
        for file, caption in plots:
            out += [f"![{caption}]({file})", ""]
        return "\n".join(out).rstrip() + "\n"


def draw_plots(folder, slug, page):
    out = []
    for work in page.growing():
        peaks = page.entries[work.name]["peaks"]
        lines = [(system, points, False, stopped) for system, (points, stopped) in page.lines(work, "median_s").items()]
        bare = [(n, work.products * r["duet_s"]) for n in work.sizes if (r := page.bare(n))]
        lines.append((count(work.products, "bare product"), bare, True, ""))
        lines.append(("machine limit", [(n, work.limit_s(n, peaks)) for n in work.sizes], True, ""))
        memory = [
            (system, points, False, stopped) for system, (points, stopped) in page.lines(work, "extra_bytes").items()
        ]
        memory.append(("one n x n matrix", [(n, 4 * n * n) for n in work.sizes], True, ""))
        for kind, unit, content in (("time", plot.TIME, lines), ("extra memory", plot.MEMORY, memory)):
            file = f"{slug}-{work.name.replace('_', '-')}-{kind.split()[-1]}.svg"
            caption = f"{work.title}: {kind}"
            (folder / file).write_text(plot.loglog(caption, f"n = m (d = {work.d})", kind, unit, content))
            out.append((file, caption))
    return out


def write(folder, slug, document):
    folder.mkdir(parents=True, exist_ok=True)
    page = Page(document)
    plots = draw_plots(folder, slug, page)
    for file, text in ((slug + ".json", json.dumps(document, indent=1) + "\n"), (slug + ".md", page.markdown(plots))):
        whole = folder / (file + ".part")  # a run that is stopped leaves the last whole file
        whole.write_text(text)
        whole.replace(folder / file)
