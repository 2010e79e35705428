#!/usr/bin/env python3
"""Instructions per operation of libcalloc and its peers, counted by callgrind.

A figure is the difference between the totals of a run with 120,000 and one with 20,000
operations, divided by 100,000: start-up cancels out, the loop and the C library stay in. The
counts hardly vary from run to run, which is why they may decide a test where times may not;
memcpy and memset are chosen for the CPU, so realloc and calloc can differ between machines. Under
the hardening, slots are chosen at random, and counts vary by a few parts in a thousand.

    instructions.py                              the table
    instructions.py --peer rpmalloc=/path/to.so  with another column
    instructions.py --level light --level standard   with columns for the hardening
    instructions.py --record                     keep libcalloc's counts in instructions.json
    instructions.py --check                      fail where libcalloc costs more than recorded

Exit status: 0, 1 where a run failed or a check did not hold, 2 where nothing could be measured.
"""

import json
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import common
import options
from common import OURS, Failed

PROGRAM = common.BUILD / "instructions"
RECORD = common.HERE / "instructions.json"

# Scudo is slower than all of these and would only widen the table; --peer adds it.
ALLOCATORS = (OURS, "jemalloc", "tcmalloc", "mimalloc")

FEW, MANY = 20_000, 120_000
TOLERANCE = 1.0
AT_ONCE = 2

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


def build():
    """Compile the pattern program."""
    # Without control-flow marks a PLT stub is one instruction with every distribution's gcc.
    return common.build("instructions", "instructions.c",
                        flags=["-fno-builtin", "-fcf-protection=none"])


def total(allocator, pattern, operations):
    """Instructions of one whole run."""
    callgrind = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"]
    done = common.run(allocator, PROGRAM, [pattern, operations], callgrind)
    found = re.search(r"Collected : (\d+)", done.stderr)
    if not found:
        raise Failed("callgrind printed no total")
    return int(found[1])


def measure(allocators, patterns):
    """Yield (pattern, {allocator: count}) row by row; a run that failed has no count."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        pending = {
            (pattern, name): [pool.submit(total, allocator, pattern, n) for n in (FEW, MANY)]
            for pattern in patterns
            for name, allocator in allocators.items()
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
    columns = [common.column([name], 11) - 2 for name in allocators]
    heads = (f"{common.short(name):>{column}}" for name, column in zip(allocators, columns))
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


def titles():
    """{pattern: what it is}, for --list."""
    return {pattern: title for pattern, (title, _) in PATTERNS.items()}


def parse():
    parser = options.parser(__doc__, None, "PATTERN", ("list", "only", "peer", "level", "json"))
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--record", metavar="FILE", type=options.output, nargs="?", const=RECORD,
                      help=f"measure libcalloc alone and keep its counts ({RECORD.name})")
    mode.add_argument("--check", metavar="FILE", type=Path, nargs="?", const=RECORD,
                      help=f"measure libcalloc alone and compare ({RECORD.name})")
    arguments = parser.parse("instructions", lambda _: titles())
    if arguments.level and (arguments.check or arguments.record):
        parser.error("--level cannot be given with --check or --record: libcalloc alone")
    if arguments.check and not arguments.check.is_file():
        parser.error(f"nothing recorded in {arguments.check}, run --record")
    return arguments


def main():
    arguments = parse()
    patterns = arguments.cases
    recorded = load(arguments.check) if arguments.check else {}
    build()
    alone = arguments.record or arguments.check
    allocators = common.choose([(name, library) for name, library in arguments.peer
                                if not alone or name == OURS],
                               (OURS,) if alone else ALLOCATORS, not alone, arguments.level)
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
    sys.exit(common.main(main))
