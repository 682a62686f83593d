# SPDX-License-Identifier: LGPL-2.1-or-later
#
# What an error of a migration is about, and what a person may do. The first that matches counts.
import re

ADVICE = [
    (r"/vfio\b|\bvfio\b|vfio-user|device state [A-Z]", "a device outside the program",
     "Its server or driver refused something, did not answer or went away: its own log says why. The destination needs a device of "
     "the same kind, with a state of the same size, ready before the migration begins."),
    (r"connection refused|connect.*(no such file|unreachable|timed out)", "the connection",
     "Start the destination with -incoming first, and check the address, the port and the firewall between the hosts."),
    (r"unable to write|broken pipe|connection reset|end of file|eof|closed its connection", "the connection",
     "The other side went away. Its own message (its stderr, or error-desc there) says why; look for a refusal to load."),
    (r"unknown (section|savevm section|ramblock)|no such section|missing section", "a device or memory block",
     "One side has a device or memory block that the other has not. Compare the two command lines, or run migrate-check."),
    (r"length mismatch|size mismatch|ram.*(differ|mismatch)", "the size of a memory block",
     "Give both sides the same -m and the same sizes of devices' memory; migrate-check names the difference."),
    (r"version", "the version of a device's state",
     "The destination is older than the source. Use one machine type (-machine q35-10.0) that both know, or a newer destination."),
    (r"machine type", "the machine type", "Start the destination with the source's -machine."),
    (r"blocked|not migratable|disallow", "a blocker",
     "Something forbids to migrate now; query-migrate lists blocked-reasons. Unplug the device or wait for it to let go."),
    (r"no space|memory|mlock|cannot allocate", "memory of the host",
     "The host has too little of it, or a limit (ulimit -l, cgroup) is too low."),
    (r"cancel", "an operator", "Somebody cancelled. The guest runs on at the source."),
    (r"truncat|corrupt|bad|invalid|expected", "the stream",
     "The stream is damaged or of another program. scripts/analyze-stream finds the place in a stream kept in a file."),
]
ELSE = ("", "See the log of both programs around this time; the source's guest runs on, so it may be tried again.")


def about(text):
    """(what it is about, what to do)."""
    for pattern, what, advice in ADVICE:
        if re.search(pattern, text, re.IGNORECASE):
            return what, advice
    return ELSE
