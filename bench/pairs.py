#!/usr/bin/env python3
"""Million operations per second of libcalloc and its peers on one thread.

The patterns are those of instructions.py, timed instead of counted: each allocator in turn, several
rounds, medians. A figure is from the difference between a long and a short run, so that start-up
cancels out. Times on a shared machine say little by themselves; compare within one run.

    pairs.py                            the table
    pairs.py --list                     what the patterns are
    pairs.py --rounds 15                more rounds
    pairs.py --peer rpmalloc=/path.so   with another column

Exit status: 0, 1 where a run failed, 2 where nothing could be measured.
"""

import sys
import time

import common
import instructions
import options
from figures import medians

FEW, MANY = 100_000, 2_100_000


def seconds(allocator, pattern, operations):
    start = time.perf_counter()
    common.run(allocator, instructions.PROGRAM, [pattern, operations])
    return time.perf_counter() - start


def run(_, allocator, pattern):
    """Million operations per second, from one pair of runs, for common.measure()."""
    difference = seconds(allocator, pattern, MANY) - seconds(allocator, pattern, FEW)
    return {"rate": (MANY - FEW) / max(difference, 1e-9) / 1e6}


def main():
    parser = options.parser(__doc__, 7, "PATTERN", ("list", "only", "peer", "json", "from"))
    arguments = parser.parse("pairs", lambda _: instructions.titles(), ("rate",))
    if arguments.kept:
        allocators, runs, failures = arguments.kept
    else:
        instructions.build()
        allocators = common.choose(arguments.peer)
        runs, failures = common.measure(allocators, arguments.cases, arguments.rounds, run)
    if arguments.json:
        common.save(arguments.json, "pairs", arguments, allocators, runs, failures)
    titles = instructions.titles()
    figures = {titles.get(pattern, pattern): row for pattern, row in medians(runs).items()}
    common.print_values("million per second, median", "rate", allocators, figures,
                        "{:.1f}".format)
    return common.finish(failures)


if __name__ == "__main__":
    sys.exit(common.main(main))
