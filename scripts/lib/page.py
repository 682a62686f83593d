# SPDX-License-Identifier: LGPL-2.1-or-later
#
# The report of a migration: one HTML file that needs nothing else, neither a network nor a script.
import json
import pathlib
import re
import time

import advice
import charts
import sections
import waterfall
from attempt import TARGET, attempts_of
from charts import text

SETTINGS = {"max-bandwidth", "downtime-limit", "multifd-channels", "avail-switchover-bandwidth", "max-postcopy-bandwidth"}
STYLE = pathlib.Path(__file__).resolve().parent / "page.css"


def render(recording):
    """The whole page of a recording (recording.py)."""
    attempts = attempts_of(recording)
    newest = attempts[0]
    title = recording.get("title") or "Migration"
    title = title[0].upper() + title[1:]
    shown = (sections.timeline, sections.curves, waterfall.waterfall, sections.devices, sections.pages, sections.passes, sections.forecast)
    parts = [heading(recording, newest, title), errors(newest), sections.tiles(newest, recording), sections.check(recording),
             *(section(newest) for section in shown), earlier(attempts[1:]), about(recording, newest)]
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<link rel="icon" href="data:,">
<title>{text(newest.status)}: {text(title)}</title>
<style>
{STYLE.read_text()}</style>
</head>
<body>
<main>
{"".join(part for part in parts if part)}
</main>
{embedded(recording)}
</body>
</html>
"""


def embedded(recording):
    """The raw JSON. No "<" in it can end the element."""
    raw = json.dumps(recording, separators=(",", ":")).replace("<", "\\u003c")
    return f'<script type="application/json" id="recording">{raw}</script>'


def extract(page):
    """The JSON that embedded() put into a page."""
    found = re.search(r'<script type="application/json" id="recording">(.*?)</script>', page, re.DOTALL)
    return found.group(1) if found else None


def heading(recording, attempt, title):
    when = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(attempt.began)) if attempt.began else recording.get("made", "")
    programs = " → ".join(dict.fromkeys(side["program"] for side in recording["sides"] if side.get("program")))
    words = " · ".join(word for word in (when, programs) if word)
    good = {"completed": "good", "failed": "bad", "cancelled": "bad"}.get(attempt.status, "other")
    return (f'<header><p class="status {good}">{text(attempt.status)}</p><h1>{text(title)}</h1>'
            f'<p class="faint">{text(words)}</p></header>')


def errors(attempt):
    if not attempt.errors:
        return ""
    rows = []
    for side, said in dict.fromkeys(attempt.errors):
        what, advised = advice.about(said)
        side = TARGET if said.startswith("destination: ") else side
        where = f"At the {side}" + (f", about {what}" if what else "")
        rows.append(f'<li><p class="faint">{text(where)}</p><p><code>{text(said)}</code></p>'
                    f'<p><b>What to do:</b> {text(advised)}</p></li>')
    return f'<section class="errors" id="errors"><h2>What went wrong</h2><ul>{"".join(rows)}</ul></section>'


def earlier(attempts):
    if not attempts:
        return ""
    rows = [(time.strftime("%H:%M:%S", time.gmtime(a.began)), a.status, charts.seconds(a.total),
             "" if a.downtime is None else f"{a.downtime:.3g} ms", "; ".join(said for _, said in a.errors)) for a in attempts]
    return (f'<section id="earlier"><h2>Earlier attempts</h2>'
            f'{charts.table(("began (UTC)", "ended as", "total", "downtime", "error"), rows, {2, 3})}</section>')


def about(recording, attempt):
    notes = [attempt.clock] if attempt.clock else []
    if attempt.dropped:
        notes.append(f"{attempt.dropped} events found no room in the recorder: the middle of the timeline is not complete.")
    settings = [f"{name} = {value}" for name, value in recording["sides"][0].get("parameters", {}).items() if name in SETTINGS]
    abilities = recording["sides"][0].get("capabilities", [])
    if settings or abilities:
        notes.append(f"Settings at the source: {', '.join(settings)}; capabilities: {', '.join(abilities) or 'none'}.")
    notes.append("All figures here were measured by the programs themselves. The raw record is in this file, as JSON in the element "
                 "with the id “recording”: scripts/report --json prints it. docs/user/seeing-a-migration.md explains its members.")
    return f'<footer id="about"><h2>About these figures</h2>{"".join(f"<p>{text(note)}</p>" for note in notes)}</footer>'
