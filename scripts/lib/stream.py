# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Reads a migration stream (docs/migration/stream.md) from a file or a pipe, element by element.
import json
import struct

MAGIC, VERSION = 0x5145564D, 3
EOF, START, PART, END, FULL, SUBSECTION, VMDESC, CONFIGURATION, COMMAND, FOOTER = 0, 1, 2, 3, 4, 5, 6, 7, 8, 0x7E
SECTION_NAMES = {START: "START", PART: "PART", END: "END", FULL: "FULL"}
COMMANDS = {1: "OPEN_RETURN_PATH", 2: "PING", 3: "POSTCOPY_ADVISE", 4: "POSTCOPY_LISTEN", 5: "POSTCOPY_RUN",
            6: "POSTCOPY_RAM_DISCARD", 7: "PACKAGED", 8: "ENABLE_COLO", 9: "POSTCOPY_RESUME", 10: "RECV_BITMAP",
            11: "SWITCHOVER_START"}
ZERO, MEM_SIZE, PAGE, EOS, CONTINUE, XBZRLE, HOOK, FLUSH = 0x2, 0x4, 0x8, 0x10, 0x20, 0x40, 0x80, 0x200
PAGE_SIZE = 4096
MAX_TAIL = 1 << 30  # device sections and description together; a larger tail is not one
VFIO_MARKERS = {0xFFFFFFFFEF100001: "END_OF_STATE", 0xFFFFFFFFEF100002: "DEV_CONFIG_STATE",
                0xFFFFFFFFEF100003: "DEV_SETUP_STATE", 0xFFFFFFFFEF100004: "DEV_DATA_STATE",
                0xFFFFFFFFEF100005: "DEV_INIT_DATA_SENT"}


class StreamError(Exception):
    """What arrived does not follow the format; says where."""


class Bytes:
    """A reader that counts, over a binary file object that need not seek."""

    def __init__(self, source):
        self.source = source
        self.position = 0
        self.pending = b""

    def peek(self, count):
        if len(self.pending) < count:
            self.pending += self.source.read(count - len(self.pending)) or b""
        return self.pending[:count]

    def take(self, count):
        data = self.peek(count)
        if len(data) < count:
            raise StreamError(f"byte {self.position + len(data)}: the stream ends, {count - len(data)} bytes too early")
        self.pending = self.pending[count:]
        self.position += count
        return data

    def skip(self, count):
        while count:
            step = min(count, 1 << 20)
            self.take(step)
            count -= step

    def rest(self, limit):
        data = self.pending + (self.source.read(limit + 1 - len(self.pending)) or b"")
        if len(data) > limit:
            raise StreamError(f"byte {self.position}: more than {limit} bytes of device state")
        self.pending = b""
        self.position += len(data)
        return data

    def u8(self):
        return self.take(1)[0]

    def be16(self):
        return struct.unpack(">H", self.take(2))[0]

    def be32(self):
        return struct.unpack(">I", self.take(4))[0]

    def be64(self):
        return struct.unpack(">Q", self.take(8))[0]

    def str8(self):
        return self.take(self.u8()).decode("ascii", "backslashreplace")


class Runs:
    """Pages of one kind in one block, kept as runs."""

    def __init__(self):
        self.runs = []
        self.count = 0

    def add(self, page):
        self.count += 1
        if self.runs and self.runs[-1][1] == page:
            self.runs[-1][1] = page + 1
        else:
            self.runs.append([page, page + 1])


class Analyzer:
    """Yields one dict an element: type, offset, size and what is particular to the type."""

    def __init__(self, source):
        self.input = Bytes(source)
        self.sections = {}  # id -> (idstr, instance, version)
        self.mapped_ram = False
        self.ignore_shared = False
        self.block = None
        self.blocks = {}  # idstr -> used length

    def elements(self):
        yield self.header()
        if self.input.peek(1) == bytes([CONFIGURATION]):
            yield self.configuration()
        while True:
            kind = self.input.peek(1)
            if not kind:
                raise StreamError(f"byte {self.input.position}: the stream ends without its end mark")
            kind = kind[0]
            if kind in (FULL, EOF):
                yield from self.tail()
                return
            yield self.element(kind)

    def header(self):
        magic, version = self.input.be32(), self.input.be32()
        if magic != MAGIC:
            raise StreamError(f"byte 0: 0x{magic:08x} is not the mark of a migration stream (0x{MAGIC:08x})")
        if version != VERSION:
            raise StreamError(f"byte 4: stream version {version}, known is {VERSION}")
        return {"type": "header", "offset": 0, "size": 8, "version": version}

    def configuration(self):
        begin = self.input.position
        self.input.u8()
        name = self.input.take(self.input.be32()).decode("ascii", "backslashreplace")
        found = {"type": "configuration", "offset": begin, "machine": name}
        while self.input.peek(16).startswith(b"\x05") and self.input.peek(16)[2:] == b"configuration/":
            self.input.u8()
            part = self.input.str8()
            self.input.be32()
            if part.endswith("/capabilities"):
                found["capabilities"] = [self.input.str8() for _ in range(self.input.be32())]
                self.mapped_ram = "mapped-ram" in found["capabilities"]
                self.ignore_shared = "x-ignore-shared" in found["capabilities"]
            elif part.endswith("/uuid"):
                found["uuid"] = self.input.take(16).hex()
            elif part.endswith("/target-page-bits"):
                found["target_page_bits"] = self.input.be32()
            else:
                raise StreamError(f"byte {self.input.position}: unknown subsection {part}")
        return found | {"size": self.input.position - begin}

    def element(self, kind):
        begin = self.input.position
        self.input.u8()
        if kind == COMMAND:
            return self.command(begin)
        if kind not in (START, PART, END):
            raise StreamError(f"byte {begin}: 0x{kind:02x} is no element of a stream")
        section = self.input.be32()
        if kind == START:
            self.sections[section] = (self.input.str8(), self.input.be32(), self.input.be32())
        if section not in self.sections:
            raise StreamError(f"byte {begin}: {SECTION_NAMES[kind]} of section {section}, which never started")
        name, instance, version = self.sections[section]
        found = {"type": SECTION_NAMES[kind], "offset": begin, "section": section, "name": name, "instance": instance,
                 "version": version}
        if name == "ram":
            found |= self.ram(kind)
        elif name == "vfio" or name.endswith("/vfio"):
            found |= self.vfio()
        else:
            raise StreamError(f"byte {self.input.position}: section {name} iterates in a way that is not known here")
        self.footer(section)
        return found | {"size": self.input.position - begin}

    def command(self, begin):
        code, length = self.input.be16(), self.input.be16()
        payload = self.input.take(length)
        found = {"type": "COMMAND", "offset": begin, "command": COMMANDS.get(code, f"unknown {code}"), "payload": payload.hex()}
        if code == 7:
            found["package_bytes"] = struct.unpack(">I", payload)[0]
        return found | {"size": self.input.position - begin}

    def footer(self, section):
        at = self.input.position
        if self.input.u8() != FOOTER:
            raise StreamError(f"byte {at}: section {section} has no footer")
        if (found := self.input.be32()) != section:
            raise StreamError(f"byte {at}: the footer says section {found}, the header said {section}")

    def ram(self, kind):
        normal, zero, sparse, compressed, blocks, flushes = {}, {}, {}, {}, [], 0
        zeroed = None  # the page of zeros that came last: what lies in it may come next
        while True:
            at = self.input.position
            word = self.input.be64()
            offset, flags = word & ~0xFFF, word & 0xFFF
            filled = flags == XBZRLE | CONTINUE and zeroed == (self.block, offset // PAGE_SIZE)
            if zeroed:
                (sparse if filled else zero).setdefault(zeroed[0], Runs()).add(zeroed[1])
                zeroed = None
            if flags == EOS:
                break
            if flags == MEM_SIZE:
                blocks = self.ram_blocks(offset)
                continue
            if flags == FLUSH:
                flushes += 1
                continue
            if not flags & CONTINUE:
                self.block = self.input.str8()
            if self.block is None:
                raise StreamError(f"byte {at}: a page of the same block as before, before any block")
            if offset >= self.blocks.get(self.block, 0):
                raise StreamError(f"byte {at}: page at 0x{offset:x} is outside block {self.block}")
            page, action = offset // PAGE_SIZE, flags & ~CONTINUE
            if action == PAGE:
                self.input.skip(PAGE_SIZE)
                normal.setdefault(self.block, Runs()).add(page)
            elif action == ZERO:
                if fill := self.input.u8():
                    raise StreamError(f"byte {at}: a zero page filled with {fill}")
                zeroed = (self.block, page)
            elif action == XBZRLE:
                self.input.u8()
                self.input.skip(self.input.be16())
                if not filled:
                    compressed.setdefault(self.block, Runs()).add(page)
            else:
                raise StreamError(f"byte {at}: unknown page flags 0x{flags:x}")
        found = {"pages": {"normal": normal, "zero": zero, "mostly-zero": sparse, "xbzrle": compressed}}
        if blocks:
            found["blocks"] = blocks
        if flushes:
            found["multifd_flushes"] = flushes
        return found

    def ram_blocks(self, total):
        blocks = []
        while total > 0:
            name, length = self.input.str8(), self.input.be64()
            block = {"name": name, "length": length}
            if self.ignore_shared:
                block["address"] = self.input.be64()
            if self.mapped_ram:
                block |= self.mapped_block(length)
            self.blocks[name] = length
            blocks.append(block)
            total -= length
        return blocks

    def mapped_block(self, length):
        self.input.be32()
        self.input.be64()
        bitmap_at, pages_at = self.input.be64(), self.input.be64()
        self.input.skip(bitmap_at - self.input.position)
        bitmap = self.input.take((length // PAGE_SIZE + 63) // 64 * 8)
        self.input.skip(pages_at + length - self.input.position)
        return {"bitmap_offset": bitmap_at, "pages_offset": pages_at, "pages_present": sum(b.bit_count() for b in bitmap)}

    def vfio(self):
        markers, data = [], 0
        while True:
            at = self.input.position
            marker = self.input.be64()
            name = VFIO_MARKERS.get(marker)
            if name is None:
                raise StreamError(f"byte {at}: 0x{marker:x} is no mark of a VFIO section")
            markers.append(name)
            if name in ("END_OF_STATE", "DEV_INIT_DATA_SENT"):
                return {"marks": markers, "data_bytes": data}
            if name == "DEV_DATA_STATE":
                count = self.input.be64()
                data += count
                self.input.skip(count)

    def tail(self):
        """Device sections have no length: the description behind them gives it, so all is read first."""
        begin = self.input.position
        data = self.input.rest(MAX_TAIL)
        description, at = find_description(data)
        if description is None:
            yield {"type": "tail", "offset": begin, "size": len(data),
                   "note": "no self-description: the device sections cannot be told apart"}
            return
        position = 0
        for device in description["devices"]:
            element, position = full_section(data, position, begin, device)
            yield element
        if data[position:position + 1] != b"\0":
            raise StreamError(f"byte {begin + position}: no end mark behind the last device section")
        yield {"type": "EOF", "offset": begin + position, "size": 1}
        size = 5 + struct.unpack(">I", data[at + 1:at + 5])[0]
        yield {"type": "VMDESCRIPTION", "offset": begin + at, "size": size, "description": description}
        if (left := len(data) - at - size) > 0:
            yield {"type": "trailing", "offset": begin + len(data) - left, "size": left}


def find_description(data):
    """The last `06 length {...}` whose text is JSON with devices, and where it is."""
    at = len(data)
    while (at := data.rfind(b'{"', 0, at)) >= 5:
        begin = at - 5
        length = struct.unpack(">I", data[begin + 1:at])[0]
        if data[begin] == VMDESC and at + length <= len(data):
            try:
                found = json.loads(data[at:at + length])
            except ValueError:
                continue
            if "devices" in found:
                return found, begin
    return None, None


def full_section(data, position, base, device):
    begin = position

    def take(count):
        nonlocal position
        if position + count > len(data):
            raise StreamError(f"byte {base + position}: section {device['name']} is cut off")
        position += count
        return data[position - count:position]

    if take(1)[0] != FULL:
        raise StreamError(f"byte {base + begin}: expected the section of {device['name']}")
    section = struct.unpack(">I", take(4))[0]
    name = take(take(1)[0]).decode("ascii", "backslashreplace")
    instance, version = struct.unpack(">II", take(8))
    if (name, instance) != (device["name"], device["instance_id"]):
        raise StreamError(f"byte {base + begin}: section {name} {instance}, the description says {device['name']} {device['instance_id']}")
    body_at = position
    size = body_size(device)
    fields, used = decode(device, memoryview(data)[position:position + size], base + position)
    take(size)
    if used != size:
        raise StreamError(f"byte {base + body_at}: the fields of {name} add up to {used}, not {size}")
    mark = take(5)
    if mark[0] != FOOTER or struct.unpack(">I", mark[1:])[0] != section:
        raise StreamError(f"byte {base + position - 5}: section {name} has no footer where its description ends")
    return {"type": "FULL", "offset": base + begin, "size": position - begin, "section": section, "name": name,
            "instance": instance, "version": version, "body_offset": base + body_at, "body_size": size, "fields": fields}, position


def fields_of(description):
    """(field, repetition) in wire order."""
    for field in description.get("fields", ()):
        for index in range(field.get("array_len", 1)):
            yield field, index


def body_size(description):
    size = sum(f["size"] * f.get("array_len", 1) for f in description.get("fields", ()))
    return size + sum(6 + len(s["vmsd_name"]) + body_size(s) for s in description.get("subsections", ()))


def decode(description, data, base):
    """[(name, offset, type, value)] of a structure's fields and subsections, and the bytes they take."""
    rows, position = [], 0
    for field, index in fields_of(description):
        name = field["name"]
        if "array_len" in field:
            name = f"{name}[{index}]"
        elif "index" in field:
            name = f"{name}[{field['index']}]"
        raw = data[position:position + field["size"]]
        if "struct" in field:
            inner, _ = decode(field["struct"], raw, base + position)
            rows += [(f"{name}.{n}", o, t, v) for n, o, t, v in inner]
        else:
            rows.append((name, base + position, field["type"], value_of(field["type"], bytes(raw))))
        position += field["size"]
    for part in description.get("subsections", ()):
        position += 6 + len(part["vmsd_name"])
        inner, used = decode(part, data[position:], base + position)
        rows += [(f"{part['vmsd_name']}: {n}", o, t, v) for n, o, t, v in inner]
        position += used
    return rows, position


def value_of(kind, raw):
    word = kind.split(" ")[0]
    if word == "bool" and len(raw) == 1:
        return bool(raw[0])
    if word in ("uint8", "uint16", "uint32", "uint64"):
        return int.from_bytes(raw, "big")
    if word in ("int8", "int16", "int32", "int64", "timer"):
        return int.from_bytes(raw, "big", signed=True)
    return raw.hex()
