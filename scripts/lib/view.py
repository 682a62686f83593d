# SPDX-License-Identifier: LGPL-2.1-or-later
#
# What query-migrate answers, as a person wants to see it. No I/O here: samples go in, lines come out.
import collections
import statistics

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
BLOCKS = " ▁▂▃▄▅▆▇█"
RUNNING = {"setup", "active", "pre-switchover", "device", "postcopy-active", "postcopy-paused", "postcopy-recover-setup",
           "postcopy-recover", "wait-unplug", "cancelling"}
ENDED = {"completed", "failed", "cancelled"}


def size(count):
    """1536 -> "1.5 KiB"; three significant figures."""
    for unit, name in ((GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB")):
        if abs(count) >= unit:
            value = count / unit
            return f"{value:.0f} {name}" if value >= 100 else f"{value:.1f} {name}"
    return f"{count:.0f} B"


def duration(seconds):
    if seconds < 1:
        return f"{seconds * 1e3:.0f} ms"
    if seconds < 100:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02} min" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02} h"


def bar(share, width):
    """A bar of `width` characters, filled to an eighth of a character."""
    eighths = round(max(0.0, min(1.0, share)) * width * 8)
    full, part = divmod(eighths, 8)
    text = "█" * full + (" ▏▎▍▌▋▊▉"[part] if part else "")
    return text.ljust(width, "·")


def sparkline(values, width):
    """The last `width` values as small bars, from zero to the greatest of them."""
    values = list(values)[-width:]
    top = max(values, default=0)
    if top <= 0:
        return "▁" * len(values)
    return "".join(BLOCKS[1 + round(v / top * 7)] for v in values)


class History:
    """Samples of one migration, and what follows from them."""

    def __init__(self, keep=120):
        self.samples = collections.deque(maxlen=keep)
        self.wire = collections.deque(maxlen=keep)
        self.dirty = collections.deque(maxlen=keep)

    def add(self, when, info):
        """`when` in seconds of any steady clock, `info` from query-migrate. A new attempt starts a new history."""
        if self.samples:
            then, before = self.samples[-1]
            if before.get("status") in ENDED and info.get("status") not in ENDED:
                self.__init__(self.samples.maxlen)
            elif "ram" in info and "ram" in before and when > then:
                sent = info["ram"]["transferred"] - before["ram"]["transferred"]
                self.wire.append(max(0, sent) / (when - then))
                self.dirty.append(info["ram"]["dirty-pages-rate"] * info["ram"]["page-size"])
        self.samples.append((when, info))

    @property
    def info(self):
        return self.samples[-1][1] if self.samples else {}

    def rate(self):
        return statistics.fmean(list(self.wire)[-4:]) if self.wire else 0.0

    def dirty_rate(self):
        return self.dirty[-1] if self.dirty else 0.0

    def eta(self):
        """(least, most) seconds to the end, most None when it does not end at this rate; None while unknown."""
        ram = self.info.get("ram")
        if not ram or len(self.wire) < 2:
            return None
        recent = sorted(list(self.wire)[-12:])
        low, high = recent[len(recent) // 4], recent[-1 - len(recent) // 4]
        best = high - self.dirty_rate()
        worst = low - self.dirty_rate()
        if best <= 0:
            return (None, None)
        return (ram["remaining"] / best, ram["remaining"] / worst if worst > 0 else None)

    def eta_text(self):
        eta = self.eta()
        if eta is None:
            return "measuring"
        least, most = eta
        if least is None:
            return "never at this rate"
        if most is None:
            return f"at least {duration(least)}"
        first, last = duration(least), duration(most)
        return first if first == last else f"{first} to {last}"

    def share(self):
        ram = self.info.get("ram")
        if self.info.get("status") == "completed":
            return 1.0
        if not ram or not ram.get("total"):
            return 0.0
        return 1.0 - min(ram["remaining"], ram["total"]) / ram["total"]

    def warnings(self, downtime_limit=None):
        info = self.info
        found = []
        if percent := info.get("cpu-throttle-percentage"):
            found.append(f"the guest is slowed down by {percent} %")
        if self.rate() and self.dirty_rate() >= self.rate() and info.get("status") == "active":
            found.append("the guest writes faster than the wire carries: raise max-bandwidth or allow auto-converge")
        expected = info.get("expected-downtime")
        if downtime_limit and expected and expected > downtime_limit and info.get("status") == "active":
            found.append(f"downtime would be {expected} ms, the limit is {downtime_limit} ms")
        for reason in info.get("blocked-reasons", ()):
            found.append(f"blocked: {reason}")
        return found


def channel_rows(info):
    """Godwit tells rates per channel; QEMU does not."""
    return [f"{c.get('name', '?')} {size(c.get('bytes-per-second', 0))}/s" for c in info.get("x-channels", ())]


def screen(history, guest_status, downtime_limit=None, width=80):
    """The live view: a list of lines no wider than `width`."""
    info = history.info
    status = info.get("status", "none")
    ram = info.get("ram", {})
    head = f"{status}"
    if ram:
        head += f"   pass {ram.get('dirty-sync-count', 0)}"
    if "total-time" in info:
        head += f"   {duration(info['total-time'] / 1e3)}"
    lines = [f"Migration  {head}".ljust(width - len(guest_status) - 6)[: width - len(guest_status) - 6] + f"guest {guest_status}"]
    if ram:
        percent = f"{history.share():4.0%}"
        lines.append(f"{bar(history.share(), width - len(percent) - 1)} {percent}")
        lines.append(f"left {size(ram['remaining'])} of {size(ram['total'])}, sent {size(ram['transferred'])}")
        space = width - 30
        lines.append(f"wire   {size(history.rate()):>10}/s  {sparkline(history.wire, space)}")
        lines.append(f"dirty  {size(history.dirty_rate()):>10}/s  {sparkline(history.dirty, space)}")
        lines.append(f"pages  {ram['normal']} sent whole, {ram['duplicate']} zero")
    if status == "active":
        lines.append(f"ends   {history.eta_text()}")
    lines += downtime_lines(info, downtime_limit)
    if forecast := info.get("x-forecast"):
        lines.append(f"verdict  {forecast.get('verdict', '?')}")
    if channels := channel_rows(info):
        lines.append("channels  " + "  ".join(channels))
    if "error-desc" in info:
        lines.append(f"error  {info['error-desc']}")
    lines += [f"! {warning}" for warning in history.warnings(downtime_limit)]
    return [line[:width] for line in lines]


def downtime_lines(info, downtime_limit):
    if "downtime" in info:
        return [f"downtime  {info['downtime']} ms"]
    if "expected-downtime" in info:
        limit = f" (limit {downtime_limit} ms)" if downtime_limit is not None else ""
        return [f"downtime  forecast {info['expected-downtime']} ms{limit}"]
    return []


def plain(history, guest_status):
    """The same on one line, for logs."""
    info = history.info
    words = [info.get("status", "none"), f"guest {guest_status}"]
    if ram := info.get("ram"):
        words += [f"{history.share():.0%}", f"pass {ram.get('dirty-sync-count', 0)}", f"left {size(ram['remaining'])}",
                  f"wire {size(history.rate())}/s", f"dirty {size(history.dirty_rate())}/s"]
    if info.get("status") == "active":
        words.append(f"ends {history.eta_text()}")
    if "downtime" in info:
        words.append(f"downtime {info['downtime']} ms")
    if "error-desc" in info:
        words.append(f"error: {info['error-desc']}")
    return ", ".join(words)
