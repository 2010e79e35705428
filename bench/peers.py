#!/usr/bin/env python3
"""Workloads under libcalloc and its peers: time, operations per second, memory, fragmentation.

Each workload runs under each allocator in turn, several rounds; the first tables give medians as
ratios to glibc, who is best, and libcalloc's ratio to the best peer. Then come the figures
themselves, and at the end who is best and how libcalloc stands.

    peers.py                             all tables
    peers.py --list                      what the workloads do
    peers.py --rounds 9 --only database
    peers.py --only database --only webserver --only game --only training
    peers.py --peer rpmalloc=/path.so    with another column
    peers.py --json FILE --svg FILE      also write the figures, and draw them
    peers.py --from FILE --only database what --json has written, measuring nothing

Final fragmentation is taken at the end of the workload, while the blocks that it holds are live:
(resident memory - resident memory before the workload - the workload's own tables, which are not
the allocator's) / bytes asked for in the live blocks. 1 would be ideal; there is none where nothing
is held. An operation is one malloc, free or realloc.

Exit status: 0, 1 where a run failed, 2 where nothing could be measured.
"""

import json
import subprocess
import sys

import common
import options

SOURCES = ("workloads.c", "workloads_program.c", "workloads_threads.c")
THREADED = {"larson", "xmalloc", "cache-scratch", "cache-thrash", "stress", "leak-and-exit"}
THREADS = 2


def thousands(value):
    """A number with at most three digits before its suffix."""
    for limit, suffix in ((1e6, "M"), (1e3, "k")):
        if value >= limit:
            return f"{value / limit:.1f}{suffix}"
    return f"{value:.0f}"


COLUMNS = [("time", "seconds"), ("CPU time", "cpu"), ("peak resident", "peak")]
VALUES = [
    ("operations per second", "rate", thousands),
    ("peak resident, MiB", "peak", lambda value: f"{value / 1024:.1f}"),
    ("final fragmentation", "fragmentation", "{:.2f}".format),
]


FIELDS = ("seconds", "cpu", "peak", "rate", "fragmentation")


def workloads(program):
    """{name: description} of all workloads, in the program's order."""
    listed = subprocess.run([program], capture_output=True, text=True, check=True).stdout
    return dict(line.split("\t") for line in listed.splitlines())


def build():
    return common.build("workloads", *SOURCES)


def run(allocator, workload, scale):
    """One run of a workload."""
    threads = THREADS if workload in THREADED else 1
    return json.loads(common.run(allocator, common.BUILD / "workloads",
                                 [workload, threads, scale]).stdout)


def main():
    parser = options.parser(__doc__, 5, names=("list", "only", "peer", "json", "svg", "from"))
    parser.add_number("scale", 1, "amount of work per run")
    arguments = parser.parse("peers", lambda _: workloads(build()), FIELDS)

    if arguments.kept:
        measured = arguments.kept
    else:
        allocators = common.choose(arguments.peer)
        measured = list(allocators), *common.measure(
            allocators, arguments.cases, arguments.rounds,
            lambda _, allocator, workload: run(allocator, workload, arguments.scale))
    return common.report("peers", arguments, *measured, COLUMNS, VALUES, "Workloads")


if __name__ == "__main__":
    sys.exit(common.main(main))
