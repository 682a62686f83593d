# SPDX-License-Identifier: LGPL-2.1-or-later
"""A recording as two Godwits give it, for the tests of the report: invented figures in the shape of the schema."""
MIB = 1 << 20


def event(kind, name, start, length=None, count=None, number=None):
    made = {"kind": kind, "name": name, "start-us": start}
    for key, value in (("duration-us", length), ("bytes", count), ("number", number)):
        if value is not None:
            made[key] = value
    return made


DEVICES = [("ram", 90, 4 * MIB), ("kvm-cpu", 1900, 14_000), ("0000:00:02.0/virtio-blk", 800, 3_200), ("apic", 150, 1_100),
           ("i8259", 60, 40), ("ioapic", 70, 240), ("serial", 40, 30), ("mc146818rtc", 50, 180), ("fw_cfg", 30, 20),
           ("0000:00:1f.2/ich9_ahci", 400, 5_900)]


def source_events():
    events = [event("status", "setup", 0), event("connect", "main", 200, 900), event("setup", "ram", 1200, 14_000),
              event("status", "active", 16_000)]
    begin = 16_000
    for number, length in enumerate((2_100_000, 800_000, 310_000, 120_000), 1):
        events.append(event("pass", "precopy", begin, length, int(length * 118), number))
        events.append(event("sync", "dirty", begin + length, 3_000, int(length * 50), number + 1))
        begin += length + 3_000
    events += [event("throttle", "auto-converge", 900_000, None, None, 20), event("stall", "write", 1_500_000, 120_000),
               event("verdict", "above-downtime", 2_300_000), event("verdict", "converges", 2_950_000)]
    stop = begin
    events += [event("guest", "finish-migrate", stop), event("status", "device", stop + 2_000), event("switchover", "stop", stop, 2_000),
               event("switchover", "sync", stop + 2_000, 4_000), event("switchover", "ram", stop + 6_000, 31_000)]
    at = stop + 37_000
    for name, length, size in DEVICES:
        events.append(event("device-save", name, at, length, size))
        at += length
    events += [event("switchover", "handover", at, 9_000), event("status", "completed", at + 12_000)]
    return events, stop, at


def target_events(stop, at):
    events = [event("status", "setup", -40_000), event("status", "active", 15_000)]
    then = at + 1_000
    for name, length, size in DEVICES:
        events.append(event("device-load", name, then, length * 2, size))
        then += length * 2
    return [*events, event("guest", "running", at + 11_000), event("status", "completed", at + 11_500)]


def downtime(at, stop):
    parts = [("stop", "stop", 0, 2_000, 1_500, 0), ("sync", "sync", 2_000, 4_000, 3_500, 0), ("ram", "ram", 6_000, 31_000, 38_000, 4 * MIB)]
    begin = 37_000
    for name, length, size in DEVICES:
        parts.append((name, "device", begin, length, length + 20, size))
        begin += length
    parts += [("flush", "flush", begin, 200, 300, 0), ("handover", "handover", begin + 200, 9_000, 8_000, 0), ("resume", "resume", begin + 9_200, 2_400, 2_000, 0)]
    return {"predicted": 52.1, "actual": (begin + 11_600) / 1e3,
            "parts": [{"name": n, "kind": k, "start-us": s, "duration-us": d, "predicted-us": p, "bytes": b} for n, k, s, d, p, b in parts]}


RAM = {"transferred": 412 * MIB, "remaining": 0, "total": 512 * MIB, "duplicate": 4_049, "normal": 104_987, "normal-bytes": 104_987 * 4096,
       "dirty-pages-rate": 12_000, "mbps": 940.0, "dirty-sync-count": 5, "postcopy-requests": 0, "page-size": 4096, "multifd-bytes": 0,
       "pages-per-second": 30_000, "precopy-bytes": 390 * MIB, "downtime-bytes": 22 * MIB, "postcopy-bytes": 0, "dirty-sync-missed-zero-copy": 0}


def samples(total):
    count = 60
    return [{"time-us": total * n // count, "transferred": 412 * MIB * n // count, "remaining": max(0, (300 - 5 * n)) * MIB,
             "wire-rate": (113 + n % 5) * MIB, "dirty-rate": (0 if n < 36 else 48 + n % 3) * MIB, "throttle": 20 if 15 < n < 30 else 0} for n in range(count)]


def forecast(total):
    last = {"verdict": "converges", "pass": 4, "given-at": 2_950, "total-min": 3_000, "total-max": 3_600, "total-time": total // 1000,
            "correct": True, "in-range": True}
    first = {"verdict": "above-downtime", "pass": 2, "given-at": 2_300, "total-time": total // 1000, "correct": False}
    return {"verdict": "converges", "reason": "what is left shrinks by 0.42 each pass", "pass": 4, "given-at": 2_950, "wire-rate": 118 * MIB,
            "dirty-rate": 50 * MIB, "pass-wire-rate": 118 * MIB, "pass-dirty-rate": 49 * MIB, "remaining": 14 * MIB, "settles-at": 0,
            "downtime-limit": 300, "time-left-min": 50, "time-left-max": 650, "passes-left": 1, "changes": 1, "scores": [first, last]}


def timeline():
    events, stop, at = source_events()
    total = at + 12_000
    return {"id": 2, "side": "source", "status": "completed", "started": 1_763_722_862_000_000, "total-us": total, "events": events, "dropped": 0,
            "samples": samples(total), "forecast": forecast(total), "downtime": downtime(at, stop), "ram": RAM,
            "peer": {"events": target_events(stop, at), "dropped": 0, "clock-offset-us": 31_250, "clock-error-us": 84}}


def failed():
    return {"id": 1, "side": "source", "status": "failed", "started": 1_763_722_800_000_000, "total-us": 812_000, "dropped": 3, "samples": [],
            "error-desc": "destination: section </script><b>serial</b> 0: version 4 is too new",
            "events": [event("status", "setup", 0), event("error", "stream", 812_000), event("status", "failed", 812_000)]}


CHECK = {"status": "done", "verdict": "doubtful", "peer": "Godwit 0.1.0", "round-trip-us": 410, "bandwidth": 117 * MIB, "dirty-rate": 58 * MIB, "touched": 256 * MIB,
         "differences": [{"kind": "pace", "name": "downtime", "fatal": False, "desc": "it may not converge"},
                         {"kind": "device", "name": "serial0.fifo", "fatal": True, "desc": "the properties differ", "source": "16", "destination": "1"}]}


def recording(*attempts, **more):
    side = {"role": "source", "program": "Godwit 10.0.2", "info": {}, "timeline": list(attempts or (timeline(), failed())),
            "parameters": {"max-bandwidth": 0, "downtime-limit": 300}, "capabilities": ["return-path"], "check": CHECK}
    return {"format": "godwit-recording", "version": 1, "made": "2026-11-21 11:00:00 +0000", "title": "a guest of 512 MiB", "sides": [side]} | more
