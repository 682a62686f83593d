# SPDX-License-Identifier: LGPL-2.1-or-later
#
# One attempt to migrate as the report shows it: both sides' events on the source's clock, whatever recorded them.
import dataclasses

SOURCE, TARGET = "source", "destination"
LEAST_WINDOW = 0.03  # seconds over which a rate means something
BEFORE_THE_STOP = ("rehearsed", "drained")  # of the kind "switchover", but while the guest runs; drained with every pass


@dataclasses.dataclass
class Event:
    """`start` and `length` in seconds since the attempt began at the source; `length` None for what has none."""
    side: str
    kind: str
    name: str
    start: float
    length: float | None = None
    bytes: int | None = None
    number: int | None = None

    @property
    def end(self):
        return self.start + (self.length or 0.0)


@dataclasses.dataclass
class Sample:
    """How things stood `time` seconds after the beginning; bytes, and bytes a second."""
    time: float
    sent: int
    left: int
    wire: float
    dirty: float
    throttle: int


@dataclasses.dataclass
class Attempt:
    status: str
    total: float  # seconds
    began: float = 0.0  # seconds since the epoch, 0 if nobody said
    events: list = dataclasses.field(default_factory=list)
    samples: list = dataclasses.field(default_factory=list)
    ram: dict = dataclasses.field(default_factory=dict)
    mostly_zero: int = 0  # of the pages in ram["normal"], those that took next to nothing
    downtime: float | None = None  # milliseconds
    parts: list = dataclasses.field(default_factory=list)
    predicted: float | None = None  # milliseconds
    forecast: dict = dataclasses.field(default_factory=dict)
    errors: list = dataclasses.field(default_factory=list)  # (side, text)
    clock: str = ""  # how the destination's times were brought to the source's clock
    dropped: int = 0
    outside: int = 0  # bytes of devices behind VFIO

    def of(self, *kinds, side=None):
        return [e for e in self.events if e.kind in kinds and side in (None, e.side)]

    @property
    def last(self):
        """The end of what is to be drawn."""
        ends = [e.end for e in self.events if e.kind != "status"] + [s.time for s in self.samples]
        return max([self.total, *ends, 1e-3])

    def statuses(self, side):
        """(status, begin, end) of one side, in order."""
        changes = sorted(self.of("status", side=side), key=lambda e: e.start)
        ends = [e.start for e in changes[1:]] + [max(self.last, changes[-1].start)] if changes else []
        return [(e.name, e.start, end) for e, end in zip(changes, ends)]


def attempts_of(recording):
    """The newest attempt first. A source tells; a destination adds, and tells where there is no source."""
    sides = recording["sides"]
    sources = [s for s in sides if s.get("role") != "target" and not is_target(s)]
    targets = [s for s in sides if s not in sources]
    if not sources:
        return [found for side in targets for found in from_side(side)]
    found = [attempt for side in sources for attempt in from_side(side)]
    for side in targets:
        add_target(found, side)
    return found


def is_target(side):
    timeline = side.get("timeline") or []
    return bool(timeline) and timeline[0].get("side") == TARGET


def from_side(side):
    timeline = side.get("timeline")
    if not timeline:
        return [from_looks(side)]
    found = [from_timeline(one) for one in timeline]
    found[0].mostly_zero = side.get("info", {}).get("x-mostly-zero", {}).get("pages", 0)
    found[0].outside = side.get("info", {}).get("vfio", {}).get("transferred", 0)
    if not found[0].samples:
        found[0].samples = samples_of_looks(side)
    return found


def from_timeline(one):
    attempt = Attempt(one["status"], one["total-us"] / 1e6, began=one["started"] / 1e6, dropped=one.get("dropped", 0))
    attempt.events = [event_of(e, one["side"]) for e in one["events"]]
    attempt.samples = [Sample(s["time-us"] / 1e6, s["transferred"], s["remaining"], s["wire-rate"], s["dirty-rate"], s["throttle"])
                       for s in one["samples"]]
    attempt.samples = even(attempt.samples)
    attempt.ram = one.get("ram", {})
    attempt.samples += samples_of_switchover(attempt)
    attempt.forecast = one.get("forecast", {})
    take_downtime(attempt, one.get("downtime", {}))
    if "error-desc" in one:
        attempt.errors.append((one["side"], one["error-desc"]))
    if peer := one.get("peer"):
        attempt.events += [event_of(e, TARGET) for e in peer["events"]]
        attempt.dropped += peer.get("dropped", 0)
        attempt.clock = (f"The destination's times were told over the return path and moved by its clock's offset of "
                         f"{peer['clock-offset-us'] / 1e3:.3f} ms, known to within {peer['clock-error-us'] / 1e3:.3f} ms.")
    return attempt


def even(samples):
    """Without windows so short that a socket's buffer took all: their bytes go to the window before."""
    kept = []
    for sample in samples:
        if len(kept) > 1 and sample.time - kept[-1].time < LEAST_WINDOW:
            kept.pop()
            before = kept[-1]
            sample = dataclasses.replace(sample, wire=(sample.sent - before.sent) / max(sample.time - before.time, LEAST_WINDOW))
        kept.append(sample)
    return kept


def dirtied(attempt):
    """[(time, bytes a second)]: what became dirty from one sync to the next, over that time; no part of it too short to mean
    something. Empty where syncs are missing."""
    syncs = sorted((e for e in attempt.of("sync", side=SOURCE) if e.bytes is not None), key=lambda e: e.start)
    if len(syncs) < 2 or attempt.dropped:
        return []
    points, since, count = [], syncs[0].start, 0
    for sync in syncs[1:]:
        count += sync.bytes
        if sync.start - since >= LEAST_WINDOW:
            rate = count / (sync.start - since)
            points += [(since, rate), (sync.start, rate)]
            since, count = sync.start, 0
    return points


def samples_of_switchover(attempt):
    """The recorder's samples end when the guest stops; the last pages' event says how it went on."""
    last = next((e for e in attempt.of("switchover", side=SOURCE) if e.name == "ram" and e.length), None)
    if attempt.status != "completed" or not last or last.length < LEAST_WINDOW or not attempt.samples:
        return []
    before, size = attempt.samples[-1], last.bytes or 0
    return [Sample(last.start, before.sent, before.left, size / last.length, 0, 0),
            Sample(last.end, before.sent + size, 0, size / last.length, 0, 0)]


def event_of(event, side):
    length = event.get("duration-us")
    kind = "preparation" if event["kind"] == "switchover" and event["name"] in BEFORE_THE_STOP else event["kind"]
    return Event(side, kind, event["name"], event["start-us"] / 1e6, None if length is None else length / 1e6,
                 event.get("bytes"), event.get("number"))


def take_downtime(attempt, downtime):
    attempt.parts = downtime.get("parts", [])
    attempt.predicted = downtime.get("predicted") or None
    attempt.downtime = downtime.get("actual")


def from_looks(side):
    """Of a program that keeps no timeline: what query-migrate said at the end, and whenever somebody looked."""
    info = side.get("info", {})
    attempt = Attempt(info.get("status", "none"), info.get("total-time", 0) / 1e3, ram=info.get("ram", {}),
                      downtime=info.get("downtime"), forecast=info.get("x-forecast", {}),
                      outside=info.get("vfio", {}).get("transferred", 0))
    take_downtime(attempt, info.get("x-downtime", {}) | ({"actual": info["downtime"]} if "downtime" in info else {}))
    attempt.samples = samples_of_looks(side)
    previous, began = None, beginning(side.get("samples", []))
    for look in side.get("samples", ()):
        if look["status"] != previous:
            attempt.events.append(Event(SOURCE, "status", look["status"], look["time"] - began))
            previous = look["status"]
    if "error-desc" in info:
        attempt.errors.append((side.get("role", SOURCE), info["error-desc"]))
    return attempt


def beginning(looks):
    """When the migration began, by the looks' clock: who waited for it looked before."""
    return min((look["time"] - look["total-time"] / 1e3 for look in looks if look.get("total-time") is not None), default=0.0)


def samples_of_looks(side):
    found = []
    looks = side.get("samples", [])
    began = beginning(looks)
    for before, look in zip(looks, looks[1:]):
        if look["time"] > before["time"]:
            rate = max(0, look["sent"] - before["sent"]) / (look["time"] - before["time"])
            found.append(Sample(look["time"] - began, look["sent"], look["left"], rate, look["dirty-rate"], look.get("throttle", 0)))
    return found


def add_target(attempts, side):
    """What the destination itself recorded, for the attempt that ran at the same time, when the source has not got it."""
    for one in side.get("timeline") or []:
        began = one["started"] / 1e6
        for attempt in attempts:
            shift = began - attempt.began
            if attempt.of("device-load", side=TARGET) or not -60 < shift < attempt.total + 60:
                continue
            for event in (event_of(e, TARGET) for e in one["events"]):
                event.start += shift
                if event.start >= -1:
                    attempt.events.append(event)
            attempt.clock = "The destination's times are by its own wall clock; where the hosts' clocks differ, so do they."
            break
    if text := side.get("info", {}).get("error-desc"):
        if attempts and (TARGET, text) not in attempts[0].errors:
            attempts[0].errors.append((TARGET, text))
