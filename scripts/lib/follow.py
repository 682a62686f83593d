# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Looks at a migration until it ended: a view redrawn in place on a terminal, else a line when something changed.
import os
import shutil
import time

import view
from channels import Channels

STYLES = {"title": "\x1b[1m", "bar": "\x1b[36m", "wire": "\x1b[36m", "dirty": "\x1b[35m", "good": "\x1b[1;32m", "warn": "\x1b[33m",
          "bad": "\x1b[1;31m", "faint": "\x1b[2m"}


class Screen:
    """Draws over its last frame."""

    def __init__(self, out, indent=""):
        self.out, self.indent = out, indent
        self.drawn = 0
        self.styles = {} if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" else STYLES

    @property
    def width(self):
        # One column stays free: a full last column makes some terminals wrap.
        return max(30, min(100, shutil.get_terminal_size((80, 24)).columns) - len(self.indent) - 1)

    def draw(self, lines):
        lines = lines[:max(1, shutil.get_terminal_size((80, 24)).lines - 1)]  # what scrolled away cannot be drawn over
        back = f"\x1b[{self.drawn}F" if self.drawn else ""
        text = "".join(f"{self.indent}{line.painted(self.styles)}\x1b[K\n" for line in lines)
        self.out.write(f"{back}{text}\x1b[J")
        self.out.flush()
        self.drawn = len(lines)


class Lines:
    """Prints a line when it differs from the last one, at most one in `interval` seconds."""

    def __init__(self, out, indent="", interval=1.0):
        self.out, self.indent, self.interval = out, indent, interval
        self.said, self.said_at = None, 0.0

    def tell(self, line, now, urgent):
        if urgent or (line != self.said and now - self.said_at >= self.interval):
            print(self.indent + line, file=self.out, flush=True)
            self.said, self.said_at = line, now


def add_received(info, attempts):
    """A destination's query-migrate says nothing of its progress; its timeline does."""
    if not attempts or attempts[0]["side"] != "destination":
        return
    loads = [e["name"] for e in attempts[0]["events"] if e["kind"] == "device-load"]
    samples = attempts[0]["samples"]
    info[view.RECEIVED] = {"bytes": samples[-1]["transferred"] if samples else 0, "seconds": attempts[0]["total-us"] / 1e6,
                           "devices": len(loads), "last": loads[-1] if loads else ""}
    if text := attempts[0].get("error-desc"):
        info.setdefault("error-desc", text)


def follow(qmp, out, *, plain=False, interval=0.2, wait=0.0, indent="", patience=None, history=None):
    """Until the migration ended, or never began within `wait` seconds, or took longer than `patience` seconds.
    The history of what was seen; its `info` is the last answer of query-migrate. Who hands one in keeps it when the
    program goes away meanwhile."""
    history = view.History() if history is None else history
    screen = None if plain or not out.isatty() else Screen(out, indent)
    lines = Lines(out, indent)
    limit = qmp.execute("query-migrate-parameters").get("downtime-limit")
    knows_timeline = any(c["name"] == "query-migrate-timeline" for c in qmp.execute("query-commands"))
    channels = Channels(qmp.sock)
    began = time.monotonic()
    while True:
        now = time.monotonic()
        info = qmp.execute("query-migrate")
        if knows_timeline and "ram" not in info and info.get("status", "none") != "none":
            add_received(info, qmp.execute("query-migrate-timeline", last=1))
        if info.get("status") in view.RUNNING and (rates := channels.look(now)):
            info[view.CHANNELS] = rates
        guest = qmp.execute("query-status")["status"]
        history.add(now, info)
        status = info.get("status", "none")
        ended = status in view.ENDED or (status == "none" and now > began + wait)
        if screen:
            screen.draw(view.screen(history, guest, limit, screen.width))
        else:
            lines.tell(view.plain(history, guest, limit), now, ended)
        if ended or (patience is not None and now > began + patience):
            return history
        time.sleep(interval)
