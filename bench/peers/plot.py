"""Log-log plots as SVG, from lines of (x, y) points."""
import math
from html import escape

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 780, 460, 84, 252, 48, 56
COLOURS = {
    "duet": "#c0392b",
    "PyTorch": "#2c6fbb",
    "PyTorch compiled": "#1f9e89",
    "pytorch-metric-learning": "#8e5bb5",
    "scikit-learn": "#d98c1f",
}


def _decades(values):
    low, high = min(values), max(values)
    return math.floor(math.log10(low)), max(math.ceil(math.log10(high)), math.floor(math.log10(low)) + 1)


def _label(value, units):
    for size, unit in units:
        if value >= size * 0.999:
            return f"{value / size:g} {unit}".strip()
    return f"{value:g}"


TIME = [(1, "s"), (1e-3, "ms"), (1e-6, "us"), (1e-9, "ns")]
MEMORY = [(1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1, "B")]


def _at_the_edge(points, edge):
    """Where a line that stops early would have come to."""
    (x0, y0), (x1, y1) = points[-2] if len(points) > 1 else points[-1], points[-1]
    return y1 if x1 == edge or x0 == x1 else y1 * (edge / x1) ** (math.log(y1 / y0) / math.log(x1 / x0))


def loglog(title, x_name, y_name, units, lines):
    """lines: (name, points, dashed, ending); ending says why a line stops, or ""."""
    lines = [(name, [(x, y) for x, y in points if y > 0], dashed, ending) for name, points, dashed, ending in lines]
    lines = [line for line in lines if line[1]]
    xs = sorted({x for _, points, _, _ in lines for x, _ in points})
    low, high = _decades([y for _, points, _, _ in lines for _, y in points])
    x_low, x_high = math.log2(xs[0]), max(math.log2(xs[-1]), math.log2(xs[0]) + 1)
    inner_w, inner_h = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    place_x = lambda x: LEFT + inner_w * (math.log2(x) - x_low) / (x_high - x_low)
    place_y = lambda y: TOP + inner_h * (high - math.log10(y)) / (high - low)
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="Helvetica, Arial, sans-serif" font-size="12" fill="#222">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        f'<text x="{LEFT}" y="26" font-size="15" font-weight="bold">{escape(title)}</text>',
    ]
    for power in range(low, high + 1):
        y = place_y(10.0**power)
        out.append(f'<line x1="{LEFT}" x2="{LEFT + inner_w}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>')
        out.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{_label(10.0**power, units)}</text>')
    for x in xs:
        at = place_x(x)
        out.append(f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{TOP}" y2="{TOP + inner_h}" stroke="#eee"/>')
        out.append(f'<text x="{at:.1f}" y="{TOP + inner_h + 18}" text-anchor="middle">{x:,}</text>')
    out.append(f'<text x="{LEFT + inner_w / 2}" y="{HEIGHT - 12}" text-anchor="middle">{escape(x_name)}</text>')
    out.append(
        f'<text transform="translate(16 {TOP + inner_h / 2}) rotate(-90)" text-anchor="middle">{escape(y_name)}</text>'
    )
    labels = []
    for name, points, dashed, ending in lines:
        colour = "#777" if dashed else COLOURS.get(name, "#222")
        dashes = ' stroke-dasharray="2 4"' if "limit" in name else ' stroke-dasharray="6 4"' if dashed else ""
        stroke = f'fill="none" stroke="{colour}" stroke-width="{1.4 if dashed else 2.2}"{dashes}'
        path = " ".join(f"{place_x(x):.1f},{place_y(y):.1f}" for x, y in points)
        out.append(f'<polyline points="{path}" {stroke}/>')
        if not dashed:
            out += [f'<circle cx="{place_x(x):.1f}" cy="{place_y(y):.1f}" r="3.2" fill="{colour}"/>' for x, y in points]
        labels.append([place_y(_at_the_edge(points, xs[-1])), name, ending, colour, stroke])
    labels.sort()
    heights = [32 if ending else 19 for _, _, ending, *_ in labels]
    labels[0][0] = max(labels[0][0], TOP)
    for k in range(1, len(labels)):  # names stand where their lines go, apart from each other
        labels[k][0] = max(labels[k][0], labels[k - 1][0] + heights[k - 1])
    over = max(0, labels[-1][0] + heights[-1] - (TOP + inner_h + 14))
    for k in reversed(range(len(labels))):
        ceiling = labels[k + 1][0] - heights[k] if k + 1 < len(labels) else labels[k][0] - over
        labels[k][0] = min(labels[k][0], ceiling)
    at = LEFT + inner_w + 14
    for y, name, ending, colour, stroke in labels:
        out.append(f'<line x1="{at}" y1="{y:.1f}" x2="{at + 20}" y2="{y:.1f}" {stroke}/>')
        out.append(f'<text x="{at + 27}" y="{y + 4:.1f}" fill="{colour}" font-weight="bold">{escape(name)}</text>')
        if ending:
            out.append(f'<text x="{at + 27}" y="{y + 17:.1f}" fill="#666" font-size="10.5">{escape(ending)}</text>')
    return "\n".join(out + ["</svg>"]) + "\n"
