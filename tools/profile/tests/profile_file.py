"""Write files of the format of libcalloc-track (libcalloc-track/src/format.h) piece by piece, also wrong ones.

    file = ProfileFile()
    site = file.site(["main", "work"], allocations=3, allocated_bytes=300)
    Path("p").write_bytes(file.bytes())
"""

import struct
import subprocess
import zlib

PROFILE, TRACE = 1, 2
NONE = 0xFFFFFFFF
LIFETIMES = 16

(PROCESS, STRINGS, MODULES, FRAMES, NODES, SITES, THREADS, TIMELINE, CLASSES, REGIONS, LEAKS, LEAK_FACTS,
 SUPPRESSIONS, SITE_NODES, EVENTS, END) = range(1, 17)

DIRECT, INDIRECT, NOT_FREED = 1, 2, 3
ALLOCATE, FREE, RESIZE, START, STOP = range(5)

PROCESS_FIELDS = (
    "pid parent_pid reason flags start_realtime duration ticks_per_second page_size sample_bytes program "
    "command_line version core_version allocations allocated_bytes frees freed_bytes temporaries peak_bytes "
    "peak_time lost unknown_frees resident_bytes peak_resident_bytes heap_mapped_bytes own_bytes").split()
PROCESS_FORMAT = "<4I5Q4I13Q"


def header(kind=PROFILE, major=1, minor=0, size=32):
    head = struct.pack("<8sHHIIII", b"CALTRACK", major, minor, kind, size, 0, 0)
    return head + struct.pack("<I", zlib.crc32(head)) + bytes(size - 32)


def section(type_, payload, record_size=0, first=0, count=None, flags=0, compress=False):
    if count is None:
        count = len(payload) // record_size if record_size else len(payload)
    if compress:
        payload = subprocess.run(["zstd", "-q", "--stream-size=%d" % len(payload), "-c"], input=payload,
                                 stdout=subprocess.PIPE, check=True).stdout
        flags |= 1
    head = struct.pack("<IIIIQQQI", 0x43455343, type_, record_size, flags, first, count, len(payload),
                       zlib.crc32(payload))
    return head + struct.pack("<I", zlib.crc32(head)) + payload


def varint(value):
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def zigzag(value):
    return (value << 1 ^ value >> 63) & (1 << 64) - 1


class Events:
    """The events of a thread for one section."""

    def __init__(self, thread, ticks=0):
        self.payload = bytearray(struct.pack("<IIQ", thread, 0, ticks))
        self.now, self.address, self.site, self.count = ticks, 0, 0, 0

    def _head(self, ticks, kind):
        self.payload += varint(ticks - self.now << 3 | kind)
        self.now = ticks
        self.count += 1

    def _address(self, address):
        self.payload += varint(zigzag((address - self.address) // 16))
        self.address = address

    def allocate(self, ticks, address, size, site=0):
        self._head(ticks, ALLOCATE)
        self._address(address)
        self.payload += varint(size) + varint(zigzag(site - self.site))
        self.site = site

    def free(self, ticks, address):
        self._head(ticks, FREE)
        self._address(address)

    def resize(self, ticks, address, size):
        self._head(ticks, RESIZE)
        self._address(address)
        self.payload += varint(size)

    def start(self, ticks):
        self._head(ticks, START)

    def stop(self, ticks):
        self._head(ticks, STOP)


class ProfileFile:
    def __init__(self, kind=PROFILE):
        self.kind = kind
        self.strings, self.string_offsets = bytearray(), {}
        self.string("")
        self.modules, self.frames, self.sites, self.threads = [], [], [], []
        self.frame_numbers, self.nodes = {}, [(0, NONE)]
        self.node_numbers = {}
        self.moments, self.classes, self.regions, self.leaks, self.suppressions = [], [], [], [], []
        self.leak_facts = None
        self.events = []
        self.process = dict.fromkeys(PROCESS_FIELDS, 0)
        self.process.update(pid=4711, parent_pid=1, reason=1, start_realtime=1_700_000_000_000_000_000,
                            duration=2_000_000_000, page_size=4096)

    def string(self, text):
        if text not in self.string_offsets:
            self.string_offsets[text] = len(self.strings)
            self.strings += text.encode() + b"\0"
        return self.string_offsets[text]

    def set_process(self, program="", command="", version="1.0.0", **values):
        self.process.update(values, program=self.string(program), command_line=self.string(command),
                            version=self.string(version), core_version=self.string(version))

    def module(self, path, start, end, bias=None, build_id=b"", seen=0, gone=0):
        self.modules.append(struct.pack("<5QII32s", start, end, start if bias is None else bias, seen, gone,
                                        self.string(path), len(build_id), build_id))
        return len(self.modules) - 1

    def frame(self, address, module=NONE, flags=0):
        key = address, module, flags
        if key not in self.frame_numbers:
            self.frame_numbers[key] = len(self.frames)
            self.frames.append(struct.pack("<QII", *key))
        return self.frame_numbers[key]

    def node(self, frames):
        """The node of a stack of frames, outermost first; NONE is one that was not found."""
        at = 0
        for frame in frames:
            key = at, frame
            if key not in self.node_numbers:
                self.node_numbers[key] = len(self.nodes)
                self.nodes.append(key)
            at = self.node_numbers[key]
        return at

    def site(self, frames, allocations=0, allocated_bytes=0, frees=0, freed_bytes=0, temporaries=0, slack=0,
             peak_blocks=0, peak_bytes=0, lifetimes=None, thread=NONE, numa_node=NONE):
        buckets = [0] * LIFETIMES
        for bucket, count in (lifetimes or {0: frees}).items():
            buckets[bucket] = count
        self.sites.append(struct.pack("<4I8Q16Q", self.node(frames), thread, numa_node, 0, allocations,
                                      allocated_bytes, frees, freed_bytes, temporaries, slack, peak_blocks,
                                      peak_bytes, *buckets))
        return len(self.sites) - 1

    def thread(self, name, tid, start=0, end=0, **counts):
        self.threads.append(struct.pack("<QIIQQQQQQ", tid, self.string(name), 0, start, end, *(
            counts.get(field, 0) for field in ("allocations", "allocated_bytes", "frees", "freed_bytes"))))
        return len(self.threads) - 1

    def moment(self, time, live_blocks, live_bytes, allocations, resident=0):
        self.moments.append(struct.pack("<5Q", time, live_blocks, live_bytes, allocations, resident))

    def size_class(self, block_size, regions, slots, live, mapped):
        self.classes.append(struct.pack("<5Q", block_size, regions, slots, live, mapped))

    def region(self, address, length, kind, block_size=0, blocks=0, live=0, flags=0):
        self.regions.append(struct.pack("<5QII", address, length, block_size, blocks, live, kind, flags))

    def suppression(self, text, blocks=0, bytes_=0):
        self.suppressions.append(struct.pack("<IIQQ", self.string(text), 0, blocks, bytes_))
        return len(self.suppressions) - 1

    def leak(self, site, kind, size, blocks, example=0x7F0000001000, suppression=NONE):
        self.leaks.append(struct.pack("<IIQQQQII", site, kind, size, blocks, size * blocks, example,
                                      suppression, 0))

    def looked_for_leaks(self, flags=1, threads=1, missed=0):
        self.leak_facts = struct.pack("<4IQQ", flags, threads, missed, 0, 1 << 20, 1_000_000)

    def sections(self, compress=()):
        """(type, bytes) of each section, without END."""
        def table(type_, records, size):
            return type_, section(type_, b"".join(records), size, compress=type_ in compress)

        process = struct.pack(PROCESS_FORMAT, *(self.process[field] for field in PROCESS_FIELDS))
        made = [table(PROCESS, [process], len(process)),
                (STRINGS, section(STRINGS, bytes(self.strings), compress=STRINGS in compress)),
                table(MODULES, self.modules, 80), table(FRAMES, self.frames, 16),
                table(NODES, [struct.pack("<II", *node) for node in self.nodes], 8)]
        if self.kind == PROFILE:
            made.append(table(SITES, self.sites, 208))
        else:
            made.append(table(SITE_NODES, [site[:16] for site in self.sites], 16))
        made += [table(THREADS, self.threads, 64), table(TIMELINE, self.moments, 40),
                 table(CLASSES, self.classes, 40), table(REGIONS, self.regions, 48),
                 table(SUPPRESSIONS, self.suppressions, 24), table(LEAKS, self.leaks, 48)]
        if self.leak_facts:
            made.append(table(LEAK_FACTS, [self.leak_facts], 32))
        for events in self.events:
            made.append((EVENTS, section(EVENTS, bytes(events.payload), count=events.count,
                                         compress=EVENTS in compress)))
        return made

    def bytes(self, compress=(), end=True):
        parts = [header(self.kind)] + [part for _, part in self.sections(compress)]
        if end:
            parts.append(section(END, b""))
        return b"".join(parts)
