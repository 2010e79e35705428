#!/usr/bin/env python3
"""What `calloc replay` makes of traces whose contents are known: test_replay.py CALLOC LIBCALLOC [NAME…]

LIBCALLOC is the library to preload, or "" in builds with a sanitizer.
"""

import json
import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "profile" / "tests"))

import examples  # noqa: E402
from profile_file import EVENTS, TRACE, Events, ProfileFile, header, section  # noqa: E402

CALLOC = LIBCALLOC = ""

REP = (HERE / "example.rep").read_text()

ANDROID = (HERE / "example.android").read_text()

class Case(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def replay(self, content, *arguments, status=0, preload=False):
        path = self.folder / "trace"
        if isinstance(content, ProfileFile):
            content = content.bytes()
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        environment = dict(os.environ)
        environment.pop("MALLOC_PERTURB_", None)  # of Meson: it writes to all that it allocates
        if preload:
            environment["LD_PRELOAD"] = LIBCALLOC
        done = subprocess.run([CALLOC, "replay", *map(str, arguments), path], capture_output=True, text=True, timeout=120,
                              env=environment)
        self.assertEqual(done.returncode, status, done.stderr)
        return done.stdout, done.stderr

    def facts(self, content, *arguments, **options):
        out, errors = self.replay(content, "--json", *arguments, **options)
        return json.loads(out), errors

    def check(self, facts, **expected):
        self.assertEqual({name: facts[name] for name in expected}, expected)


class Formats(Case):
    def test_trace(self):
        for order in "blocks", "total":
            for content in examples.trace(), examples.trace().bytes(compress={EVENTS}):
                facts, errors = self.facts(content, "--order", order)
                self.assertEqual(errors, "")
                made = 100 * 40 + sum(range(100))
                self.check(facts, trace="server --port 80, process 4711", threads=3, allocations=202, ignored=1,
                           calls=202 + 50 + 100 + 50 + 1, failed=0, end_live_bytes=50 * 4000 + 32,
                           allocated_bytes=made + 100 * 3000 + 50 * 1000 + 48)
                # The third thread has resized all blocks of the second, and not freed the last of the first.
                self.assertEqual(facts["peak_live_bytes"], 50 * 4000 + 139)

    def test_rep(self):
        facts, errors = self.facts(REP)
        self.assertEqual(errors, "")
        self.check(facts, threads=1, calls=9, allocations=4, allocated_bytes=512 + 128 + 128 + 256 + 1000,
                   peak_live_bytes=640 + 1000, end_live_bytes=0, ignored=0, failed=0)

    def test_android(self):
        facts, errors = self.facts(ANDROID)
        self.assertEqual(errors, "")
        self.check(facts, threads=2, calls=8, allocations=5, ignored=1, failed=0,
                   allocated_bytes=20 + 128 + 104 + (1200 - 128) + 77 + 8, end_live_bytes=104 + 1200 + 8)

    def test_windows_line_ends(self):
        for text in REP, ANDROID:
            plain, _ = self.facts(text)
            facts, errors = self.facts(text.replace("\n", "\r\n"))
            self.assertEqual(errors, "")
            self.check(facts, calls=plain["calls"], allocated_bytes=plain["allocated_bytes"])


class Threads(Case):
    def test_pass_blocks_on(self):
        """Each block is made by one thread, resized by the next and freed by a third."""
        lines = []
        for i in range(30000):
            lines += [f"{i % 3}: malloc {0x1000 + i:#x} {i % 700}",
                      f"{(i + 1) % 3}: realloc {0x100000 + i:#x} {0x1000 + i:#x} {i % 900 + 1}",
                      f"{(i + 2) % 3}: free {0x100000 + i:#x}"]
        for order in "blocks", "total":
            facts, _ = self.facts("\n".join(lines[:30000 if order == "total" else None]), "--order", order)
            self.check(facts, threads=3, end_live_bytes=0, ignored=0, failed=0)

    def test_many_short_threads(self):
        file = ProfileFile(TRACE)
        site = file.site([])
        for i in range(60):
            file.thread(f"t{i}", i + 1)
            events = Events(i, i * 1000)
            events.start(i * 1000)
            for k in range(20):
                events.allocate(i * 1000 + k * 10, 0x10000 + i * 4096 + k * 64, 50, site)
            if i:
                for k in range(20):
                    events.free(i * 1000 + 500 + k * 10, 0x10000 + (i - 1) * 4096 + k * 64)
            events.stop(i * 1000 + 900)
            file.events.append(events)
        facts, errors = self.facts(file)
        self.assertEqual(errors, "")
        self.check(facts, threads=60, calls=60 * 20 + 59 * 20, end_live_bytes=1000, failed=0)


class Memory(Case):
    def test_resident_is_what_is_touched(self):
        """64 MiB that are written to are resident; with --touch nothing they are not."""
        text = "\n".join(f"1: malloc {i * 4096 + 4096:#x} 1048576" for i in range(64))
        facts, _ = self.facts(text)
        self.assertGreater(facts["end_resident_bytes"], 60 << 20)
        facts, _ = self.facts(text, "--touch", "nothing")
        self.assertEqual(facts["end_live_bytes"], 64 << 20)
        self.assertLess(facts["end_resident_bytes"], 60 << 20)

    def test_out_of_memory(self):
        facts, _ = self.facts("1: malloc 0x10 9000000000000000000\n1: free 0x10\n1: malloc 0x20 16\n"
                              "1: realloc 0x30 0x20 9000000000000000000\n1: free 0x30\n")
        self.check(facts, calls=5, failed=2, end_live_bytes=0)

    def test_on_libcalloc(self):
        if not LIBCALLOC:
            self.skipTest("a sanitizer has a malloc of its own")
        for content in examples.trace(), REP, ANDROID:
            out, errors = self.replay(content, preload=True)
            self.assertEqual(errors, "")
            self.assertIn("on libcalloc ", out)
            self.assertIn(LIBCALLOC, out)
            self.assertIn("by its own count", out)


class Broken(Case):
    def test_not_a_trace(self):
        for content, message in (("", "is empty"), ("hello\n", "is no trace that is known"),
                                 ("\x7fELF" * 50, "is no trace that is known"),
                                 (examples.small(), "is a profile and has no calls to replay"),
                                 (header(TRACE, major=3), "is of format version 3")):
            _, errors = self.replay(content, status=125)
            self.assertIn(message, errors)
        done = subprocess.run([CALLOC, "replay", self.folder / "none"], capture_output=True, text=True)
        self.assertEqual(done.returncode, 125)
        self.assertIn("cannot be opened: No such file or directory", done.stderr)

    def test_cut_short(self):
        whole = examples.trace().bytes()
        _, errors = self.replay(whole[:-1], status=1)
        self.assertRegex(errors, r'calloc replay: "[^"]*": The file was cut short')
        sections = examples.trace().sections()
        events = [len(part) for kind, part in sections if kind == EVENTS]
        # Where the first of the events are whole: before that there is nothing to replay.
        first = 32 + sum(len(part) for _, part in sections) - sum(events[1:])
        for length in range(33, len(whole), 401):
            _, errors = self.replay(whole[:length], status=1 if length >= first else 125)
            self.assertIn("was cut short", errors)

    def test_events_that_are_garbage(self):
        file = examples.trace()
        for payload, message in ((b"\x00" * 7, "is too short for events"),
                                 (bytes(16) + b"\x80" * 3, "ends within an event"),
                                 (bytes(16) + b"\x07", "has events of a kind that is not known here"),
                                 (bytes(16) + b"\xff" * 30, "ends within an event")):
            parts = [part for _, part in file.sections()]
            content = header(TRACE) + b"".join(parts) + section(EVENTS, payload, count=1) + section(16, b"")
            facts, errors = self.facts(content, status=1)
            self.assertIn(message, errors)
            self.check(facts, allocations=202)

    def test_lines_that_are_garbage(self):
        for text, line in ((REP.replace("r 0 640", "r 0"), 7), (REP.replace("f 1", "x 1"), 9),
                           (ANDROID.replace("32 4", "32"), 2), (ANDROID.replace("malloc 0xb6038060 8", "malloc"), 8),
                           (ANDROID.replace("256 104", "255 104"), 3),
                           (ANDROID.replace("32 4", "9999999999999 9999999999999"), 2)):
            _, errors = self.replay(text, status=1)
            self.assertIn(f"is broken in line {line};", errors)
        _, errors = self.replay(REP.replace("9\n1\n", "12\n1\n"), status=1)
        self.assertIn("says that it has 12 operations, and has 9", errors)

    def test_limit(self):
        facts, errors = self.facts(ANDROID, "--limit", 3, status=1)
        self.assertIn("has more than 3 calls", errors)
        self.check(facts, calls=3)


class Arguments(Case):
    def test_misuse(self):
        for arguments, message in ((["--order", "random"], "--order is blocks or total"),
                                   (["--touch", "me"], "--touch is nothing, pages or all"),
                                   (["--rows", "x"], "--rows takes a number"), (["--what"], "there is no option"),
                                   (["another"], "is too much")):
            _, errors = self.replay(REP, *arguments, status=2)
            self.assertIn(message, errors)
        done = subprocess.run([CALLOC, "replay"], capture_output=True, text=True)
        self.assertEqual(done.returncode, 2)
        self.assertIn("no trace is named", done.stderr)

    def test_text(self):
        out, _ = self.replay(REP)
        self.assertIn("9 calls of 1 thread, 4 allocations, 2.0 KiB in all", out)
        self.assertIn("live at the most             1.6 KiB", out)
        self.assertRegex(out, r"(?m)^ +time +live +resident +fragmentation$")


def main():
    global CALLOC, LIBCALLOC
    CALLOC, LIBCALLOC = sys.argv[1:3]
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]])


if __name__ == "__main__":
    main()
