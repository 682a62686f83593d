# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Pieces of HTML that show figures: bars on a time axis, curves, bars in tables. Text stays text, so that it keeps its
# size on a narrow screen; only what has no text is SVG or a coloured box.
import html
import math

text = html.escape


def seconds(value):
    """A time of any size, as short as it can be said."""
    if abs(value) < 0.9995e-3:
        return f"{value * 1e6:.0f} µs"
    if abs(value) < 0.09995:
        return f"{value * 1e3:.3g} ms"
    if abs(value) < 0.9995:
        return f"{value * 1e3:.0f} ms"
    if abs(value) < 120:
        return f"{value:.3g} s"
    minutes, rest = divmod(round(value), 60)
    return f"{minutes}:{rest:02} min"


def milliseconds(value):
    return seconds(value / 1e3)


def ticks(span, most=7):
    """Round numbers from 0 to `span`, at most `most` + 1 of them."""
    if span <= 0:
        return [0.0]
    rough = span / most
    unit = 10 ** math.floor(math.log10(rough))
    step = next(unit * k for k in (1, 2, 5, 10) if unit * k >= rough * (1 - 1e-9))
    return [step * k for k in range(int(span / step + 1e-9) + 1)]


def byte_ticks(top, most=4):
    """As ticks(), round in the unit in which sizes are told."""
    unit = 1024 ** max(0, min(4, int(math.log(max(top, 1), 1024))))
    return [tick * unit for tick in ticks(top / unit, most)]


class Axis:
    """Where a time is between the left edge (`begin`) and the right one, in per cent."""

    def __init__(self, begin, end):
        self.begin, self.span = begin, max(end - begin, 1e-9)

    def at(self, time):
        return max(0.0, min(100.0, (time - self.begin) / self.span * 100))

    def labels(self):
        marks = [t for t in ticks(self.span) if t <= self.span * 0.97]
        unit, scale = ("s", 1) if self.span >= 1 else (("ms", 1e3) if self.span >= 1e-3 else ("µs", 1e6))
        spans = "".join(f'<span style="left:{self.at(self.begin + t):.3f}%">{t * scale:.6g} {unit}</span>' for t in marks)
        return f'<div class="row axis"><div class="label"></div><div class="track"><div class="ticks">{spans}</div></div></div>'

    def grid(self):
        marks = "".join(f'<i class="tick" style="left:{self.at(self.begin + t):.3f}%"></i>' for t in ticks(self.span))
        return f'<div class="grid" aria-hidden="true">{marks}</div>'


def bar(axis, begin, end, style, label="", least=0.25):
    """A box from `begin` to `end`, never too thin to be seen; its label only where it has room."""
    left = min(axis.at(begin), 100 - least)
    width = max(axis.at(end) - left, least)
    shown = text(label) if len(label) * 0.95 < width else ""
    return f'<i class="bar {style}" style="left:{left:.3f}%;width:{width:.3f}%">{shown}</i>'


def row(label, axis, bars, note="", figure=None):
    """A line of a chart: what it is, its boxes, and a figure at its end."""
    end = f'<div class="figure">{text(figure)}</div>' if figure is not None else ""
    note = f' <small>{text(note)}</small>' if note else ""
    return (f'<div class="row{" with-figure" if figure is not None else ""}"><div class="label">{text(label)}{note}</div>'
            f'<div class="track">{axis.grid()}{"".join(bars)}</div>{end}</div>')


def curves(title, axis, series, describe, passes=()):
    """Curves over time under one scale. series: (name, style, [(time, value), ...])."""
    series = [one for one in series if one[2]]
    top = max([v for _, _, points in series for _, v in points], default=0) or 1
    marks = byte_ticks(top * 1.02)
    top = max(top * 1.05, marks[-1])
    lines = "".join(f'<line class="grid-line" x1="0" x2="1000" y1="{y(m, top):.1f}" y2="{y(m, top):.1f}"/>' for m in marks)
    places = [f"{axis.at(t) * 10:.1f}" for t in passes]
    lines += "".join(f'<line class="pass-line" x1="{x}" x2="{x}" y1="0" y2="200"/>' for x in places)
    paths = "".join(path(axis, points, top, style) for _, style, points in series)
    names = "".join(f'<span class="key {style}">{text(name)}</span>' for name, style, _ in series)
    scale = "".join(f'<span style="bottom:{m / top * 100:.2f}%">{text(describe(m))}</span>' for m in marks)
    said = "; ".join(f"{name}: at most {describe(max((v for _, v in points), default=0))}" for name, _, points in series)
    return (f'<figure><figcaption>{text(title)} <span class="keys">{names}</span></figcaption>'
            f'<div class="row curve"><div class="label scale" aria-hidden="true">{scale}</div><div class="track">'
            f'<svg viewBox="0 0 1000 200" preserveAspectRatio="none" role="img" aria-label="{text(said)}">{lines}{paths}</svg>'
            f'</div></div>{axis.labels()}</figure>')


def y(value, top):
    return 200 - min(value / top, 1.0) * 200


def path(axis, points, top, style):
    """The curve, and the area below it."""
    spots = [f"{axis.at(t) * 10:.2f},{y(v, top):.2f}" for t, v in points]
    first, last = axis.at(points[0][0]) * 10, axis.at(points[-1][0]) * 10
    return (f'<path class="area {style}" d="M{first:.2f},200 L{" L".join(spots)} L{last:.2f},200 Z"/>'
            f'<path class="curve {style}" d="M{" L".join(spots)}"/>')


def shares(rows):
    """One bar cut in parts, with a legend that tells the figures. rows: (name, style, value, text of the value)."""
    whole = sum(value for _, _, value, _ in rows) or 1
    boxes = "".join(f'<i class="{style}" style="flex-grow:{value / whole * 1000:.2f}"></i>' for _, style, value, _ in rows if value)
    keys = "".join(f'<li><span class="key {style}">{text(name)}</span> <b>{text(said)}</b> <small>{value / whole:.1%}</small></li>'
                   for name, style, value, said in rows)
    return f'<div class="shares" aria-hidden="true">{boxes}</div><ul class="legend">{keys}</ul>'


def table(head, rows, numeric=()):
    """Cells are text, or (text, share) for a figure with a small bar of that share of the column's width."""
    def cell(at, value):
        kind = ' class="n"' if at in numeric else ""
        if isinstance(value, tuple):
            word, share = value
            return f'<td{kind}><i class="cell" style="width:{max(0.0, min(1.0, share)) * 100:.1f}%"></i>{text(word)}</td>'
        return f"<td{kind}>{text(str(value))}</td>"
    top = "".join(f'<th scope="col"{" class=n" if at in numeric else ""}>{text(word)}</th>' for at, word in enumerate(head))
    body = "".join("<tr>" + "".join(cell(at, value) for at, value in enumerate(line)) + "</tr>" for line in rows)
    whole = f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"
    return f'<div class="scroll" tabindex="0" role="region" aria-label="table">{whole}</div>'


def section(name, title, body, lead=""):
    lead = f'<p class="lead">{text(lead)}</p>' if lead else ""
    return f'<section id="{name}"><h2>{text(title)}</h2>{lead}{body}</section>'
