#!/usr/bin/env python3
"""What `calloc report` says of profiles whose contents are known: test_report.py CALLOC [--target NAME=PROGRAM…]
[NAME…]

A target is symbols_target.cpp as a compiler made it. --update writes golden/ anew, to be looked at before it is committed.
"""

import gzip
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "profile" / "tests"))

import examples  # noqa: E402
from profile_file import (CLASSES, FRAMES, MODULES, NODES, NONE, NOT_FREED, REGIONS, SITES, STRINGS,  # noqa: E402
                          TIMELINE, TRACE, ProfileFile, header, section)

CALLOC = ""
TARGETS = {}
UPDATE = False


class Case(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def write(self, content, name="profile"):
        path = self.folder / name
        path.write_bytes(content if isinstance(content, bytes) else content.bytes())
        return path

    def run_report(self, *arguments, status=0, stdin=None):
        environment = dict(os.environ, TZ="UTC", LC_ALL="C.UTF-8")
        environment.pop("DEBUGINFOD_URLS", None)
        done = subprocess.run([CALLOC, "report", *map(str, arguments)], stdin=stdin or subprocess.DEVNULL,
                              capture_output=True, env=environment, timeout=120)
        self.assertEqual(done.returncode, status, done.stderr.decode())
        return done.stdout, done.stderr.decode()

    def golden(self, name, text):
        path = HERE / "golden" / name
        if UPDATE:
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(text)
        self.assertEqual(text.decode(), path.read_text())


class Golden(Case):
    def test_text(self):
        out, errors = self.run_report(self.write(examples.small()))
        self.assertEqual(errors, "")
        self.golden("small.txt", out)

    def test_collapsed(self):
        out, _ = self.run_report("--collapsed", "--metric", "peak_bytes", self.write(examples.small()))
        self.golden("small.collapsed", out)

    def test_massif(self):
        out, _ = self.run_report("--massif", self.write(examples.small()))
        self.golden("small.massif", out)

    def test_json(self):
        out, _ = self.run_report("--json", self.write(examples.small()))
        self.golden("small.json", (json.dumps(json.loads(out), indent=1) + "\n").encode())

    def test_diff(self):
        before, after = self.write(examples.small(), "before"), self.write(examples.grown(), "after")
        out, _ = self.run_report("--diff", before, after)
        self.golden("small-grown.txt", out)
        out, _ = self.run_report("--diff", "--collapsed", before, after)
        self.golden("small-grown.collapsed", out)

    def test_diff_of_the_same(self):
        path = self.write(examples.small())
        out, _ = self.run_report("--diff", path, path)
        self.assertIn("No call stack differs", out.decode())

    def test_standard_input_and_output_file(self):
        path, out = self.write(examples.small()), self.folder / "out"
        with path.open("rb") as stream:
            self.run_report("-o", out, "-", stdin=stream)
        self.golden("small.txt", out.read_bytes())
        self.assertEqual(sorted(entry.name for entry in self.folder.iterdir()), ["out", "profile"])


class Other(Case):
    """What other programs make of it."""

    def test_ms_print(self):
        path = self.folder / "massif"
        self.run_report("--massif", "-o", path, self.write(examples.small()))
        shown = subprocess.run(["ms_print", path], capture_output=True, text=True, check=True)
        self.assertEqual(shown.stderr, "")
        self.assertIn("Command:            server --port 80 <test>", shown.stdout)
        self.assertIn("Detailed snapshots: [15 (peak), 22]", shown.stdout)
        self.assertIn("->86.67% (26,000B) 0x3: libparse.so.1+0x50 (libparse.so.1)", shown.stdout)

    def test_ms_print_of_a_late_moment(self):
        """The time line goes on while the profile is written."""
        file = examples.small()
        file.moment(file.process["duration"] + 90_000_000, 12, 5000, 113)
        path = self.folder / "massif"
        self.run_report("--massif", "-o", path, self.write(file))
        shown = subprocess.run(["ms_print", path], capture_output=True, text=True, check=True)
        self.assertEqual(shown.stderr, "")
        self.assertIn(" 2.090\n", shown.stdout)

    def test_pprof(self):
        out, _ = self.run_report("--pprof", self.write(examples.small()))
        profile = decode_pprof(gzip.decompress(out))
        text = profile["strings"]
        self.assertEqual(text[0], "")
        types = [text[kind[1]] for kind in profile["types"]]
        self.assertEqual(types[:4], ["alloc_objects", "alloc_space", "inuse_objects", "inuse_space"])
        self.assertEqual([text[mapping[5]] for mapping in profile["mappings"].values()],
                         ["/opt/example/bin/server", "/opt/example/lib/libparse.so.1"])
        stacks = {}
        for locations, values in profile["samples"]:
            names = tuple(text[profile["functions"][line][2]]
                          for location in locations for line in profile["locations"][location])
            stacks[names] = dict(zip(types, values))
        self.assertEqual(set(stacks), {
            ("libparse.so.1+0x50", "server+0x2000", "server+0x1000"), ("server+0x3000", "server+0x1000"),
            ("server+0x2000", "[frames that were not found]")})
        self.assertEqual(stacks["server+0x3000", "server+0x1000"], {
            "alloc_objects": 10, "alloc_space": 1000, "inuse_objects": 10, "inuse_space": 1000, "peak_objects": 10,
            "peak_space": 1000, "temporary_objects": 0, "leaked_objects": 10, "leaked_space": 1000})
        self.assertEqual(text[profile["default"]], "inuse_space")

    def test_go_tool_pprof(self):
        if not shutil.which("go"):
            self.skipTest("there is no go, whose pprof reads it")
        path = self.folder / "profile.pb.gz"
        self.run_report("--pprof", "-o", path, self.write(examples.small()))
        environment = dict(os.environ, HOME=str(self.folder))
        for index, expected in (("peak_space", "26000B 86.67%"), ("alloc_objects", "100B 88.50%"),
                                ("leaked_space", "1000B 100%")):
            shown = subprocess.run(["go", "tool", "pprof", f"-sample_index={index}", "-top", "-unit=B", path],
                                   capture_output=True, text=True, check=True, env=environment)
            self.assertIn("File: server", shown.stdout)
            self.assertIn(expected, " ".join(shown.stdout.split()))

    def test_page(self):
        out, _ = self.run_report("--html", self.write(examples.small()))
        page = out.decode()
        profile = page.split('id="profile">')[1].split("</script>")[0]
        self.assertNotIn("<", profile)
        self.assertEqual(json.loads(profile)["process"]["command"], "server --port 80 <test>")
        for other in ("http://", "https://", "src="):
            self.assertNotIn(other, page.replace("http://www.w3.org/2000/svg", ""))


def fields(data):
    at = 0

    def number():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(data):
        key = number()
        if key & 7 == 0:
            yield key >> 3, number()
        else:
            assert key & 7 == 2, key
            length = number()
            assert at + length <= len(data)
            yield key >> 3, data[at:at + length]
            at += length


def packed(data):
    values, value, shift = [], 0, 0
    for byte in data:
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            values.append(value)
            value = shift = 0
    return values


def decode_pprof(data):
    profile = {"types": [], "samples": [], "mappings": {}, "locations": {}, "functions": {}, "strings": []}
    for field, value in fields(data):
        if field == 1:
            profile["types"].append(dict(fields(value)))
        elif field == 2:
            sample = dict(fields(value))
            profile["samples"].append((packed(sample[1]), packed(sample[2])))
        elif field in (3, 5):
            entry = dict(fields(value))
            profile["mappings" if field == 3 else "functions"][entry[1]] = entry
        elif field == 4:
            entries = list(fields(value))
            profile["locations"][dict(entries)[1]] = [dict(fields(line))[1] for kind, line in entries if kind == 4]
        elif field == 6:
            profile["strings"].append(value.decode())
        elif field == 14:
            profile["default"] = value
    return profile


class Symbols(Case):
    """A program that knows where its calls are: each line of what it prints is an address and its functions and
    lines, innermost first."""

    def setUp(self):
        super().setUp()
        self.targets = {}
        for name, path in TARGETS.items():
            path = shutil.copy(path, self.folder / name)
            lines = subprocess.run([path], capture_output=True, text=True, check=True).stdout.splitlines()
            self.assertGreater(len(lines), 3)
            self.targets[name] = path, {int(line.split()[0], 16): line.split("\t")[1:] for line in lines}

    def build_id(self, path):
        notes = subprocess.run(["readelf", "-n", path], capture_output=True, text=True, check=True).stdout
        return bytes.fromhex(notes.split("Build ID: ")[1].split()[0])

    def look_up(self, path, addresses, *arguments, build_id=None, status=0):
        file = ProfileFile()
        file.set_process(str(path), "target")
        # Mapped anywhere: what is subtracted is the bias.
        module = file.module(str(path), 0x7F0000000000, 0x7F0000100000, build_id=build_id or b"")
        for address in addresses:
            file.site([file.frame(0x7F0000000000 + address, module)], allocations=1, allocated_bytes=1)
        out, errors = self.run_report("--json", *arguments, self.write(file), status=status)
        report = json.loads(out)
        stacks = {}
        for address, site in zip(addresses, report["sites"]):
            node, stack = site["node"], []
            while node:
                function, _, line, _, inlined = report["positions"][report["nodes"][2 * node + 1]]
                stack.append((report["strings"][function], line, inlined))
                node = report["nodes"][2 * node]
            stacks[address] = stack
        return stacks, report

    def check(self, stacks, expected, lines=True):
        for address, functions in expected.items():
            # GCC has no parameters for functions that were inlined everywhere.
            found = [f"{name.split('(')[0] if inlined else name}:{line}" for name, line, inlined in stacks[address]]
            if lines:
                self.assertEqual(found, functions)
                self.assertEqual([inlined for *_, inlined in stacks[address]], [1] * (len(found) - 1) + [0])
            else:
                # All there is, is the function that was not inlined.
                self.assertEqual(found, [functions[-1].rsplit(":", 1)[0] + ":0"])

    def test_lines_and_inlined_functions(self):
        for path, expected in self.targets.values():
            stacks, report = self.look_up(path, list(expected), build_id=self.build_id(path))
            self.check(stacks, expected)
            self.assertEqual(report["symbols"], [])

    def test_split_by_build_id(self):
        for path, expected in self.targets.values():
            build_id = self.build_id(path)
            debug = self.folder / "debug" / ".build-id" / build_id.hex()[:2] / f"{build_id.hex()[2:]}.debug"
            debug.parent.mkdir(parents=True)
            subprocess.run(["objcopy", "--only-keep-debug", path, debug], check=True)
            subprocess.run(["strip", path], check=True)
            self.check(self.look_up(path, list(expected), "--debug-directory", self.folder / "debug",
                                    build_id=build_id)[0], expected)
            # And where the program itself is gone.
            Path(path).unlink()
            self.check(self.look_up(path, list(expected), "--debug-directory", self.folder / "debug",
                                    build_id=build_id)[0], expected)

    def test_split_by_debug_link(self):
        for path, expected in self.targets.values():
            subprocess.run(["objcopy", "--only-keep-debug", path, f"{path}.debug"], check=True)
            subprocess.run(["strip", "--remove-section=.note.gnu.build-id", path], check=True)
            subprocess.run(["objcopy", f"--add-gnu-debuglink={path}.debug", path], check=True)
            self.check(self.look_up(path, list(expected))[0], expected)

    def test_only_symbols(self):
        for path, expected in self.targets.values():
            subprocess.run(["strip", "--strip-debug", path], check=True)
            stacks, report = self.look_up(path, list(expected), build_id=self.build_id(path))
            self.check(stacks, expected, lines=False)
            self.assertIn("no debugging information", report["symbols"][0])

    def test_another_build(self):
        for path, expected in self.targets.values():
            stacks, report = self.look_up(path, list(expected), build_id=b"\x12" * 20)
            for address in expected:
                self.assertEqual(stacks[address], [(f"{Path(path).name}+{hex(address - 1)}", 0, 0)])
            self.assertIn("is not the file that the process had", report["symbols"][0])

    def test_sysroot(self):
        for path, expected in self.targets.values():
            stacks, _ = self.look_up("/" + Path(path).name, list(expected), "--sysroot", Path(path).parent)
            self.check(stacks, expected)

    def test_broken_program(self):
        """A file in the place of the program that is none, and one whose sections are garbage."""
        for path, expected in self.targets.values():
            whole = Path(path).read_bytes()
            Path(path).write_bytes(b"#!/bin/sh\n")
            _, report = self.look_up(path, list(expected))
            self.assertEqual(len(report["symbols"]), 1)
            for size in range(0, len(whole), len(whole) // 7):
                Path(path).write_bytes(whole[:size])
                self.look_up(path, list(expected))
            at = whole.index(b".debug_info")
            for shift in range(0, at, at // 7):
                Path(path).write_bytes(whole[:shift] + b"\xa5" * 512 + whole[shift + 512:])
                self.look_up(path, list(expected))


class Broken(Case):
    """What is wrong with a file is said, and what could be read is shown."""

    def failed(self, content, message):
        _, errors = self.run_report(self.write(content), status=125)
        self.assertIn(message, errors)

    def test_not_a_profile(self):
        self.failed(b"", "is empty")
        self.failed(b"\x7fELF and so on" * 10, "is not a profile or trace of libcalloc-track")
        self.failed(b"CALTRACK", "was cut short after 8 bytes")
        self.failed(header(major=2), "is of format version 2, and this program reads version 1")
        self.failed(header(kind=9), "of a kind (9)")
        good = bytearray(header())
        good[20] ^= 1
        self.failed(bytes(good), "the check sum of its header is wrong")

    def test_no_such_file(self):
        _, errors = self.run_report(self.folder / "none", status=125)
        self.assertIn("No such file or directory", errors)
        _, errors = self.run_report(self.folder, status=125)
        self.assertIn("cannot be read: Is a directory", errors)

    def test_cut_short(self):
        whole = examples.small().bytes()
        _, errors = self.run_report(self.write(whole[:-1]), status=1)
        self.assertIn(f"was cut short after {len(whole) - 1} bytes", errors)
        for length in range(33, len(whole), 397):
            _, errors = self.run_report(self.write(whole[:length]), status=1)
            self.assertIn("was cut short after", errors)

    def test_each_section_broken(self):
        """One bad byte costs what is in its section, and no more."""
        kept = {STRINGS: "live at the end", FRAMES: "live at the end", NODES: "live at the end",
                MODULES: "live at the end", SITES: "Size classes", TIMELINE: "libparse.so.1+0x50"}
        file = examples.small()
        for broken, remains in kept.items():
            parts = [header()]
            for kind, part in file.sections():
                part = bytearray(part)
                if kind == broken:
                    part[-1] ^= 0x40
                parts.append(bytes(part))
            parts.append(section(16, b""))
            out, errors = self.run_report(self.write(b"".join(parts)), status=1)
            self.assertIn("its check sum is wrong", errors)
            self.assertIn(remains, out.decode())

    def test_missing_records(self):
        """What was in a broken part is left out, and not shown as zeros."""
        for kind, name, heading in ((CLASSES, "classes", "Size classes"), (REGIONS, "regions", None)):
            parts = [header()]
            for other, part in examples.small().sections():
                parts.append(part[:-1] + bytes([part[-1] ^ 1]) if other == kind else part)
            path = self.write(b"".join(parts) + section(16, b""))
            out, _ = self.run_report(path, status=1)
            self.assertNotIn(heading or "\0", out.decode())
            out, _ = self.run_report("--json", path, status=1)
            self.assertEqual(json.loads(out)[name], [])

    def test_header_of_section_broken(self):
        parts = [part for _, part in examples.small().sections()]
        part = bytearray(parts[4])
        part[8] ^= 1
        parts[4] = bytes(part)
        at = 32 + sum(map(len, parts[:4]))
        out, errors = self.run_report(self.write(header() + b"".join(parts)), status=1)
        self.assertIn(f"is broken from byte {at} on", errors)
        self.assertIn("server --port 80", out.decode())

    def test_huge_counts(self):
        """A count is not believed before there are as many bytes."""
        for kind, size in ((FRAMES, 16), (NODES, 8), (SITES, 208), (STRINGS, 0)):
            for count in (1 << 32, 1 << 60, (1 << 64) - 1):
                content = header() + section(kind, bytes(size), size, count=count) + section(16, b"")
                _, errors = self.run_report(self.write(content), status=1)
                self.assertIn("broken", errors)
        content = header() + section(FRAMES, bytes(16), 16, first=1 << 40) + section(16, b"")
        _, errors = self.run_report(self.write(content), status=1)
        self.assertIn("out of place", errors)

    def test_references_to_nothing(self):
        file = examples.small()
        file.frames.append(struct.pack("<QII", 0x1234, 77, 0))
        file.nodes.append((500, 1000))
        file.sites.append(file.sites[0][:0] + struct.pack("<I", 99999) + file.sites[0][4:])
        file.leak(12345, 1, 16, 1)
        file.process["command_line"] = 1 << 30
        out, errors = self.run_report(self.write(file), status=1)
        self.assertIn("5 references in the file lead to nothing", errors)
        self.assertIn("/opt/example/bin/server", out.decode())


class Wording(Case):
    """What a reader may take from the text."""

    def text(self, file):
        return self.run_report(self.write(file))[0].decode()

    def test_samples(self):
        file = examples.small()
        file.process.update(flags=1, sample_bytes=65536)
        text = self.text(file)
        self.assertIn("\n  Estimated from samples, one for about each 64.0 KiB:\n  allocated ", text)
        self.assertIn("\nLeaks (estimated from samples)\n", text)
        self.assertIn("\nMost allocations (113 in 3 call stacks, estimated from samples)\n", text)
        file.leaks.clear()
        self.assertIn("\nNo leaks among the samples\n", self.text(file))
        path = self.write(file, "sampled")
        self.assertIn("desc: calloc report --massif, estimated from samples\n", self.run_report("--massif", path)[0].decode())
        counted = self.write(examples.small(), "counted")
        for files, said in (([path, path], "\nBoth are estimates from samples: "),
                            ([path, counted], "\nWhat was before is an estimate from samples: "),
                            ([counted, path], "\nWhat is after is an estimate from samples: ")):
            self.assertIn(said, self.run_report("--diff", *files)[0].decode())

    def test_suppressed(self):
        file = examples.small()
        del file.leaks[:3]
        text = self.text(file)
        self.assertIn("\nNo leaks but suppressed ones: 3.0 KiB in 1 block\n  suppressed by ", text)
        self.assertIn("\n  leaked, suppressed                  1 blocks ", text)
        file.leaks.clear()
        self.assertIn("\nNo leaks\n", self.text(file))

    def test_suppressed_stack_of_what_is_no_leak(self):
        file = examples.small()
        del file.leaks[:]
        file.leak(0, NOT_FREED, 900, 1, suppression=0)
        text = self.text(file)
        self.assertNotIn("suppressed  ", text)
        self.assertIn("\nNo leaks\n", text)

    def test_sizes_without_live_blocks(self):
        file = examples.small()
        file.size_class(80, 3, 2400, 0, 196608)
        self.assertNotIn("  80 B  ", self.text(file))
        self.assertIn("\n  1 size without live blocks: 192.0 KiB mapped\n", self.text(file))
        self.assertIn("\n  not in live blocks                              378.3 KiB  98.5 % of the 384.0 KiB of slabs and mappings\n",
                      self.text(file))


class Traces(Case):
    """Of a trace the counters are counted."""

    def test_counts(self):
        out, errors = self.run_report("--json", self.write(examples.trace()))
        self.assertEqual(errors, "")
        report = json.loads(out)
        made = 100 * 40 + sum(range(100))
        known = dict(allocations=202, allocated_bytes=made + 100 * 3000 + 50 * 1000 + 48, frees=151,
                     freed_bytes=made + 50 * 3000 + 16, live_blocks=51, live_bytes=50 * 4000 + 32,
                     peak_bytes=50 * 4000 + 139, unknown_frees=1, temporaries=50)
        self.assertEqual({name: report["totals"][name] for name in known}, known)
        values = dict(zip((metric["name"] for metric in report["metrics"]), report["sites"][0]["values"]))
        for name in ("allocations", "allocated_bytes", "live_bytes", "peak_bytes", "temporaries"):
            self.assertEqual(values[name], known[name], name)
        self.assertEqual(sum(report["sites"][0]["lifetimes"]), known["frees"])
        self.assertEqual([thread["allocations"] for thread in report["threads"]], [102, 100, 0])
        self.assertEqual(report["timeline"][-1]["live_bytes"], known["live_bytes"])
        self.assertEqual(max(moment["live_bytes"] for moment in report["timeline"]), known["peak_bytes"])

    def test_empty(self):
        out, _ = self.run_report(self.write(ProfileFile(TRACE)))
        self.assertIn("counted from a trace", out.decode())

    def test_cut_short(self):
        whole = examples.trace().bytes()
        for length in range(100, len(whole), 311):
            _, errors = self.run_report(self.write(whole[:length]), status=1)
            self.assertIn("was cut short", errors)


class Newer(Case):
    def test_unknown_sections_and_longer_records(self):
        """A newer library adds sections, and fields at the end of records and of the header."""
        file = examples.small()
        parts = [header(minor=7, size=48), section(4242, b"of the future")]
        for kind, part in file.sections():
            if kind == FRAMES:
                part = section(FRAMES, b"".join(frame + b"\xaa" * 8 for frame in file.frames), 24)
            parts.append(part)
        out, errors = self.run_report(self.write(b"".join(parts) + section(16, b"")))
        self.assertEqual(errors, "")
        self.golden("small.txt", out)

    def test_shorter_records(self):
        """What an older library did not write reads as zero."""
        file = examples.small()
        parts = [header()]
        for kind, part in file.sections():
            if kind == TIMELINE:
                part = section(TIMELINE, b"".join(moment[:24] for moment in file.moments), 24)
            parts.append(part)
        out, errors = self.run_report("--json", self.write(b"".join(parts) + section(16, b"")))
        self.assertEqual(errors, "")
        moments = json.loads(out)["timeline"]
        self.assertEqual([moments[15]["live_bytes"], moments[15]["resident_bytes"]], [30000, 0])

    def test_pieces_and_compression(self):
        """Tables come in pieces, and may be compressed."""
        file = examples.small()
        parts = [header()]
        for kind, part in file.sections(compress={NODES, STRINGS, TIMELINE}):
            if kind == FRAMES:
                for i, frame in enumerate(file.frames):
                    parts.append(section(FRAMES, frame, 16, first=i))
            else:
                parts.append(part)
        out, errors = self.run_report(self.write(b"".join(parts) + section(16, b"")))
        self.assertEqual(errors, "")
        self.golden("small.txt", out)


class Arguments(Case):
    def test_misuse(self):
        path = self.write(examples.small())
        for arguments, message in ((["--nonsense", path], 'there is no option "--nonsense"'), ([], "no file is named; calloc report --help"),
                                   ([path, path], "is too much"), (["--diff", path], "--diff takes two files"),
                                   (["--top", "many", path], '--top takes a number, not "many"'),
                                   (["--metric", "weight", path], 'there is no metric "weight"'),
                                   (["--html", "--json", path], "only one of"),
                                   (["--diff", "--html", path, path], "--diff is text, or --collapsed"),
                                   (["-o"], '"-o" lacks its argument')):
            _, errors = self.run_report(*arguments, status=2)
            self.assertIn(message, errors)

    def test_help(self):
        out, _ = self.run_report("--help")
        self.assertIn("usage: calloc report", out.decode())

    def test_cannot_write(self):
        path = self.write(examples.small())
        _, errors = self.run_report("-o", self.folder / "none" / "out", path, status=125)
        self.assertIn("cannot be written: No such file or directory", errors)
        _, errors = self.run_report("-o", "/dev/full", path, status=125)
        self.assertIn("cannot be written: No space left on device", errors)


def main():
    global CALLOC, UPDATE
    arguments = sys.argv[1:]
    CALLOC = arguments.pop(0)
    while arguments[:1] == ["--target"]:
        name, _, path = arguments[1].partition("=")
        TARGETS[name] = path
        del arguments[:2]
    if "--update" in arguments:
        UPDATE = True
        arguments.remove("--update")
    unittest.main(argv=[sys.argv[0], *arguments])


if __name__ == "__main__":
    main()
