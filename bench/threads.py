#!/usr/bin/env python3
"""A fixed amount of work shared by 1 to 4096 threads: time, and memory per thread.

All threads start at once and share the work: replacing their blocks of 16 bytes to 1 KiB, now and
then one of up to 8 KiB. Then all rest, active: each holds a hundred blocks, about 57 KiB. Then
each frees what it holds, and all rest, idle. Each number of threads runs under each allocator in
turn, several rounds; the tables have medians.

    threads.py                           all numbers of threads
    threads.py --only 16 --only 256 --rounds 5
    threads.py --rest 1500               longer than delays after which memory is given back
    threads.py --peer rpmalloc=/path.so  with another column
    threads.py --json FILE --svg FILE    also write the figures, and draw them

Memory per thread is (resident memory - that of the same program under the same allocator with as
many threads that allocate nothing) / threads. What the allocator takes once for the whole process
is in it: much of it with one thread, next to nothing with many.

Exit status: 0, 1 where a run failed, 2 where nothing could be measured.
"""

import json
import sys

import common
import options
import plot
from figures import medians, ratios

COUNTS = (1, 2, 4, 16, 64, 256, 1024, 4096)
COLUMNS = [("time", "seconds"), ("active memory", "active"), ("idle memory", "idle")]
FIELDS = ("seconds", "held", "active", "idle")


def main():
    parser = options.parser(__doc__, 3, "THREADS")
    parser.add_number("operations", 4_000_000, "operations of all threads together")
    parser.add_number("rest", 100, "before memory is looked at", "MILLISECONDS")
    arguments = parser.parse("threads", lambda _: dict.fromkeys(map(str, COUNTS)), FIELDS)

    def run(_, allocator, count):
        given = [count, arguments.operations, arguments.rest]
        found = json.loads(common.run(allocator, program, given).stdout)
        empty = json.loads(common.run(allocator, program, [count, 0, 1, "none"]).stdout)
        # A page more or less with a single thread is no memory at all.
        return {"seconds": found["seconds"], "held": found["held"] / int(count),
                **{state: max((found[state] - empty[state]) / int(count), 0.1)
                   for state in ("active", "idle")}}

    if arguments.kept:
        allocators, runs, failures = arguments.kept
    else:
        program = common.build("threads", "threads.c")
        allocators = common.choose(arguments.peer)
        runs, failures = common.measure(allocators, arguments.cases, arguments.rounds, run)
    if arguments.json:
        common.save(arguments.json, "threads", arguments, allocators, runs, failures)
    figures = medians(runs)
    for heading, name, cell in (("seconds", "seconds", "{:.3f}".format),
                                ("active, KiB per thread", "active", "{:.1f}".format),
                                ("of which asked for", "held", "{:.1f}".format),
                                ("idle, KiB per thread", "idle", "{:.1f}".format)):
        common.print_values(heading, name, allocators, figures, cell)
    common.print_who_is_best(figures, COLUMNS)
    common.print_verdicts(figures, COLUMNS)
    if arguments.svg:
        def values(name):
            return {int(count): {allocator: fields[name] for allocator, fields in row.items()}
                    for count, row in figures.items()}
        plot.draw_lines(arguments.svg, "Threads sharing a fixed amount of work: lower is better",
                        list(allocators),
                        [("seconds, ratio to glibc", {
                            int(count): row
                            for count, row in ratios(figures, "seconds").items()}),
                         ("active: resident KiB per thread", values("active")),
                         ("idle: resident KiB per thread", values("idle"))], "threads")
    return common.finish(failures)


if __name__ == "__main__":
    sys.exit(common.main(main))
