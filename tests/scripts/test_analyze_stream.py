# SPDX-License-Identifier: LGPL-2.1-or-later
"""scripts/analyze-stream tells every element of a stream, and where a broken one breaks."""
import io
import json
import pathlib
import struct
import subprocess
import sys
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "scripts" / "lib"))
import stream  # noqa: E402


def be32(value):
    return struct.pack(">I", value)


def be64(value):
    return struct.pack(">Q", value)


def str8(text):
    return bytes([len(text)]) + text.encode()


def section(kind, number, body, name=None, version=0):
    head = str8(name) + be32(0) + be32(version) if name else b""
    return bytes([kind]) + be32(number) + head + body + b"\x7e" + be32(number)


HEADER = be32(0x5145564D) + be32(3) + b"\x07" + be32(4) + b"none"
TIMER = be64(0x062E90A0) + be64(0) + be64(0x026194FC)
DEVICES = [{
    "name": "timer", "instance_id": 0, "vmsd_name": "timer", "version": 2,
    "fields": [{"name": "cpu_ticks_offset", "type": "int64", "size": 8},
               {"name": "unused", "type": "unused_buffer", "size": 8},
               {"name": "cpu_clock_offset", "type": "int64", "size": 8}],
    "subsections": [{"vmsd_name": "timer/extra", "version": 1, "fields": [{"name": "level", "type": "uint8", "size": 1, "array_len": 2}]}],
}]
TIMER_BODY = TIMER + b"\x05" + str8("timer/extra") + be32(1) + b"\x07\x08"


def small_stream(ram_part, devices=None, tail=b""):
    """One block "r" of 16 KiB, the given page records, one device."""
    text = json.dumps({"configuration": {}, "page_size": 4096, "devices": DEVICES if devices is None else devices}).encode()
    return (HEADER + section(1, 1, be64(0x4000 | 4) + str8("r") + be64(0x4000) + be64(0x10), "ram", 4)
            + section(2, 1, ram_part + be64(0x10)) + b"\x08\x00\x0b\x00\x00" + section(3, 1, be64(0x10))
            + section(4, 0, TIMER_BODY, "timer", 2) + b"\x00" + b"\x06" + be32(len(text)) + text + tail)


PAGES = (be64(0x0002) + str8("r") + b"\0" + be64(0x1000 | 0x22) + b"\0" + be64(0x2000 | 0x28) + b"x" * 4096
         + be64(0x3000 | 0x60) + b"\x01" + b"\x00\x02" + b"ab")


def elements(data):
    return list(stream.Analyzer(io.BytesIO(data)).elements())


class AnalyzeStream(unittest.TestCase):
    def test_elements_are_told_in_order_with_offsets_that_add_up(self):
        data = small_stream(PAGES)
        found = elements(data)
        self.assertEqual([e["type"] for e in found], ["header", "configuration", "START", "PART", "COMMAND", "END", "FULL",
                                                      "EOF", "VMDESCRIPTION"])
        position = 0
        for element in found:
            self.assertEqual(element["offset"], position)
            position += element["size"]
        self.assertEqual(position, len(data))

    def test_pages_are_counted_by_kind_and_kept_as_runs(self):
        part = elements(small_stream(PAGES))[3]
        self.assertEqual(part["pages"]["zero"]["r"].runs, [[0, 2]])
        self.assertEqual(part["pages"]["normal"]["r"].runs, [[2, 3]])
        self.assertEqual(part["pages"]["xbzrle"]["r"].count, 1)

    def test_a_difference_right_behind_its_page_of_zeros_is_a_mostly_zero_page(self):
        difference = b"\x01" + b"\x00\x03" + b"\x05\x01a"
        part = elements(small_stream(be64(0x0002) + str8("r") + b"\0" + be64(0x0060) + difference  # a pair
                                     + be64(0x1022) + b"\0"  # zeros
                                     + be64(0x2022) + b"\0" + be64(0x3060) + difference  # zeros; of another page
                                     + be64(0x3022) + b"\0"))[3]  # zeros, the last record
        self.assertEqual(part["pages"]["mostly-zero"]["r"].runs, [[0, 1]])
        self.assertEqual(part["pages"]["zero"]["r"].runs, [[1, 4]])
        self.assertEqual(part["pages"]["xbzrle"]["r"].runs, [[3, 4]])

    def test_fields_have_names_values_and_places(self):
        data = small_stream(b"")
        fields = {name: (offset, value) for name, offset, _, value in elements(data)[6]["fields"]}
        offset, value = fields["cpu_clock_offset"]
        self.assertEqual(value, 0x026194FC)
        self.assertEqual(data[offset:offset + 8], be64(value))
        self.assertEqual(fields["timer/extra: level[1]"][1], 8)

    def test_bytes_behind_the_description_are_told(self):
        self.assertEqual(elements(small_stream(b"", tail=b"!!!"))[-1]["size"], 3)

    def test_a_stream_cut_anywhere_is_an_error_not_a_crash(self):
        data = small_stream(PAGES)
        description = data.rindex(b'\x06', 0, data.index(b'{"conf'))
        for length in list(range(0, 120)) + list(range(120, description, 37)):
            try:
                kinds = [e["type"] for e in elements(data[:length])]
            except stream.StreamError as error:
                self.assertIn("byte ", str(error))
                continue
            self.assertEqual(kinds[-1], "tail", f"cut at {length}")

    def test_a_page_outside_its_block_is_named(self):
        with self.assertRaisesRegex(stream.StreamError, "outside block r"):
            elements(small_stream(be64(0x4000 | 2) + str8("r") + b"\0"))

    def test_a_wrong_mark_is_named(self):
        with self.assertRaisesRegex(stream.StreamError, "byte 0: 0x58585858"):
            elements(b"XXXX" + small_stream(b"")[4:])

    def test_a_body_longer_than_described_is_named(self):
        broken = [dict(DEVICES[0], subsections=[])]
        with self.assertRaisesRegex(stream.StreamError, "timer"):
            elements(small_stream(b"", devices=broken))

    def test_the_command_reads_a_pipe_and_speaks_json(self):
        run = subprocess.run([sys.executable, ROOT / "scripts" / "analyze-stream", "--json", "-"], input=small_stream(PAGES),
                             capture_output=True)
        self.assertEqual(run.returncode, 0, run.stderr)
        rows = [json.loads(line) for line in run.stdout.splitlines()]
        self.assertEqual(rows[3]["pages"]["zero"], {"r": 2})

    def test_the_command_says_where_a_stream_breaks(self):
        run = subprocess.run([sys.executable, ROOT / "scripts" / "analyze-stream", "-"], input=small_stream(PAGES)[:60],
                             capture_output=True)
        self.assertEqual(run.returncode, 1)
        self.assertIn(b"analyze-stream: -: byte 60", run.stderr)


if __name__ == "__main__":
    unittest.main()
