# SPDX-License-Identifier: LGPL-2.1-or-later
#
# The sections of the report that show figures. Each takes an Attempt and answers HTML, "" when there is nothing to show.
import charts
import view
from attempt import SOURCE, TARGET, dirtied
from charts import Axis, bar, milliseconds, row, seconds, section, table, text

STATUS_STYLES = {"setup": "s8", "active": "s4", "pre-switchover": "s3", "device": "s2", "postcopy-active": "s5", "postcopy-paused": "s6",
                 "cancelling": "s6", "completed": "good", "failed": "bad", "cancelled": "bad"}
ROWS = [("connection", ("connect", "channel"), "s8"), ("setup", ("setup",), "s8"), ("passes", ("pass",), "s1"),
        ("dirty syncs", ("sync",), "s3"), ("stalls", ("stall",), "s6"),
        ("preparation", ("preparation",), "s8"), ("switchover", ("switchover",), "s2"),
        ("devices saved", ("device-save",), "s5"), ("devices loaded", ("device-load",), "s5"), ("errors", ("error",), "bad")]


def tiles(attempt, recording):
    """The figures that a person quotes."""
    found = [("total time", seconds(attempt.total), "")]
    if attempt.downtime is not None:
        foretold = f"predicted {milliseconds(attempt.predicted)}" if attempt.predicted else ""
        found.append(("downtime", milliseconds(attempt.downtime), foretold))
    if ram := attempt.ram:
        rate = ram["transferred"] / max(attempt.total, 1e-3)
        found.append(("throughput", f"{view.size(rate)}/s", f"{view.size(ram['transferred'])} in all"))
        found.append(("pages sent", view.count(ram["normal"]), f"of {view.count(ram['total'] // ram['page-size'])} in the guest"))
        found.append(("passes", str(ram["dirty-sync-count"]), ""))
    if attempt.outside:
        found.append(("device data", view.size(attempt.outside), "of devices behind VFIO"))
    boxes = "".join(f'<div><dt>{text(name)}</dt><dd>{text(value)}</dd><dd class="faint">{text(more)}</dd></div>'
                    for name, value, more in found)
    checked = f'<p class="checked">Memory afterwards: {text(recording["checked"])}</p>' if recording.get("checked") else ""
    return f'<section id="summary"><dl class="tiles">{boxes}</dl>{checked}</section>'


def check(recording):
    """What migrate-check said beforehand."""
    checks = [side["check"] for side in recording["sides"] if side.get("check")]
    found = next((one for one in checks if one["status"] in ("done", "failed")), None)
    if not found:
        return ""
    if found["status"] == "failed":
        return section("check", "Checked before: it could not be", f"<p>{text(found.get('error-desc', ''))}</p>")
    lead = ", ".join(f"{what} {said}" for what, said in check_words(found)) + "."
    differences = found.get("differences", ())
    sides = [side for side in ("source", "destination") if any(side in d for d in differences)]
    rows = [("fatal" if d["fatal"] else "worth a look", d["kind"], d["name"], d["desc"], *(d.get(side, "") for side in sides))
            for d in differences]
    body = table(("weight", "kind", "what", "difference", *sides), rows) if rows else "<p>No differences were found.</p>"
    return section("check", f"Checked before: {found['verdict']}", body, lead)


def check_words(found):
    """(what, figure) of a check."""
    def rate(value):
        return f"{view.size(value)}/s"
    for name, what, say in (("peer", "peer", str), ("round-trip-us", "round trip", lambda value: seconds(value / 1e6)),
                            ("bandwidth", "bandwidth", rate), ("dirty-rate", "the guest writes", rate),
                            ("touched", "touched memory", view.size)):
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
        boxes = [bar(axis, begin, end, STATUS_STYLES.get(name, "s8"), name) for name, begin, end in phases]
        lines.append(row("status", axis, boxes, ", ".join(dict.fromkeys(name for name, _, _ in phases))))
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
        states = ", ".join(dict.fromkeys(e.name for e in stops))
        lines.append(row("guest", axis, guest_boxes(axis, stops, side, attempt.last), states))
    return lines


def guest_boxes(axis, events, side, last):
    """Where the guest ran. A source's guest did from the beginning, unless an attempt that failed gave it another state back."""
    events = sorted(events, key=lambda e: e.start)
    running, since, boxes = side == SOURCE and events[-1].name in ("running", "finish-migrate", "postmigrate"), 0.0, []
    for event in events:
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
    sent = [(s.time, s.wire) for s in attempt.samples]
    if not (rewritten := dirtied(attempt)):
        dirty_from = next((s.time for s in attempt.samples if s.dirty), None)
        rewritten = [(s.time, s.dirty) for s in attempt.samples if dirty_from is not None and s.time >= dirty_from]
    left = [(s.time, s.left) for s in attempt.samples]
    body = charts.curves("Bytes a second", axis, [("sent", "s1", sent), ("rewritten by the guest", "s2", rewritten)],
                         lambda value: f"{view.size(value)}/s", starts)
    if any(value for _, value in left):
        body += charts.curves("Bytes still to be sent", axis, [("remaining", "s5", left)], view.size, starts)
    lead = ("A pass sends what changed since the pass before; vertical lines are their starts. A page that is rewritten before "
            "it was sent counts once.") if starts else ""
    if any(s.throttle for s in attempt.samples):
        lead += f" The guest was slowed down by up to {max(s.throttle for s in attempt.samples)} %."
    return section("curves", "Throughput and what remained", body, lead)


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
    names.sort(key=lambda name: -(saved.get(name, (0, 0))[0] + loaded.get(name, (0, 0))[0]))
    rows = [(name + (" (the last pages)" if name == "ram" else ""), cell(name, saved), cell(name, loaded),
             view.size((saved.get(name) or loaded[name])[1])) for name in names]

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
    if not ram or not (ram["normal"] or ram["duplicate"] or ram.get("precopy-bytes")):
        return ""
    whole, size = ram["total"] // ram["page-size"], ram["page-size"]
    kinds = [("sent as they are", "s1", ram["normal"] - attempt.mostly_zero), ("mostly zero, sent in words", "s3", attempt.mostly_zero),
             ("found to be zero", "s8", ram["duplicate"]), ("asked for after the switch", "s6", ram.get("postcopy-requests", 0))]
    body = charts.shares([(name, style, n, view.count(n)) for name, style, n in kinds if n or style in ("s1", "s8")])
    sent = [("while the guest ran", "s1", ram.get("precopy-bytes", 0)),
            ("while it stood still", "s2", ram.get("downtime-bytes", 0)),
            ("after it ran there", "s5", ram.get("postcopy-bytes", 0))]
    if any(n for _, _, n in sent):
        body += "<h3>Bytes</h3>" + charts.shares([(name, style, n, view.size(n)) for name, style, n in sent if n])
    lead = f"The guest has {view.count(whole)} pages of {view.size(size)}. Pages that are rewritten are sent again."
    if attempt.status == "completed":
        lead += f" At least {view.count(max(0, whole - ram['normal']))} were never sent, being zero or never touched."
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
    for event in (e for e in attempt.of("switchover", side=SOURCE) if e.name == "ram" and e.length and e.bytes is not None):
        rows.append(("guest stopped", seconds(event.start), seconds(event.length), view.size(event.bytes),
                     f"{view.size(event.bytes / event.length)}/s", ""))
    head = ("pass", "began at", "took", "sent", "rate", "dirty after it")
    return section("passes", "Passes", table(head, rows, set(range(len(head)))))


def forecast(attempt):
    """What was foretold, and what became of it."""
    told = attempt.forecast
    if not told:
        return ""
    lead = f"Last verdict, in pass {told['pass']}: {view.VERDICTS.get(told['verdict'], told['verdict'])} – {told['reason']}."
    scores = told.get("scores", ())
    body = foretold_chart(attempt, [score for score in scores if "total-max" in score])
    if scores:
        head = ("given", "verdict", "total foretold", "total", "verdict right", "within the range")
        body += table(head, [score_row(score) for score in scores], {2, 3})
    if needed := told.get("downtime-needed"):
        body += f'<p>The guest would have to stand still for {milliseconds(needed)}; the limit is {told["downtime-limit"]} ms.</p>'
    return section("forecast", "Forecast and outcome", body, lead)


def foretold_chart(attempt, scores):
    """The total times that were foretold, against the real one."""
    if not scores:
        return ""
    axis = Axis(0, max([attempt.total] + [score["total-max"] / 1e3 for score in scores]) * 1.02)
    rows = []
    for score in scores:
        least, most, real = (score[key] / 1e3 for key in ("total-min", "total-max", "total-time"))
        boxes = [bar(axis, least, most, "s5"), bar(axis, real, real, "mark")]
        rows.append(row(f"in pass {score['pass']}", axis, boxes, f"after {milliseconds(score['given-at'])}"))
    keys = '<p class="keys"><span class="key s5">total time foretold</span><span class="key mark">what it took</span></p>'
    return f'{keys}<div class="chart">{"".join(rows)}{axis.labels()}</div>'


def score_row(score):
    words = {True: "yes", False: "no", None: "cannot be told"}
    foretold = f"{milliseconds(score['total-min'])} to {milliseconds(score['total-max'])}" if "total-max" in score else (
        f"{milliseconds(score['total-min'])} at least" if "total-min" in score else "")
    return (f"pass {score['pass']}, after {milliseconds(score['given-at'])}", view.VERDICTS.get(score["verdict"], score["verdict"]),
            foretold, milliseconds(score["total-time"]), words[score.get("correct")],
            words[score["in-range"]] if "in-range" in score else "")
