#!/usr/bin/env python3
"""Instructions per operation of libcalloc and its peers, counted by callgrind.

A figure is the difference between the totals of a run with 120,000 and one with 20,000
operations, divided by 100,000: start-up cancels out, the loop and the C library stay in. The
counts hardly vary from run to run, which is why they may decide a test where times may not;
memcpy and memset are chosen for the CPU, so realloc and calloc can differ between machines.

    instructions.py                              the table
    instructions.py --peer rpmalloc=/path/to.so  with another column
    instructions.py --record                     keep libcalloc's counts in instructions.json
    instructions.py --check                      fail where libcalloc costs more than recorded

Exit status: 0, 1 where a run failed or a check did not hold, 2 where nothing could be measured.
"""

import argparse
import json
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
SOURCE = HERE / "instructions.c"
PROGRAM = ROOT / "build" / "bench" / "instructions"
RECORD = HERE / "instructions.json"
OURS = "libcalloc"

LOADER = "/lib64/ld-linux-x86-64.so.2"
DEBIAN = Path("/usr/lib/x86_64-linux-gnu")
LIBRARIES = {
    OURS: ROOT / "build" / "release" / "libcalloc" / "libcalloc.so.1",
    "jemalloc": DEBIAN / "libjemalloc.so.2",
    "tcmalloc": DEBIAN / "libtcmalloc_minimal.so.4",
    "mimalloc": DEBIAN / "libmimalloc.so.2",
}

FEW, MANY = 20_000, 120_000
TOLERANCE = 1.0
AT_ONCE = 2
SECONDS = 300

# What an operation is, and the most that libcalloc may spend on it.
PATTERNS = {
    "malloc32_free": ("malloc(32)+free", 40),
    "lifo1000": ("1000 x malloc(64), free newest first", 38),
    "fifo1000": ("1000 x malloc(64), free oldest first", 38),
    "random4096": ("random slot of 4096, size 8-1023", 50),
    "large100000": ("malloc(100,000)+free", 75),
    "calloc64_free": ("calloc(1,64)+free", 55),
    "realloc_grow": ("realloc 40->800 by 40, per realloc", 90),
    "aligned64_free": ("aligned_alloc(64,128)+free", 60),
}

# Nothing of the caller's environment: MALLOC_CONF, GLIBC_TUNABLES, LD_PRELOAD or CALLOC_OPTIONS
# would change what is measured.
ENVIRONMENT = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"}


class Failed(Exception):
    """A run that gave no count."""


def build():
    """Compile the pattern program; it is small enough not to ask whether it is up to date."""
    PROGRAM.parent.mkdir(parents=True, exist_ok=True)
    # Without control-flow marks a PLT stub is one instruction with every distribution's gcc.
    subprocess.run(
        ["gcc", "-std=c17", "-O2", "-Wall", "-Wextra", "-fno-builtin", "-fcf-protection=none",
         "-o", PROGRAM, SOURCE],
        check=True,
    )


def run(library, arguments, wrapper=()):
    """Run the pattern program under the loader with a library preloaded (None: glibc alone)."""
    preload = ["--preload", library] if library else []
    try:
        done = subprocess.run(
            [*wrapper, LOADER, *preload, PROGRAM, *arguments],
            capture_output=True, text=True, timeout=SECONDS, env=ENVIRONMENT,
        )
    except subprocess.TimeoutExpired:
        raise Failed(f"not finished after {SECONDS} s") from None
    if done.returncode != 0:
        said = [line for line in done.stderr.splitlines() if line and not line.startswith("==")]
        raise Failed(f"exit status {done.returncode}: {said[-1] if said else 'no message'}")
    # The loader only warns when it cannot preload, and goes on with glibc.
    if "cannot be preloaded" in done.stderr:
        raise Failed("the loader cannot preload it")
    return done


def verify(library):
    """Make sure that a library really serves all the functions that the patterns call."""
    for line in run(library, ["providers"]).stdout.splitlines():
        function, path = line.split(" ", 1)
        if Path(path).resolve() != library.resolve():
            raise Failed(f"{function} is not its own but that of {path}")


def total(library, pattern, operations):
    """Instructions of one whole run."""
    callgrind = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"]
    done = run(library, [pattern, str(operations)], callgrind)
    found = re.search(r"Collected : (\d+)", done.stderr)
    if not found:
        raise Failed("callgrind printed no total")
    return int(found[1])


def measure(allocators, patterns):
    """Yield (pattern, {allocator: count}) row by row; a run that failed has no count."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        pending = {
            (pattern, name): [pool.submit(total, library, pattern, n) for n in (FEW, MANY)]
            for pattern in patterns
            for name, library in allocators.items()
        }
        for pattern in patterns:
            row = {}
            for name in allocators:
                try:
                    few, many = (future.result() for future in pending[pattern, name])
                    row[name] = (many - few) / (MANY - FEW)
                except Failed as reason:
                    print(f"{name}, {pattern}: {reason}", file=sys.stderr)
            yield pattern, row


def print_table(allocators, rows):
    """Print each row as soon as it is there, and return {allocator: {pattern: count}}."""
    width = max(len(title) for title, _ in PATTERNS.values())
    columns = [max(9, len(name)) for name in allocators]
    heads = (f"{name:>{column}}" for name, column in zip(allocators, columns))
    print(f"{'pattern':{width}}", *heads, " to reach", sep="  ")
    counts = {name: {} for name in allocators}
    for pattern, row in rows:
        title, reach = PATTERNS[pattern]
        cells = (f"{row[name]:{column}.1f}" if name in row else f"{'failed':>{column}}"
                 for name, column in zip(allocators, columns))
        print(f"{title:{width}}", *cells, f"{f'<= {reach}':>9}", sep="  ", flush=True)
        for name, count in row.items():
            counts[name][pattern] = count
    return counts


def check(counts, recorded, patterns):
    """Compare with what was recorded; returns the complaints."""
    complaints = []
    for pattern in patterns:
        count, limit = counts.get(pattern), recorded.get(pattern)
        if count is None:
            complaints.append(f"{pattern}: not measured")
        elif limit is None:
            complaints.append(f"{pattern}: nothing recorded, run --record")
        elif count > limit + TOLERANCE:
            complaints.append(f"{pattern}: {count:.2f} instructions, recorded {limit:.2f}")
        elif count < limit - TOLERANCE:
            print(f"{pattern}: {count:.2f} instructions, recorded {limit:.2f}: record the gain")
    return complaints


def load(path):
    """Recorded counts as {allocator: {pattern: count}}."""
    return json.loads(path.read_text())


def save(path, counts):
    path.write_text(json.dumps(counts, indent=4, sort_keys=True) + "\n")


def peer(text):
    name, equals, path = text.partition("=")
    if not name or not equals or name == "glibc":
        raise argparse.ArgumentTypeError(f"NAME=PATH expected, not {text!r}")
    if not Path(path).is_file():
        raise argparse.ArgumentTypeError(f"no such library: {path}")
    return name, Path(path).absolute()


def parse():
    parser = argparse.ArgumentParser(
        description="Instructions per operation, counted by callgrind.")
    parser.add_argument("--only", metavar="PATTERN", action="append", choices=PATTERNS,
                        help="measure only this pattern (can be repeated): " + " ".join(PATTERNS))
    parser.add_argument("--peer", metavar="NAME=PATH", action="append", type=peer, default=[],
                        help="another library; libcalloc=PATH measures another build of ours")
    parser.add_argument("--json", metavar="FILE", type=Path, help="also write all the counts")
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--record", metavar="FILE", type=Path, nargs="?", const=RECORD,
                      help=f"measure libcalloc alone and keep its counts ({RECORD.name})")
    mode.add_argument("--check", metavar="FILE", type=Path, nargs="?", const=RECORD,
                      help=f"measure libcalloc alone and compare ({RECORD.name})")
    arguments = parser.parse_args()
    if arguments.check and not arguments.check.is_file():
        parser.error(f"nothing recorded in {arguments.check}, run --record")
    return arguments


def choose(arguments):
    """The allocators to measure, as {name: library}; glibc has none."""
    libraries = {**LIBRARIES, **dict(arguments.peer)}
    if arguments.record or arguments.check:
        libraries = {OURS: libraries[OURS]}
        chosen = {}
    else:
        chosen = {"glibc": None}
    for name, library in libraries.items():
        try:
            if not library.is_file():
                raise Failed(f"not there ({library})")
            verify(library)
            chosen[name] = library
        except Failed as reason:
            print(f"{name} left out: {reason}", file=sys.stderr)
    return chosen


def main():
    arguments = parse()
    patterns = [name for name in PATTERNS if not arguments.only or name in arguments.only]
    recorded = load(arguments.check) if arguments.check else {}
    build()
    allocators = choose(arguments)
    if not allocators:
        return 2
    counts = print_table(allocators, measure(allocators, patterns))
    failed = any(len(counts[name]) < len(patterns) for name in allocators)
    if arguments.json:
        save(arguments.json, counts)
    if arguments.record and not failed:
        kept = load(arguments.record) if arguments.record.is_file() else {}
        save(arguments.record, {OURS: {**kept.get(OURS, {}), **counts[OURS]}})
    if arguments.check:
        complaints = check(counts[OURS], recorded.get(OURS, {}), patterns)
        print(*complaints, sep="\n", end="\n" if complaints else "", file=sys.stderr)
        failed = failed or bool(complaints)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
