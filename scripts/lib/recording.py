# SPDX-License-Identifier: LGPL-2.1-or-later
#
# What is kept of a migration for scripts/report: JSON, described in docs/user/seeing-a-migration.md.
import json
import pathlib
import time

import view
from qmp import QmpError

FORMAT = "godwit-recording"
VERSION = 1
MOST_SAMPLES = 2000


def ask(qmp, command, **arguments):
    """The answer, or None where the program does not know the command."""
    try:
        return qmp.execute(command, **arguments)
    except QmpError as error:
        if error.error_class == "CommandNotFound":
            return None
        raise


def side_of(qmp, history=None, role=None):
    """One side's part: what its monitor says now, and what was seen meanwhile."""
    info = qmp.execute("query-migrate")
    side = {
        "role": role or ("source" if "ram" in info else "target"),
        "program": program_of(qmp),
        "info": info,
        "parameters": qmp.execute("query-migrate-parameters"),
        "capabilities": [c["capability"] for c in qmp.execute("query-migrate-capabilities") if c["state"]],
        "timeline": ask(qmp, "query-migrate-timeline"),
        "check": ask(qmp, "query-migrate-check"),
    }
    if history:
        side["samples"] = samples_of(history)
    return side


def side_seen(qmp, history):
    """The part of a side that went away: what was seen of it, and that it is gone."""
    info = dict(history.info)
    if info.get("status") in view.RUNNING:
        info |= {"status": "failed", "error-desc": f"the program went away while the migration was {info['status']}"}
    return {"role": "source" if "ram" in info else "target", "program": program_of(qmp), "info": info, "parameters": {}, "capabilities": [],
            "timeline": None, "check": None, "samples": samples_of(history)}


def program_of(qmp):
    version = qmp.greeting["QMP"]["version"]
    qemu = ".".join(str(version["qemu"][part]) for part in ("major", "minor", "micro"))
    return version["package"].split(" (")[0] if version["package"].startswith("Godwit") else f"QEMU {qemu}"


def samples_of(history):
    """Few enough looks for a picture, the first and last among them."""
    looks = [sample_of(when - history.samples[0][0], info) for when, info in history.samples if "ram" in info]
    step = len(looks) // MOST_SAMPLES + 1
    return looks[::step] + (looks[-1:] if looks and (len(looks) - 1) % step else [])


def sample_of(seconds, info):
    ram = info["ram"]
    return {
        "time": round(seconds, 4), "total-time": info.get("total-time"), "status": info["status"], "sent": ram["transferred"],
        "left": ram["remaining"], "dirty-rate": ram["dirty-pages-rate"] * ram["page-size"], "pass": ram["dirty-sync-count"],
        "expected-downtime": info.get("expected-downtime"), "throttle": info.get("cpu-throttle-percentage", 0),
    }


def new(sides, **more):
    return {"format": FORMAT, "version": VERSION, "made": time.strftime("%Y-%m-%d %H:%M:%S %z"), "sides": sides} | more


def save(path, sides, **more):
    kept = new(sides, **more)
    pathlib.Path(path).write_text(json.dumps(kept, indent=1) + "\n")
    return kept


class RecordingError(ValueError):
    """The text is neither a recording nor a timeline."""


def load(text, name="input"):
    """A recording; the bare answer of query-migrate-timeline is taken too, with or without its "return"."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RecordingError(f"{name}: not JSON: {error}") from error
    if isinstance(found, dict) and found.get("format") == FORMAT:
        if found.get("version") != VERSION:
            raise RecordingError(f"{name}: recording of version {found.get('version')}; this script reads version {VERSION}")
        sides = found.get("sides")
        if not sides or not isinstance(sides, list) or not all(isinstance(side, dict) for side in sides):
            raise RecordingError(f"{name}: a recording without sides")
        return found
    attempts = found.get("return") if isinstance(found, dict) else found
    if isinstance(attempts, list) and attempts and all(map(is_attempt, attempts)):
        return {"format": FORMAT, "version": VERSION, "made": "", "sides": [{"info": {}, "timeline": attempts}]}
    raise RecordingError(f"{name}: neither a recording (scripts/watch --record) nor an answer of query-migrate-timeline")


def is_attempt(found):
    return isinstance(found, dict) and {"side", "status", "events", "total-us"} <= found.keys()


def merge(recordings):
    """One recording with the sides of all of them."""
    merged = dict(recordings[0])
    merged["sides"] = [side for one in recordings for side in one["sides"]]
    return merged
