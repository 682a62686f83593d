# SPDX-License-Identifier: LGPL-2.1-or-later
"""Pictures (SVG) and tables (Markdown) of measured figures."""
import html
import math

import charts
import view

WIDTH, HEIGHT = 720, 300
LEFT, RIGHT, TOP, BOTTOM = 78, 110, 42, 46
NAMES = {"test": "Godwit", "reference": "QEMU 10.0.2"}
FIGURES = {"total": ("total time", "s"), "cpu": ("CPU time of both sides", "s"), "stop-to-resume": ("downtime, stop to resume", "ms")}
STYLE = """<style>
svg { color-scheme: light dark; font: 13px system-ui, "DejaVu Sans", sans-serif; }
.ground { fill: #ffffff; } .ink { fill: #14140f; } .faint { fill: #5a5953; } .line { stroke: #e3e2db; } .one { stroke: #5a5953; }
.test { stroke: #2a78d6; fill: #2a78d6; } .reference { stroke: #d9622b; fill: #d9622b; } .curve { fill: none; stroke-width: 2; }
@media (prefers-color-scheme: dark) { .ground { fill: #1c1c1a; } .ink { fill: #f1f0ea; } .faint { fill: #b3b1a6; } .line { stroke: #32322e; }
.one { stroke: #b3b1a6; } .test { stroke: #4a93ea; fill: #4a93ea; } .reference { stroke: #e8824f; fill: #e8824f; } .curve { fill: none; } }
</style>"""


def picture(height, title, parts):
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{html.escape(title)}">'
    ground = f'<rect class="ground" width="{WIDTH}" height="{height}" rx="6"/>'
    return f'{head}{STYLE}{ground}{word(16, 24, title, weight=600)}{"".join(parts)}</svg>\n'


def word(x, y, text, style="ink", anchor="start", weight=400, size=13):
    return (f'<text class="{style}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-weight="{weight}" font-size="{size}">'
            f'{html.escape(text)}</text>')


def x_text(axis, x):
    if axis != "bytes":
        return str(x)
    return f"{x / view.GIB:g} GiB" if x >= view.GIB else f"{x / view.MIB:g} MiB"


def curves(title, axis, unit, lines):
    """lines: {label: [(x, value), ...]}. Bytes are spaced by doublings, counts evenly; values start at zero."""
    xs = sorted({x for points in lines.values() for x, _ in points})
    def place(x):
        return math.log2(x) if axis == "bytes" else x

    span = max(place(xs[-1]) - place(xs[0]), 1e-9)
    top = max(v for points in lines.values() for _, v in points) or 1
    marks = charts.ticks(top * 1.05, 5)
    top = max(top * 1.08, marks[-1])
    def at(x, value):
        return (LEFT + (place(x) - place(xs[0])) / span * (WIDTH - LEFT - RIGHT),
                HEIGHT - BOTTOM - value / top * (HEIGHT - TOP - BOTTOM))

    parts = []
    for mark in marks:
        y = at(xs[0], mark)[1]
        parts.append(f'<line class="line" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(word(LEFT - 8, y + 4, f"{mark:g} {unit}", "faint", "end", size=12))
    parts += [word(at(x, 0)[0], HEIGHT - BOTTOM + 20, x_text(axis, x), "faint", "middle", size=12) for x in xs]
    ends = []
    for label, points in lines.items():
        spots = [at(x, v) for x, v in points]
        parts.append(f'<polyline class="curve {label}" points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in spots)}"/>')
        parts += [f'<circle class="{label}" r="3.2" cx="{x:.1f}" cy="{y:.1f}"/>' for x, y in spots]
        ends.append([spots[-1][0] + 9, spots[-1][1] + 4, NAMES[label]])
    ends.sort(key=lambda end: end[1])
    for before, end in zip(ends, ends[1:]):
        end[1] = max(end[1], before[1] + 16)
    return picture(HEIGHT, title, parts + [word(x, y, name) for x, y, name in ends])


def growth(kept):
    """{file name: picture}, one for each series and figure."""
    made = {}
    for name, series in kept.items():
        for figure, (what, unit) in FIGURES.items():
            lines = {label: [(p["x"], p[label][figure]) for p in series["points"] if label in p and figure in p[label]] for label in NAMES}
            lines = {label: points for label, points in lines.items() if points}
            if lines:
                title = f"{what[0].upper()}{what[1:]} against {series['title']}"
                made[f"growth-{name}-{figure}.svg"] = curves(title, series["axis"], unit, lines)
    return made


def ratios(rows):
    """Godwit's figure over QEMU's, one bar a figure; shorter is better, the line is QEMU."""
    rows = [row for row in rows if math.isfinite(row["ratio"])]
    height, step, left = TOP + 26 + 19 * len(rows), 19, 210
    most = max([1.5] + [row["ratio"] for row in rows])
    most = min(most, 4)
    def at(ratio):
        return left + min(ratio, most) / most * (WIDTH - left - 60)
    parts = [f'<line class="one" x1="{at(1):.1f}" x2="{at(1):.1f}" y1="{TOP - 6}" y2="{height - 20}" stroke-dasharray="3 3"/>',
             word(at(1), height - 6, "as QEMU 10.0.2", "faint", "middle", size=11)]
    for n, row in enumerate(rows):
        y = TOP + n * step
        style = "test" if row["ratio"] <= 1 else "reference"
        parts.append(word(left - 8, y + 11, row["name"], "ink", "end", size=12))
        length = max(1.0, at(row["ratio"]) - left)
        parts.append(f'<rect class="{style}" stroke="none" x="{left}" y="{y}" width="{length:.1f}" height="13" rx="2"/>')
        cut = " →" if row["ratio"] > most else ""
        parts.append(word(at(row["ratio"]) + 6, y + 11, f"{row['ratio']:.2f}{cut}", "faint", size=12))
    return picture(height, "Godwit / QEMU 10.0.2, measured in turn: shorter is better", parts)


def rows_table(rows):
    lines = ["| figure | Godwit | QEMU 10.0.2 | ratio | promise |", "| --- | --- | --- | --- | --- |"]
    for row in rows:
        promise = "" if row["promise"] is None else f"{row['promise']:g}"
        if row["limit"] is not None:
            promise = f"< {row['limit']:g} {row['unit']}"
        cells = [f"{row['medians'][side]:.3g} {row['unit']} ± {row['spread'][side]:.0%}" for side in ("test", "reference")]
        lines.append(f"| {row['name']} | {cells[0]} | {cells[1]} | {row['ratio']:.2f} | {promise}{' **broken**' if row['broken'] else ''} |")
    return "\n".join(lines) + "\n"


def growth_table(series):
    labels = [label for label in NAMES if any(label in p for p in series["points"])]
    head = [series["title"]] + [f"{NAMES[label]} {what}" for what, _ in FIGURES.values() for label in labels]
    lines = [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
    for p in series["points"]:
        cells = [x_text(series["axis"], p["x"])]
        for figure, (_, unit) in FIGURES.items():
            cells += [f"{p[label][figure]:.3g} {unit}" if label in p else "" for label in labels]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def insight_table(found):
    lines = ["| guest | figure | with | without | ratio | of it the recorder's own work, counted |", "| --- | --- | --- | --- | --- | --- |"]
    for name, one in found.items():
        own = one.get("counted")
        told = "" if not own else (f"{own['events']:.0f} events, {own['windows']:.0f} samples and verdicts: {own['seconds'] * 1e6:.0f} us, "
                                   f"{own['share']:.3%} of the total")
        for figure, beside in (("total", told), ("cpu", "")):
            f = one[figure]
            lines.append(f"| {name}: {one['what']} | {figure} | {f['with']:.4f} s | {f['without']:.4f} s | {f['ratio']:.4f} ± {f['error']:.4f} | {beside} |")
    return "\n".join(lines) + "\n"


def page(rows, series, folder, insight=None):
    """Markdown: the ratios, then each series with its pictures, then what looking costs."""
    parts = []
    if rows:
        parts += [f"![Godwit's figures over QEMU's]({folder}/ratios.svg)\n", rows_table(rows)]
    for name, one in series.items():
        parts.append(f"### {one['title']}\n")
        parts.append("\n".join(f"![{what}]({folder}/growth-{name}-{figure}.svg)" for figure, (what, _) in FIGURES.items()) + "\n")
        parts.append(growth_table(one))
    if insight:
        parts += ["### What looking costs\n", insight_table(insight)]
    return "\n".join(parts)
