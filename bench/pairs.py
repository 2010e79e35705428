#!/usr/bin/env python3
"""Million operations per second of libcalloc and its peers on one thread.

The patterns are those of instructions.py, timed instead of counted: each allocator in turn, several
rounds, medians. A figure is from the difference between a long and a short run, so that start-up
cancels out. Times on a shared machine say little by themselves; compare within one run.

    pairs.py                            the table
    pairs.py --rounds 15                more rounds
    pairs.py --peer rpmalloc=/path.so   with another column
"""

import argparse
import statistics
import sys
import time

import common
import instructions

FEW, MANY = 100_000, 2_100_000


def seconds(library, pattern, operations):
    start = time.perf_counter()
    common.run(library, instructions.PROGRAM, [pattern, operations])
    return time.perf_counter() - start


def rate(library, pattern):
    """Million operations per second, from one pair of runs."""
    difference = seconds(library, pattern, MANY) - seconds(library, pattern, FEW)
    return (MANY - FEW) / max(difference, 1e-9) / 1e6


def main():
    parser = argparse.ArgumentParser(description="Million operations per second on one thread.")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", metavar="PATTERN", action="append",
                        choices=instructions.PATTERNS)
    parser.add_argument("--peer", metavar="NAME=PATH", action="append", type=common.peer,
                        default=[])
    arguments = parser.parse_args()
    instructions.build()
    allocators = common.choose(arguments.peer)
    patterns = arguments.only or list(instructions.PATTERNS)
    rates = {(pattern, name): [] for pattern in patterns for name in allocators}
    for _ in range(arguments.rounds):
        for pattern in patterns:
            for name, library in allocators.items():
                rates[pattern, name].append(rate(library, pattern))
    width = max(len(label) for label, _ in instructions.PATTERNS.values())
    print(f"{'million per second, median':<{width}}" + "".join(f"{n:>11}" for n in allocators))
    for pattern in patterns:
        row = [statistics.median(rates[pattern, name]) for name in allocators]
        print(f"{instructions.PATTERNS[pattern][0]:<{width}}" + "".join(f"{r:>11.1f}" for r in row))
    return 0


if __name__ == "__main__":
    sys.exit(main())
