# SPDX-License-Identifier: LGPL-2.1-or-later
#
# What query-migrate answers, as a person wants to see it. No I/O here: samples go in, lines come out.
import collections
import statistics
import textwrap

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
BLOCKS = " ▁▂▃▄▅▆▇█"
RUNNING = {"setup", "active", "pre-switchover", "device", "postcopy-active", "postcopy-paused", "postcopy-recover-setup",
           "postcopy-recover", "wait-unplug", "cancelling"}
ENDED = {"completed", "failed", "cancelled"}
RECEIVED, CHANNELS = "received", "channels"  # what follow.py adds to the answers of query-migrate
VERDICTS = {"converges": "converges", "above-downtime": "only above the downtime limit", "never": "never at these rates"}


def size(count):
    """1536 -> "1.5 KiB"; three significant figures."""
    for unit, name in ((GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB")):
        if abs(count) >= unit:
            value = count / unit
            return f"{value:.0f} {name}" if value >= 100 else f"{value:.1f} {name}"
    return f"{count:.0f} B"


def count(number):
    """61234 -> "61 234", as one word."""
    return f"{number:,}".replace(",", "\u202f")


def duration(seconds):
    if seconds < 1:
        return f"{seconds * 1e3:.0f} ms" if seconds > 0 else "0 s"
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

    def __init__(self, keep=4000):
        self.samples = collections.deque(maxlen=keep)
        self.wire = collections.deque(maxlen=120)
        self.dirty = collections.deque(maxlen=120)

    def add(self, when, info):
        """`when` in seconds of any steady clock, `info` from query-migrate. A new attempt starts a new history."""
        if self.samples:
            then, before = self.samples[-1]
            if before.get("status") in ENDED and info.get("status") not in ENDED:
                self.__init__(self.samples.maxlen)
            elif RECEIVED in info and RECEIVED in before and when > then:
                if info.get("status") not in ENDED:
                    self.wire.append(max(0, info[RECEIVED]["bytes"] - before[RECEIVED]["bytes"]) / (when - then))
            elif "ram" in info and "ram" in before and when > then:
                sent = info["ram"]["transferred"] - before["ram"]["transferred"]
                if info.get("status") not in ENDED:
                    self.wire.append(max(0, sent) / (when - then))
                    # The core's own look, where there is one: the verdict speaks of it, and it comes before the first pass ends.
                    told = info.get("x-forecast", {}).get("dirty-rate")
                    self.dirty.append(info["ram"]["dirty-pages-rate"] * info["ram"]["page-size"] if told is None else told)
        self.samples.append((when, info))

    @property
    def info(self):
        return self.samples[-1][1] if self.samples else {}

    def passes(self):
        return self.info.get("ram", {}).get("dirty-sync-count", 0)

    def rate(self):
        return statistics.fmean(list(self.wire)[-5:]) if self.wire else 0.0

    def dirty_rate(self):
        return self.dirty[-1] if self.dirty else 0.0

    def eta(self, downtime_limit=None):
        """(least, most) seconds until what is left fits into the downtime, most None when it never does at the lower
        rate, both None when it never does; None while unknown. Between quartiles of what the wire lately carried."""
        ram = self.info.get("ram")
        if not ram or len(self.wire) < 3:
            return None
        recent = sorted(list(self.wire)[-12:])
        low, high = recent[len(recent) // 4], recent[-1 - len(recent) // 4]

        def until(rate):
            fits = rate * (downtime_limit or 0) / 1e3
            if ram["remaining"] <= fits:
                return 0.0
            return (ram["remaining"] - fits) / (rate - self.dirty_rate()) if rate > self.dirty_rate() else None
        best, worst = until(high), until(low)
        return (None, None) if best is None else (best, worst)

    def eta_text(self, downtime_limit=None):
        if found := forecast_eta(self.info):
            return found
        eta = self.eta(downtime_limit)
        if eta is None:
            return "measuring"
        least, most = eta
        if least is None:
            return "never at this rate"
        if self.passes() < 2:
            return f"unknown until the first pass is over, in {between(least, most)}"
        return "any moment" if most == 0 else f"in {between(least, most)}"

    def share(self):
        ram = self.info.get("ram")
        if self.info.get("status") == "completed":
            return 1.0
        if not ram or not ram.get("total"):
            return 0.0
        return 1.0 - min(ram["remaining"], ram["total"]) / ram["total"]

    def warnings(self):
        info = self.info
        found = []
        if percent := info.get("cpu-throttle-percentage"):
            found.append(f"the guest is slowed down by {percent} %")
        forecast = info.get("x-forecast", {})  # which knows more than two looks do
        wire, dirty = forecast.get("wire-rate", self.rate()), forecast.get("dirty-rate", self.dirty_rate())
        if wire and dirty >= wire and info.get("status") == "active":
            found.append("the guest writes faster than the wire carries: raise max-bandwidth or allow auto-converge")
        if forecast.get("verdict") == "above-downtime" and forecast.get("downtime-needed"):
            found.append(f"needs a downtime of {forecast['downtime-needed']} ms, the limit is {forecast['downtime-limit']} ms")
        for reason in info.get("blocked-reasons", ()):
            found.append(f"blocked: {reason}")
        return found


def between(least, most):
    """"2.0 s to 3.1 s", and shorter where both ends read the same."""
    first = duration(least)
    if most is None:
        return f"{first} at least"
    last = duration(most)
    return first if first == last else f"{first} to {last}"


def expected_downtime(info):
    """Milliseconds, from the forecast by parts where there is one."""
    foretold = info.get("x-downtime", {}).get("predicted")
    return foretold if foretold else info.get("expected-downtime")


def forecast_eta(info):
    """What the core says of the end, which knows more than two looks do."""
    forecast = info.get("x-forecast")
    if not forecast:
        return None
    if "time-left-min" not in forecast:  # the verdict is all that can be said
        return VERDICTS.get(forecast["verdict"], forecast["verdict"])
    least, most = (forecast.get(key) for key in ("time-left-min", "time-left-max"))
    passed = since(info, forecast)
    return f"in {between(max(0, least - passed) / 1e3, None if most is None else max(0, most - passed) / 1e3)}"


def since(info, forecast):
    """Milliseconds since the forecast was given."""
    return max(0, info.get("total-time", 0) - forecast["given-at"])


class Line:
    """Text in spans, each with the name of a style ("" for none)."""

    def __init__(self, *spans):
        self.spans = [span if isinstance(span, tuple) else ("", span) for span in spans]

    def __str__(self):
        return "".join(text for _, text in self.spans)

    def __len__(self):
        return sum(len(text) for _, text in self.spans)

    def cut(self, width):
        kept, left = [], width
        for style, text in self.spans:
            if left > 0:
                kept.append((style, text[:left]))
                left -= len(text)
        return Line(*kept)

    def painted(self, styles):
        return "".join(f"{styles[style]}{text}\x1b[0m" if styles.get(style) and text else text for style, text in self.spans)


def status_style(status):
    return {"completed": "good", "failed": "bad", "cancelled": "bad", "none": "faint"}.get(status, "title")


def screen(history, guest_status, downtime_limit=None, width=80):
    """The live view: Lines no wider than `width`."""
    info = history.info
    status = info.get("status", "none")
    ram = info.get("ram")
    lines = [head_line(history, status, guest_status, width)]
    if ram:
        percent = f" {history.share():4.0%}"
        lines.append(Line(("bar", bar(history.share(), width - len(percent))), percent))
        lines.append(row("memory", f"{size(ram['remaining'])} left of {size(ram['total'])}, {size(ram['transferred'])} sent"))
        words = info.get("x-mostly-zero", {}).get("pages", 0)
        lines.append(row("pages", f"{count(ram['normal'])} sent{f', {count(words)} of them mostly zero' if words else ''}, "
                                  f"{count(ram['duplicate'])} found zero"))
        lines += rate_lines(history, width)
    if received := info.get(RECEIVED):
        lines.append(row("received", f"{size(received['bytes'])} in {duration(received['seconds'])}"))
        lines.append(wire_line(history, width))
        last = f", last {received['last']}" if received["last"] else ""
        lines.append(row("loaded", f"{received['devices']} device sections{last}"))
    if status == "active" and ram:
        lines.append(row("ends", history.eta_text(downtime_limit)))
    lines += verdict_lines(info, width)
    lines += downtime_lines(history, downtime_limit)
    lines += channel_lines(info, width)
    if "error-desc" in info:
        lines += wrapped("error", info["error-desc"], width, "bad")
    for warning in history.warnings():
        lines += wrapped("!", warning, width, "warn")
    return [line.cut(width) for line in lines]


def head_line(history, status, guest_status, width):
    words = [f"pass {history.passes()}"] if history.passes() else []
    if "total-time" in history.info:
        words.append(duration(history.info["total-time"] / 1e3))
    left = Line((status_style(status), status), "".join(f" · {word}" for word in words))
    right = f"guest {guest_status}"
    return Line(*left.cut(width - len(right) - 1).spans, " " * max(1, width - len(left) - len(right)), ("faint", right))


LABEL = 10
MOST_CHANNELS = 6


def row(label, *spans):
    return Line(("faint", label.ljust(LABEL)), *spans)


def wrapped(label, text, width, style):
    lines = textwrap.wrap(text, max(20, width - LABEL))[:4]
    return [row(label if at == 0 else "", (style, line)) for at, line in enumerate(lines)]


def wire_line(history, width):
    rate = f"{size(history.rate())}/s" if history.wire else "unknown yet"
    return row("wire", f"{rate:<14}", ("wire", sparkline(history.wire, width - LABEL - 14)))


def rate_lines(history, width):
    dirty = f"{size(history.dirty_rate())}/s" if any(history.dirty) else "unknown yet"
    return [wire_line(history, width), row("guest", f"{dirty:<14}", ("dirty", sparkline(history.dirty, width - LABEL - 14)))]


def verdict_lines(info, width):
    forecast = info.get("x-forecast")
    if not forecast or info.get("status") in ENDED:
        return []
    verdict = forecast["verdict"]
    style = {"converges": "good", "above-downtime": "warn", "never": "bad"}.get(verdict, "")
    return wrapped("verdict", f"{VERDICTS.get(verdict, verdict)}: {forecast['reason']}", width, style)


def downtime_lines(history, downtime_limit):
    info = history.info
    limit = f" (limit {downtime_limit} ms)" if downtime_limit is not None else ""
    expected = expected_downtime(info)
    if "downtime" in info:
        return [row("downtime", ("title", f"{info['downtime']} ms"), *parts_text(info, "duration-us"))]
    if expected and history.passes() > 1:
        # What is dirty now; who gets across is stopped only when the rest fits into the limit.
        if info.get("x-forecast", {}).get("verdict") == "converges" and downtime_limit is not None and expected > downtime_limit:
            return [row("downtime", f"{downtime_limit} ms at most, the limit")]
        return [row("downtime", f"{expected:.0f} ms expected{limit}")]
    return []


def parts_text(info, key):
    parts = [p for p in info.get("x-downtime", {}).get("parts", ()) if p.get(key)]
    parts.sort(key=lambda part: -part[key])
    return ["  " + ", ".join(f"{p['name']} {p[key] / 1e3:.1f}" for p in parts[:4])] if parts else []


def channel_lines(info, width):
    """What each connection carries, where the kernel tells."""
    rates = [(c["name"], c["bytes-per-second"]) for c in info.get(CHANNELS, ())]
    if len(rates) > MOST_CHANNELS:
        carried = [rate for _, rate in rates]
        return [row("channels", f"{len(rates)}, {size(min(carried))}/s to {size(max(carried))}/s each")]
    words = "   ".join(f"{name} {size(rate)}/s".replace(" ", "\xa0") for name, rate in rates)
    lines = textwrap.wrap(words, max(20, width - LABEL)) if words else []
    return [row("channels" if at == 0 else "", line.replace("\xa0", " ")) for at, line in enumerate(lines)]


def plain(history, guest_status, downtime_limit=None):
    """The same on one line, for logs."""
    info = history.info
    words = [info.get("status", "none"), f"guest {guest_status}"]
    wire = [f"wire {size(history.rate())}/s"] if history.wire else []
    if ram := info.get("ram"):
        words += [f"pass {history.passes()}", f"{history.share():.0%}", f"left {size(ram['remaining'])}", *wire]
        if any(history.dirty):
            words.append(f"guest writes {size(history.dirty_rate())}/s")
    if received := info.get(RECEIVED):
        words += [f"received {size(received['bytes'])}", *wire, f"{received['devices']} device sections loaded"]
    if info.get("status") == "active" and ram:
        words.append(f"ends {history.eta_text(downtime_limit)}")
    forecast = info.get("x-forecast", {})
    if "time-left-min" in forecast and info.get("status") not in ENDED:
        words.append(VERDICTS.get(forecast["verdict"], forecast["verdict"]))
    if "downtime" in info:
        words.append(f"downtime {info['downtime']} ms")
    if "error-desc" in info:
        words.append(f"error: {info['error-desc']}")
    return ", ".join(words)
