#!/usr/bin/env python3
"""The hardening at each of its levels beside glibc, Scudo and the plain core: time and memory.

The workloads of peers.py, or with --programs the real programs of programs.py, run under each in
turn, several rounds; the tables give medians as ratios to glibc, and geometric means. libcalloc is
the core alone; light, standard and paranoid are the core with libcalloc-secure at that level. Below
the tables are the goals of the hardening, and by how much each is reached or missed.

    secure.py                            the workloads, and the start of /bin/true
    secure.py --programs                 the real programs instead
    secure.py --list                     what they do; --programs --list for the programs
    secure.py --only database --rounds 9
    secure.py --level light              without the others, which are slower
    secure.py --peer NAME=PATH           with another column
    secure.py --peer libcalloc-secure=PATH   another build of the add-on; libcalloc=PATH of the core
    secure.py --json FILE --svg FILE     also write the figures, and draw them
    secure.py --from FILE                what --json has written, measuring nothing

The start of /bin/true is measured as tests/startup.py does, against a preloaded library with
nothing in it: user and system time, and resident memory at the end.

Another hardened allocator that this could be compared with is mimalloc's secure build. Debian has
none; where one was built, --peer mimalloc-secure=PATH adds it.

Exit status: 0, 1 where a run failed, 2 where nothing could be measured. Goals do not decide.
"""

import statistics
import subprocess
import sys

import common
import options
import peers
import plot
import programs
from common import LEVELS, OURS, Failed
from figures import means, medians, ratios

sys.path.insert(0, str(common.ROOT / "tests"))
import startup  # noqa: E402 (it is there only now)

COLUMNS = [("time", "seconds"), ("CPU time", "cpu"), ("peak resident", "peak")]
FIELDS = ("seconds", "cpu", "peak")
HARDENED_PEERS = (OURS, "scudo")

# {level: {field: the most that its geometric mean may be of glibc's}}
GOALS = {"light": {"seconds": 0.95, "peak": 1.10}, "standard": {"seconds": 1.25, "peak": 1.25}}

# /bin/true: the case, and the preload that it is compared with. A start is short: each round is
# TURNS runs in turn, in each of which it starts STARTS times.
TRUE, EMPTY = "true", "empty preload"
TURNS, STARTS = 5, 20
START_GOALS = {"light": (1.10, 400)}

# In the drawing: there are more ratios beyond five than with allocators that do not harden.
FURTHEST = 20


# --- measuring ------------------------------------------------------------------------------------


def cases(arguments):
    """{case: description} of all that can be measured."""
    if arguments.programs:
        return programs.about()
    return {**peers.workloads(peers.build()), TRUE: "start and end of /bin/true"}


def shared(name):
    """A library of tests/."""
    return common.build(f"{name}.so", f"../tests/{name}.c", flags=("-shared", "-fPIC"))


def start_runs(allocators, rounds):
    """(runs, failures) of starting /bin/true, with the empty preload as one more allocator."""
    program = common.build("startup", "../tests/startup.c")
    resident = shared("resident")
    allocators = {**allocators, EMPTY: common.Allocator((shared("empty"),))}

    def run(name, allocator, _):
        settings = allocator.environment.get("CALLOC_OPTIONS", "")
        # The library that tells the size is as empty as the empty one.
        libraries = () if name == EMPTY else allocator.libraries
        preload = ":".join(map(str, [*libraries, resident]))
        try:
            microseconds = statistics.median(
                startup.time_once(program, ["/bin/true"], allocator.preload, settings,
                                  common.ENVIRONMENT) for _ in range(STARTS))
            size = startup.memory_once(["/bin/true"], preload, settings, common.ENVIRONMENT)["Rss"]
        except (OSError, ValueError, KeyError, subprocess.CalledProcessError) as reason:
            raise Failed(reason) from None
        return {"seconds": microseconds / 1e6, "cpu": microseconds / 1e6, "peak": size}
    return common.measure(allocators, [TRUE], TURNS * rounds, run)


def measure(arguments):
    """(allocators, runs, failures) of new measurements."""
    def choose():
        return common.choose(arguments.peer, HARDENED_PEERS, levels=arguments.level)
    if arguments.programs:
        allocators, runs, failures = programs.measure(arguments.cases, arguments.rounds, choose)
    else:
        allocators = choose()
        runs, failures = common.measure(
            allocators, [case for case in arguments.cases if case != TRUE], arguments.rounds,
            lambda _, allocator, workload: peers.run(allocator, workload, 1))
        if TRUE in arguments.cases:
            starts, failed = start_runs(allocators, arguments.rounds)
            runs |= starts
            failures += failed
    kept = {case: {name: [{field: one[field] for field in FIELDS} for one in several]
                   for name, several in row.items()} for case, row in runs.items()}
    return [*allocators, *([EMPTY] if TRUE in runs else [])], kept, failures


# --- showing --------------------------------------------------------------------------------------


def print_ratios(title, field, allocators, figures):
    """Ratios to glibc, and their geometric means."""
    rows = ratios(figures, field)
    common.print_table(title, allocators, {**rows, "geometric mean": means(rows)}, "{:.2f}".format)


def print_start(allocators, row):
    """A line for each allocator, with what it is to the empty preload."""
    base = row.get(EMPTY)
    wide = max(len(EMPTY), *(len(common.short(name)) for name in allocators))
    print(f"\n{'start of /bin/true':{wide + 2}}{'us':>8}{'to empty':>10}{'KiB':>8}{'to empty':>10}")
    for name in [EMPTY, *allocators]:
        if name not in row:
            print(f"  {common.short(name):{wide}}{'-':>8}")
            continue
        time, size = row[name]["seconds"], row[name]["peak"]
        against = f"{time / base['seconds']:>10.3f}" if base else f"{'-':>10}"
        more = f"{size - base['peak']:>+10.0f}" if base else f"{'-':>10}"
        print(f"  {common.short(name):{wide}}{time * 1e6:>8.0f}{against}{size:>8.0f}{more}")


def verdict_line(level, title, value, goal, text, after=""):
    """One goal; `value` is None where it was not measured."""
    said = "not measured" if value is None else \
        f"{text.format(value)}: {'reached' if value <= goal else 'not reached'}{after}"
    print(f"  {level + ', ' + title:<36}{'at most ' + text.format(goal):<18}{said}")


def print_verdicts(allocators, figures, start):
    """The goals and what was measured."""
    print("\ngoals of the hardening, geometric means of ratios to glibc")
    for level in [name for name in allocators if name in GOALS]:
        for title, field in COLUMNS:
            if field not in GOALS[level] or not figures:
                continue
            rows = ratios(figures, field)
            worst = max(((row[level], case) for case, row in rows.items() if level in row),
                        default=None)
            verdict_line(level, title, means(rows).get(level), GOALS[level][field], "{:.3f}",
                         f"; worst {worst[0]:.2f} ({worst[1]})" if worst else "")
    if start is None:
        return
    for level in [name for name in allocators if name in START_GOALS]:
        time = size = None
        if level in start and EMPTY in start:
            time = start[level]["seconds"] / start[EMPTY]["seconds"]
            size = start[level]["peak"] - start[EMPTY]["peak"]
        most_time, most_size = START_GOALS[level]
        verdict_line(level, "/bin/true, to empty preload", time, most_time, "{:.3f}")
        verdict_line(level, "/bin/true, resident", size, most_size, "{:+.0f} KiB")


def show(arguments, allocators, runs, failures):
    """All tables and files; returns the exit status."""
    if arguments.json:
        common.save(arguments.json, "secure", arguments, allocators, runs, failures)
    figures = medians(runs)
    start = figures.pop(TRUE, None)
    allocators = [name for name in allocators if name != EMPTY]
    if figures:
        for heading, field in COLUMNS:
            print_ratios(heading, field, allocators, figures)
        common.print_values("seconds", "seconds", allocators, figures, "{:.3f}".format)
        common.print_values("peak resident, MiB", "peak", allocators, figures,
                            lambda value: f"{value / 1024:.1f}")
    if start is not None:
        print_start(allocators, start)
    print_verdicts(allocators, figures, start)
    if arguments.svg:
        strong = next((name for name in allocators if name in LEVELS), OURS)
        plot.draw_ratios(arguments.svg, "Hardened, ratio to glibc: further left is better",
                         allocators,
                         [(heading, ratios(figures, field)) for heading, field in COLUMNS],
                         strong, (strong, lambda row: row.get(strong)), FURTHEST)
    return common.finish(failures)


def main():
    parser = options.parser(__doc__, 3, "CASE",
                            ("list", "only", "peer", "level", "json", "svg", "from"), LEVELS)
    parser.add_measuring("programs", False, action="store_true",
                         help="measure the real programs instead of the workloads")
    arguments = parser.parse("secure", cases, FIELDS)
    return show(arguments, *(arguments.kept or measure(arguments)))


if __name__ == "__main__":
    sys.exit(common.main(main))
