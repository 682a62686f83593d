# SPDX-License-Identifier: LGPL-2.1-or-later
#
# The section of the report about the downtime: what it was made of, at both sides.
import view
from attempt import SOURCE, TARGET
from charts import Axis, bar, milliseconds, row, seconds, section, table, text

LEAST_SHARE = 0.007  # of the downtime, for a device to have a row of its own
KINDS = {"stop": "s6", "pause": "s8", "sync": "s3", "ram": "s1", "device": "s5", "flush": "s4", "handover": "s2", "resume": "s7"}


def waterfall(attempt):
    """The downtime, part after part, with what was predicted of each."""
    parts = [p for p in attempt.parts if "start-us" in p and "duration-us" in p]
    if not parts:
        if attempt.downtime is None:
            return ""
        return section("downtime", f"Downtime: {milliseconds(attempt.downtime)}", "", "This program does not tell its parts.")
    end = max([(p["start-us"] + p["duration-us"]) / 1e6 for p in parts] + [(attempt.downtime or 0) / 1e3])
    axis = Axis(0, end)
    shown, merged = foremost(parts, end)
    rows = [part_row(axis, part) for part in shown]
    if merged:
        at = next((n for n, p in enumerate(shown) if p["start-us"] > merged[0]["start-us"] and p["kind"] != "device"), len(rows))
        rows.insert(at, merged_row(axis, merged))
    rows += target_rows(attempt, axis)
    used = dict.fromkeys(p["kind"] for p in parts)
    keys = "".join(f'<span class="key {KINDS.get(kind, "s8")}">{text(kind)}</span>' for kind in used)
    keys += '<span class="key predicted">predicted</span>' if any(p.get("predicted-us") for p in parts) else ""
    foretold = f"; {milliseconds(attempt.predicted)} were predicted just before" if attempt.predicted else ""
    whole = milliseconds(attempt.downtime) if attempt.downtime is not None else "broken off" if attempt.status in view.ENDED else "not over"
    lead = f"Time in which the guest stood still: {whole}{foretold}. Each bar begins where the part did."
    body = f'<p class="keys">{keys}</p><div class="chart">{"".join(rows)}{axis.labels()}</div>'
    return section("downtime", f"Downtime: {whole}", body + kind_table(attempt, parts), lead)


def target_rows(attempt, axis):
    """What the destination did in that time, on the same axis."""
    stop = min((e.start for e in attempt.of("switchover", side=SOURCE)), default=None)
    if stop is None:
        return []

    def boxes(kinds, style):
        found = [e for e in attempt.of(*kinds, side=TARGET) if -1e-3 < e.start - stop <= axis.span * 1.01]
        return found, [bar(axis, max(0, e.start - stop), e.end - stop, f"{style} alternate" if n % 2 else style)
                       for n, e in enumerate(found)]
    rows = []
    for label, kinds, style in (("loads sections", ("device-load",), "s5"), ("switches over", ("switchover",), "s2")):
        found, bars = boxes(kinds, style)
        if found:
            names = ", ".join(dict.fromkeys(e.name for e in found)) if kinds[0] == "switchover" else str(len(found))
            rows.append(row(label, axis, bars, names, seconds(sum(e.length or 0 for e in found))))
    if rows:
        rows.insert(0, '<h3>Meanwhile at the destination</h3>')
    return rows


def foremost(parts, end):
    """(what has a row of its own, the devices that are too short for one)."""
    shown = [p for p in parts if p["kind"] != "device" or p["duration-us"] / 1e6 >= LEAST_SHARE * end]
    others = [p for p in parts if not any(p is one for one in shown)]
    return (parts, []) if len(others) < 3 else (shown, others)


def merged_row(axis, parts):
    boxes = [bar(axis, p["start-us"] / 1e6, (p["start-us"] + p["duration-us"]) / 1e6, KINDS["device"]) for p in parts]
    lengths = [p["duration-us"] / 1e6 for p in parts]
    return row(f"{len(parts)} more devices", axis, boxes, f"{seconds(max(lengths))} at most", seconds(sum(lengths)))


def part_row(axis, part):
    begin, took, foretold = part["start-us"] / 1e6, part["duration-us"] / 1e6, part.get("predicted-us")
    boxes = [bar(axis, begin, begin + took, KINDS.get(part["kind"], "s8"))]
    if foretold:
        boxes.append(bar(axis, begin, begin + foretold / 1e6, "predicted"))
    name = part["name"]
    return row(name, axis, boxes, part["kind"] if part["kind"] != name else "", seconds(took))


def kind_table(attempt, parts):
    kinds = {}
    for part in parts:
        sums = kinds.setdefault(part["kind"], [0, 0, 0, 0])
        for at, value in enumerate((1, part["duration-us"], part.get("predicted-us", 0), part.get("bytes", 0))):
            sums[at] += value
    whole = (attempt.downtime or 0) * 1e3 or sum(sums[1] for sums in kinds.values()) or 1
    rows = [(kind, n, (seconds(took / 1e6), took / whole), seconds(foretold / 1e6) if foretold else "",
             view.size(size) if size else "") for kind, (n, took, foretold, size) in kinds.items()]
    if not any(foretold for _, _, foretold, _ in kinds.values()):
        return table(("kind", "parts", "took", "bytes"), [line[:3] + line[4:] for line in rows], {1, 2, 3})
    return table(("kind", "parts", "took", "predicted", "bytes"), rows, {1, 2, 3, 4})
