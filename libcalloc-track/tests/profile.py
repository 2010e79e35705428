"""Reads a file of libcalloc-track, by format.h and nothing else: for its tests."""

import struct
import subprocess
import zlib
from collections import namedtuple

NONE = 0xFFFFFFFF
HEADER = struct.Struct("<8sHHIIIII")
SECTION = struct.Struct("<IIIIQQQII")
TYPES = {
    1: ("process", "<IIII QQQQQ IIII QQQQQQQQQQQQQ",
        "pid parent_pid reason flags start_realtime duration ticks_per_second page_size sample_bytes "
        "program command_line version core_version allocations allocated_bytes frees freed_bytes "
        "temporaries peak_bytes peak_time lost unknown_frees resident_bytes peak_resident_bytes "
        "heap_mapped_bytes own_bytes"),
    3: ("modules", "<QQQQQII32s", "start end bias seen gone path build_id_length build_id"),
    4: ("frames", "<QII", "address module flags"),
    5: ("nodes", "<II", "parent frame"),
    6: ("sites", "<IIII QQQQQQQQ 128s",
        "node thread numa_node flags allocations allocated_bytes frees freed_bytes temporaries slack "
        "peak_blocks peak_bytes lifetimes"),
    7: ("threads", "<QIIQQQQQQ",
        "tid name flags start end allocations allocated_bytes frees freed_bytes"),
    8: ("timeline", "<QQQQQ", "time live_blocks live_bytes allocations resident_bytes"),
    9: ("classes", "<QQQQQ", "block_size regions slots live mapped"),
    10: ("regions", "<QQQQQII", "address length block_size blocks live kind flags"),
    11: ("leaks", "<IIQQQQII", "site kind size blocks bytes example suppression reserved"),
    12: ("leak_facts", "<IIIIQQ", "flags threads threads_missed reserved scanned_bytes duration"),
    13: ("suppressions", "<IIQQ", "text reserved blocks bytes"),
    14: ("site_nodes", "<I", "node"),
}
DIRECT, INDIRECT, NOT_FREED = 1, 2, 3


class Profile:
    def __init__(self, path):
        data = open(path, "rb").read()
        magic, major, _, self.kind, size, _, _, crc = HEADER.unpack_from(data)
        assert magic == b"CALTRACK" and major == 1, (magic, major)
        assert zlib.crc32(data[:28]) == crc
        self.strings = b""
        self.complete = False
        for name, _, _ in TYPES.values():
            setattr(self, name, [])
        self.events = []
        at = size
        while at < len(data):
            (mark, kind, record, flags, first, count, length, payload_crc,
             header_crc) = SECTION.unpack_from(data, at)
            assert mark == 0x43455343 and zlib.crc32(data[at:at + 44]) == header_crc, at
            payload = data[at + 48:at + 48 + length]
            assert len(payload) == length and zlib.crc32(payload) == payload_crc, (kind, at)
            at += 48 + length
            self.take(kind, record, flags, first, count, payload)
        assert at == len(data)
        self.lines = {}

    def take(self, kind, record, flags, first, count, payload):
        assert not self.complete, "something comes behind the end"
        if kind == 2:
            assert first == len(self.strings)
            self.strings += payload
        elif kind == 15:
            self.events.append((first, count, flags, payload))
        elif kind == 16:
            self.complete = True
        else:
            name, form, fields = TYPES[kind]
            form = struct.Struct(form.replace(" ", ""))
            assert record == form.size and count * record == len(payload), (name, record, form.size)
            make = namedtuple(name, fields)
            records = [make(*values) for values in form.iter_unpack(payload)]
            there = getattr(self, name)
            assert first <= len(there)
            there[first:first + count] = records

    def trace(self):
        """All events of all threads in order: (ticks, thread, kind, address, size, site)."""
        events = []
        for first, count, flags, payload in self.events:
            assert flags == 0
            thread, _, ticks = struct.unpack_from("<IIQ", payload)
            at, address, site, found = 16, 0, 0, 0

            def number():
                nonlocal at
                value, shift = 0, 0
                while True:
                    byte = payload[at]
                    at += 1
                    value |= (byte & 0x7F) << shift
                    shift += 7
                    if byte < 0x80:
                        return value

            def signed():
                value = number()
                return value >> 1 ^ -(value & 1)

            while at < len(payload):
                head = number()
                ticks += head >> 3
                kind, size = head & 7, 0
                if kind <= 2:
                    address = address + 16 * signed()
                if kind in (0, 2):
                    size = number()
                if kind == 0:
                    site += signed()
                    assert site < len(self.site_nodes)
                events.append((ticks, thread, first, found, kind, address, size, site))
                found += 1
            assert found == count and at == len(payload)
        return sorted(events)

    def string(self, offset):
        return self.strings[offset:self.strings.index(b"\0", offset)].decode()

    def stack(self, node):
        """The frames of a node as their numbers, the innermost first; None: not found."""
        frames = []
        while node != 0:
            node, frame = self.nodes[node].parent, self.nodes[node].frame
            frames.append(None if frame == NONE else frame)
        return frames

    def symbolise(self, frames):
        """(function, line) of each, by addr2line with inlined functions left out."""
        wanted = {}
        for number in set(frames) - set(self.lines) - {None}:
            frame = self.frames[number]
            if frame.module == NONE:
                self.lines[number] = ("?", 0)
                continue
            module = self.modules[frame.module]
            address = frame.address - module.bias - (0 if frame.flags & 1 else 1)
            wanted.setdefault(self.string(module.path), []).append((number, address))
        for path, places in wanted.items():
            output = subprocess.run(["addr2line", "-f", "-e", path] + [hex(a) for _, a in places],
                                    capture_output=True, text=True, check=False).stdout.splitlines()
            for i, (number, _) in enumerate(places):
                line = output[2 * i + 1].rsplit(":", 1)[-1].split()[0] if len(output) > 2 * i else "0"
                self.lines[number] = (output[2 * i] if len(output) > 2 * i else "?",
                                      int(line) if line.isdigit() else 0)
        return [("?", 0) if number is None else self.lines[number] for number in frames]

    def functions(self, node):
        return [name for name, _ in self.symbolise(self.stack(node))]

    def sites_in(self, function):
        """The sites whose stack has a frame of the function."""
        return [(number, site) for number, site in enumerate(self.sites)
                if site.allocations and function in self.functions(site.node)]

    def total(self, function, field):
        return sum(getattr(site, field) for _, site in self.sites_in(function))

    def leaked(self, function, *kinds):
        """(blocks, bytes) of the leaks of these kinds of a function."""
        mine = {number for number, _ in self.sites_in(function)}
        leaks = [leak for leak in self.leaks if leak.site in mine and leak.kind in kinds]
        return sum(leak.blocks for leak in leaks), sum(leak.bytes for leak in leaks)
