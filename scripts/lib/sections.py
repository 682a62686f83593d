# SPDX-License-Identifier: LGPL-2.1-or-later
#
# The sections of the report that show figures. Each takes an Attempt and answers HTML, "" when there is nothing to show.
import charts
import view
from attempt import SOURCE, TARGET
from charts import Axis, bar, row, seconds, table, text

LEAST_SHARE = 0.007  # of the downtime, for a device to have a row of its own
KINDS = {"stop": "s6", "pause": "s8", "sync": "s3", "ram": "s1", "device": "s5", "flush": "s4", "handover": "s2", "resume": "s7"}
STATUS_STYLES = {"active": "s4", "setup": "s8", "postcopy-active": "s5", "postcopy-paused": "s6", "device": "s2", "pre-switchover": "s3",
                 "completed": "good", "failed": "bad", "cancelled": "bad", "cancelling": "s6"}
ROWS = [("connection", ("connect", "channel"), "s8"), ("setup", ("setup",), "s8"), ("passes", ("pass",), "s1"),
        ("dirty syncs", ("sync",), "s3"), ("stalls", ("stall",), "s6"), ("switchover", ("switchover",), "s2"),
        ("devices saved", ("device-save",), "s5"), ("devices loaded", ("device-load",), "s5"), ("errors", ("error",), "bad")]


def section(name, title, body, lead=""):
    lead = f'<p class="lead">{text(lead)}</p>' if lead else ""
    return f'<section id="{name}"><h2>{text(title)}</h2>{lead}{body}</section>'


def milliseconds(value):
    return seconds(value / 1e3)


def tiles(attempt, recording):
    """The figures that a person quotes."""
    found = [("total time", seconds(attempt.total), "")]
    if attempt.downtime is not None:
        foretold = f"predicted {milliseconds(attempt.predicted)}" if attempt.predicted else ""
        found.append(("downtime", milliseconds(attempt.downtime), foretold))
    if ram := attempt.ram:
        found.append(("throughput", f"{view.size(ram['transferred'] / max(attempt.total, 1e-3))}/s", f"{view.size(ram['transferred'])} in all"))
        found.append(("pages sent", view.count(ram["normal"]), f"of {view.count(ram['total'] // ram['page-size'])} in the guest"))
        found.append(("passes", str(ram["dirty-sync-count"]), ""))
    boxes = "".join(f'<div><dt>{text(name)}</dt><dd>{text(value)}</dd><dd class="faint">{text(more)}</dd></div>' for name, value, more in found)
    checked = f'<p class="checked">Memory afterwards: {text(recording["checked"])}</p>' if recording.get("checked") else ""
    return f'<section id="summary"><dl class="tiles">{boxes}</dl>{checked}</section>'


def check(recording):
    """What migrate-check said beforehand."""
    found = next((side["check"] for side in recording["sides"] if (side.get("check") or {}).get("status") in ("done", "failed")), None)
    if not found:
        return ""
    if found["status"] == "failed":
        return section("check", "Checked before: it could not be", f"<p>{text(found.get('error-desc', ''))}</p>")
    words = [f"{what} {said}" for what, said in check_words(found)]
    differences = found.get("differences", [])
    body = table(("", "kind", "what", "source", "destination", ""), [
        ("fatal" if d["fatal"] else "", d["kind"], d["name"], d.get("source", ""), d.get("destination", ""), d["desc"]) for d in differences]) if differences else ""
    return section("check", f"Checked before: {found['verdict']}", body, ", ".join(words) + ("" if differences else ". No differences were found") + ".")


def check_words(found):
    """(what, figure) of a check."""
    for name, what, say in (("peer", "peer", str), ("round-trip-us", "round trip", lambda v: seconds(v / 1e6)), ("bandwidth", "bandwidth", lambda v: f"{view.size(v)}/s"),
                            ("dirty-rate", "the guest writes", lambda v: f"{view.size(v)}/s"), ("touched", "touched memory", view.size)):
        if name in found:
            yield what, say(found[name])


def timeline(attempt):
    """Who did what when: a row for each kind of thing, the source's above the destination's."""
    axis = Axis(0, attempt.last)
    rows = []
    for side in (SOURCE, TARGET):
        lines = side_rows(attempt, axis, side)
        if lines:
            rows.append(f'<h3>At the {side}</h3>' + "".join(lines))
    if not rows:
        return ""
    return section("timeline", "Timeline", f'<div class="chart">{"".join(rows)}{axis.labels()}</div>')


def side_rows(attempt, axis, side):
    lines = []
    if phases := attempt.statuses(side):
        lines.append(row("status", axis, [bar(axis, begin, end, STATUS_STYLES.get(name, "s8"), name) for name, begin, end in phases],
                         ", ".join(dict.fromkeys(name for name, _, _ in phases))))
    for label, kinds, style in ROWS:
        if events := attempt.of(*kinds, side=side):
            boxes = [bar(axis, e.start, e.end, f"{style} alternate" if n % 2 else style, str(e.number) if e.kind == "pass" else "")
                     for n, e in enumerate(events)]
            lines.append(row(label, axis, boxes, f"{len(events)}" if len(events) > 1 else ""))
    if steps := sorted(attempt.of("throttle", side=side), key=lambda e: e.start):
        ends = [e.start for e in steps[1:]] + [attempt.total]
        boxes = [bar(axis, e.start, end, "s6", f"{e.number} %") for e, end in zip(steps, ends) if e.number]
        lines.append(row("slowed down", axis, boxes, f"up to {max(e.number or 0 for e in steps)} %"))
    if stops := attempt.of("guest", side=side):
        lines.append(row("guest", axis, guest_boxes(axis, stops, side, attempt.last), ", ".join(dict.fromkeys(e.name for e in stops))))
    return lines


def guest_boxes(axis, events, side, last):
    """Where the guest ran."""
    running, since, boxes = side == SOURCE, 0.0, []
    for event in sorted(events, key=lambda e: e.start):
        now = event.name == "running"
        if running and not now:
            boxes.append(bar(axis, since, event.start, "good", "runs"))
        if now and not running:
            since = event.start
        running = now
    if running:
        boxes.append(bar(axis, since, last, "good", "runs"))
    return boxes


def curves(attempt):
    if len(attempt.samples) < 2:
        return ""
    axis = Axis(0, attempt.last)
    starts = [e.start for e in attempt.of("pass", side=SOURCE)][1:]
    dirty_from = next((s.time for s in attempt.samples if s.dirty), None)
    body = charts.curves("Bytes a second", axis, [
        ("sent", "s1", [(s.time, s.wire) for s in attempt.samples]),
        ("rewritten by the guest", "s2", [(s.time, s.dirty) for s in attempt.samples if dirty_from is not None and s.time >= dirty_from]),
    ], lambda v: f"{view.size(v)}/s", starts)
    body += charts.curves("Bytes still to be sent", axis, [("remaining", "s5", [(s.time, s.left) for s in attempt.samples])], view.size, starts)
    lead = "A pass sends what changed since the pass before; vertical lines are their starts." if starts else ""
    if any(s.throttle for s in attempt.samples):
        lead += f" The guest was slowed down by up to {max(s.throttle for s in attempt.samples)} %."
    return section("curves", "Throughput and what remained", body, lead)


def waterfall(attempt):
    """The downtime, part after part, with what was predicted of each."""
    parts = [p for p in attempt.parts if "start-us" in p and "duration-us" in p]
    if not parts:
        if attempt.downtime is None:
            return ""
        return section("downtime", f"Downtime: {milliseconds(attempt.downtime)}", "", "This program does not tell what it was made of.")
    end = max([(p["start-us"] + p["duration-us"]) / 1e6 for p in parts] + [(attempt.downtime or 0) / 1e3])
    axis = Axis(0, end)
    shown, merged = foremost(parts, end)
    rows = [part_row(axis, part) for part in shown]
    if merged:
        took = sum(p["duration-us"] for p in merged)
        boxes = [bar(axis, p["start-us"] / 1e6, (p["start-us"] + p["duration-us"]) / 1e6, KINDS.get(p["kind"], "s8")) for p in merged]
        at = next((n for n, p in enumerate(shown) if p["start-us"] > merged[0]["start-us"] and p["kind"] != "device"), len(rows))
        rows.insert(at, row(f"{len(merged)} more devices", axis, boxes, f"{seconds(max(p['duration-us'] for p in merged) / 1e6)} at most",
                            seconds(took / 1e6)))
    rows += target_rows(attempt, axis)
    used = dict.fromkeys(p["kind"] for p in parts)
    keys = "".join(f'<span class="key {KINDS.get(kind, "s8")}">{text(kind)}</span>' for kind in used)
    keys += '<span class="key predicted">predicted</span>' if any(p.get("predicted-us") for p in parts) else ""
    foretold = f"; {milliseconds(attempt.predicted)} were predicted just before" if attempt.predicted else ""
    whole = milliseconds(attempt.downtime) if attempt.downtime is not None else "not over"
    lead = f"Time in which the guest stood still: {whole}{foretold}. Each bar begins where the part did."
    body = f'<p class="keys">{keys}</p><div class="chart">{"".join(rows)}{axis.labels()}</div>'
    return section("downtime", f"Downtime: {whole}", body + kind_table(attempt, parts), lead)


def target_rows(attempt, axis):
    """What the destination did in that time, on the same axis."""
    stop = next((e.start for e in attempt.of("switchover", side=SOURCE)), None)
    if stop is None:
        return []

    def boxes(kinds, style):
        found = [e for e in attempt.of(*kinds, side=TARGET) if -1e-3 < e.start - stop <= axis.span * 1.01]
        return found, [bar(axis, max(0, e.start - stop), e.end - stop, f"{style} alternate" if n % 2 else style) for n, e in enumerate(found)]
    rows = []
    for label, kinds, style in (("loads devices", ("device-load",), "s5"), ("switches over", ("switchover",), "s2")):
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
    rows = [(kind, n, (seconds(took / 1e6), took / whole), seconds(foretold / 1e6) if foretold else "", view.size(size) if size else "")
            for kind, (n, took, foretold, size) in kinds.items()]
    if not any(foretold for _, _, foretold, _ in kinds.values()):
        return table(("kind", "parts", "took", "bytes"), [line[:3] + line[4:] for line in rows], {1, 2, 3})
    return table(("kind", "parts", "took", "predicted", "bytes"), rows, {1, 2, 3, 4})


def devices(attempt):
    """Saving at the source and loading at the destination, section by section."""
    saved, loaded = sums(attempt.of("device-save")), sums(attempt.of("device-load"))
    names = list(dict.fromkeys([*saved, *loaded]))
    if not names:
        return ""
    most = max([found[name][0] for found in (saved, loaded) for name in found if name != "ram"], default=0) or 1

    def cell(name, found):
        if name not in found:
            return ""
        return seconds(found[name][0]) if name == "ram" else (seconds(found[name][0]), found[name][0] / most)
    rows = [(name + (" (the last pages)" if name == "ram" else ""), cell(name, saved), cell(name, loaded), view.size((saved.get(name) or loaded[name])[1])) for name in
            sorted(names, key=lambda n: -(saved.get(n, (0, 0))[0] + loaded.get(n, (0, 0))[0]))]

    def whole(found):
        return seconds(sum(took for name, (took, _) in found.items() if name != "ram"))
    lead = f"Device state was saved in {whole(saved)}" + (f", and loaded in {whole(loaded)}." if loaded else ".")
    return section("devices", "Devices", table(("section", "saved", "loaded", "bytes"), rows, {1, 2, 3}), lead)


def sums(events):
    found = {}
    for event in events:
        took, size = found.get(event.name, (0.0, 0))
        found[event.name] = (took + (event.length or 0.0), size + (event.bytes or 0))
    return found


def pages(attempt):
    ram = attempt.ram
    if not ram:
        return ""
    whole, size = ram["total"] // ram["page-size"], ram["page-size"]
    kinds = [("sent as they are", "s1", ram["normal"]), ("found to be zero", "s8", ram["duplicate"]),
             ("asked for after the switch", "s6", ram.get("postcopy-requests", 0))]
    body = charts.shares([(name, style, n, view.count(n)) for name, style, n in kinds if n or style != "s6"])
    sent = [("while the guest ran", "s1", ram.get("precopy-bytes", 0)), ("while it stood still", "s2", ram.get("downtime-bytes", 0)),
            ("after it ran there", "s5", ram.get("postcopy-bytes", 0))]
    if any(n for _, _, n in sent):
        body += "<h3>Bytes</h3>" + charts.shares([(name, style, n, view.size(n)) for name, style, n in sent if n])
    skipped = max(0, whole - ram["normal"])
    lead = (f"The guest has {view.count(whole)} pages of {view.size(size)}. Pages that are rewritten are sent again; "
            f"at least {view.count(skipped)} were never sent, being zero or never touched.")
    return section("pages", "Pages by kind", body, lead)


def passes(attempt):
    found = attempt.of("pass", side=SOURCE)
    if not found:
        return ""
    syncs = sorted(attempt.of("sync", side=SOURCE), key=lambda e: e.start)
    rows = []
    for event in found:
        after = next((s for s in syncs if s.start >= event.end - 2e-6), None)
        rate = event.bytes / event.length if event.bytes and event.length else None
        rows.append((event.number if event.number is not None else event.name, seconds(event.start), seconds(event.length or 0),
                     view.size(event.bytes) if event.bytes is not None else "", f"{view.size(rate)}/s" if rate else "",
                     view.size(after.bytes) if after and after.bytes is not None else ""))
    return section("passes", "Passes", table(("pass", "began at", "took", "sent", "rate", "dirty after it"), rows, {0, 1, 2, 3, 4, 5}))


def forecast(attempt):
    """What was foretold, and what became of it."""
    told = attempt.forecast
    if not told:
        return ""
    lead = f"Last verdict, in pass {told['pass']}: {view.VERDICTS.get(told['verdict'], told['verdict'])} – {told['reason']}."
    scores = told.get("scores", ())
    ranges = [s for s in scores if "total-max" in s]
    body = ""
    if ranges:
        axis = Axis(0, max([attempt.total] + [s["total-max"] / 1e3 for s in ranges]) * 1.02)
        rows = [row(f"in pass {s['pass']}", axis, [bar(axis, s["total-min"] / 1e3, s["total-max"] / 1e3, "s5"),
                                                   bar(axis, s["total-time"] / 1e3, s["total-time"] / 1e3, "mark")],
                    f"after {milliseconds(s['given-at'])}") for s in ranges]
        body += ('<p class="keys"><span class="key s5">total time foretold</span><span class="key mark">what it took</span></p>'
                 f'<div class="chart">{"".join(rows)}{axis.labels()}</div>')
    if scores:
        words = {True: "yes", False: "no", None: "cannot be told"}
        body += table(("given", "verdict", "total foretold", "total", "verdict right", "within the range"), [
            (f"pass {s['pass']}, after {milliseconds(s['given-at'])}", view.VERDICTS.get(s["verdict"], s["verdict"]),
             f"{milliseconds(s['total-min'])} to {milliseconds(s['total-max'])}" if "total-max" in s else "",
             milliseconds(s["total-time"]), words[s.get("correct")], words[s["in-range"]] if "in-range" in s else "") for s in scores], {2, 3})
    if needed := told.get("downtime-needed"):
        body += f'<p>The guest would have to stand still for {milliseconds(needed)}; the limit is {told["downtime-limit"]} ms.</p>'
    return section("forecast", "Forecast and outcome", body, lead)
