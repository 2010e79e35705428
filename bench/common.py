"""What the benchmarks have in common: allocators, runs in turn, medians, tables, verdicts, JSON.

A benchmark measures each of its cases (a workload, a program, a number of threads) under each
allocator in turn, several rounds. Times on a shared machine say little by themselves; runs that
follow each other at once can be compared.
"""

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
from pathlib import Path

import plot

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
BUILD = ROOT / "build" / "bench"
OURS = "libcalloc"
BASE = "glibc"

LOADER = "/lib64/ld-linux-x86-64.so.2"
DEBIAN = Path("/usr/lib/x86_64-linux-gnu")
SCUDO = "usr/lib/llvm-*/lib/clang/*/lib/linux/libclang_rt.scudo_standalone-x86_64.so"
LIBRARIES = {
    OURS: ROOT / "build" / "release" / "libcalloc" / "libcalloc.so.1",
    "jemalloc": DEBIAN / "libjemalloc.so.2",
    "tcmalloc": DEBIAN / "libtcmalloc_minimal.so.4",
    "mimalloc": DEBIAN / "libmimalloc.so.2",
    "scudo": max(Path("/").glob(SCUDO), default=Path("/") / SCUDO),
}

SECONDS = 300

# Nothing of the caller's environment: MALLOC_CONF, GLIBC_TUNABLES, LD_PRELOAD or CALLOC_OPTIONS
# would change what is measured.
ENVIRONMENT = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"}

# The compiler is not to know what malloc is, or it removes pairs of malloc and free.
OPAQUE = [f"-fno-builtin-{name}" for name in ("malloc", "free", "calloc", "realloc")]


class Failed(Exception):
    """A run that gave no result, or a wrong one."""


def say(*words):
    print(*words, file=sys.stderr, flush=True)


# --- building and running -------------------------------------------------------------------------


def build(name, *sources, flags=(*OPAQUE, "-pthread")):
    """Compile a program of bench/; all are small enough not to ask whether they are up to date."""
    BUILD.mkdir(parents=True, exist_ok=True)
    program = BUILD / name
    # Aside first: another run may be using the one that is there.
    fresh = BUILD / f".{name}-{os.getpid()}"
    subprocess.run(["gcc", "-std=gnu17", "-O2", "-Wall", "-Wextra", *flags, "-o", fresh,
                    *(HERE / source for source in sources)], check=True)
    fresh.rename(program)
    return program


def run(library, program, arguments, wrapper=(), environment=()):
    """Run a program of bench/ under the loader with a library preloaded (None: glibc alone)."""
    preload = ["--preload", library] if library else []
    try:
        done = subprocess.run(
            [*wrapper, LOADER, *preload, program, *map(str, arguments)],
            capture_output=True, text=True, timeout=SECONDS,
            env={**ENVIRONMENT, **dict(environment)},
        )
    except subprocess.TimeoutExpired:
        raise Failed(f"not finished after {SECONDS} s") from None
    if done.returncode != 0:
        said = [line for line in done.stderr.splitlines() if line and not line.startswith("==")]
        raise Failed(f"exit status {done.returncode}: {said[-1] if said else 'no message'}")
    must_be_preloaded(done.stderr)
    return done


def must_be_preloaded(messages):
    """The loader only warns when it cannot preload, and goes on with glibc."""
    if "cannot be preloaded" in messages:
        raise Failed("the loader cannot preload it")


# --- allocators -----------------------------------------------------------------------------------


def verify(library, probe):
    """Make sure that a library really serves all the functions that the benchmarks call."""
    for line in run(library, probe, []).stdout.splitlines():
        function, path = line.split(" ", 1)
        if Path(path).resolve() != library.resolve():
            raise Failed(f"{function} is not its own but that of {path}")


def choose(peers=(), default=tuple(LIBRARIES), base=True):
    """The allocators to measure, as {name: library}; glibc (`base`) has none."""
    libraries = {**{name: LIBRARIES[name] for name in default}, **dict(peers)}
    probe = build("providers", "providers.c")
    chosen = {BASE: None} if base else {}
    for name, library in libraries.items():
        try:
            if not library.is_file():
                raise Failed(f"not there ({library})")
            verify(library, probe)
            chosen[name] = library
        except Failed as reason:
            say(f"{name} left out: {reason}")
    return chosen


def peer(text):
    """The argument of --peer."""
    name, equals, path = text.partition("=")
    if not name or not equals or name == BASE:
        raise argparse.ArgumentTypeError(f"NAME=PATH expected, not {text!r}")
    if not Path(path).is_file():
        raise argparse.ArgumentTypeError(f"no such library: {path}")
    return name, Path(path).absolute()


def positive(text):
    """The argument of options that count something."""
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"a number above zero expected, not {text!r}")
    return int(text)


def parser(description, rounds, case="WORKLOAD", options=("only", "peer", "json", "svg", "from")):
    """The options that benchmarks have which measure in rounds, or those of them that are named."""
    made = argparse.ArgumentParser(description=description.splitlines()[0])
    made.add_argument("--rounds", metavar="NUMBER", type=positive, default=rounds,
                      help=f"runs of which the median counts ({rounds})")
    known = {
        "only": {"metavar": case, "action": "append",
                 "help": "measure only this one (can be repeated)"},
        "peer": {"metavar": "NAME=PATH", "action": "append", "type": peer, "default": [],
                 "help": "another library; libcalloc=PATH measures another build of ours"},
        "json": {"metavar": "FILE", "type": Path, "help": "also write all the figures"},
        "svg": {"metavar": "FILE", "type": Path, "help": "also draw them, with gnuplot"},
        "from": {"metavar": "FILE", "type": Path, "dest": "kept",
                 "help": "measure nothing: tables and drawing of what --json has written"},
    }
    for name in options:
        made.add_argument(f"--{name}", **known[name])
    return made


def select(names, only, arguments):
    """The cases to measure: all names, or those of --only."""
    for name in only or []:
        if name not in names:
            arguments.error(f"there is no {name}; there are: {' '.join(map(str, names))}")
    return [name for name in names if not only or name in only]


# --- measuring ------------------------------------------------------------------------------------


def measure(allocators, cases, rounds, run_one):
    """Run `run_one(name, library, case)` for all in turn: it gives {field: value} or raises Failed.

    Returns the runs as {case: {allocator: [{field: value}, …]}}, and the failures as lines. An
    allocator with a failed run is left out of that case. Each round starts with another
    allocator, so that none always follows the same one.
    """
    runs = {case: {name: [] for name in allocators} for case in cases}
    failures = []
    order = list(allocators)
    for count in range(rounds):
        for case in cases:
            for name in order:
                if name not in runs[case]:
                    continue
                try:
                    runs[case][name].append(run_one(name, allocators[name], case))
                except Failed as reason:
                    failures.append(f"{name}, {case}: {reason}")
                    say(failures[-1])
                    del runs[case][name]
            say(f"round {count + 1} of {rounds}: {case} done")
        order.append(order.pop(0))
    return runs, failures


def medians(runs):
    """{case: {allocator: {field: median}}}; a field that is null in a run is null."""
    def median(values):
        return None if None in values else statistics.median(values)
    return {
        case: {name: {field: median([one[field] for one in several]) for field in several[0]}
               for name, several in row.items() if several}
        for case, row in runs.items()
    }


def save(path, benchmark, arguments, allocators, runs, failures):
    """Write what --from reads: the runs themselves, and the medians for whoever reads the file."""
    path.write_text(json.dumps({
        "benchmark": benchmark, "rounds": arguments.rounds, "allocators": list(allocators),
        "failures": failures, "medians": medians(runs), "runs": runs,
    }, indent=1) + "\n")


def load(path, benchmark):
    """(allocators, runs, failures) of a file that save() has written."""
    try:
        kept = json.loads(path.read_text())
        if kept["benchmark"] != benchmark:
            raise Failed(f"{path} is of the benchmark {kept['benchmark']}")
        return kept["allocators"], kept["runs"], kept["failures"]
    except (OSError, ValueError, KeyError, TypeError) as reason:
        raise Failed(f"{path} holds no results: {reason}") from None


# --- tables ---------------------------------------------------------------------------------------


def geometric_mean(values):
    """NaN without values; a zero would make it zero, so it counts as very little."""
    values = [max(value, 1e-9) for value in values]
    return math.exp(sum(map(math.log, values)) / len(values)) if values else math.nan


def ratios(figures, field):
    """{case: {allocator: ratio to glibc}} of those that have the field."""
    made = {}
    for case, row in figures.items():
        base = row.get(BASE, {}).get(field)
        if base:
            made[case] = {name: values[field] / base for name, values in row.items()
                          if values[field] is not None}
    return made


def best_peer(row):
    """(name, value) of the least one that is not ours."""
    peers = {name: value for name, value in row.items() if name != OURS}
    return min(peers.items(), key=lambda item: item[1], default=(None, math.nan))


def print_table(title, allocators, rows, cell, tail=("", None)):
    """A line per case: `cell` makes text of each value, tail's function what follows."""
    width = max([len(title), len("geometric mean"), *map(len, rows)])
    print(f"\n{title:<{width}}" + "".join(f"{name:>11}" for name in allocators) + tail[0])
    for case, row in rows.items():
        cells = (cell(row[name]) if row.get(name) is not None else "-" for name in allocators)
        print(f"{case:<{width}}" + "".join(f"{text:>11}" for text in cells) +
              (tail[1](row) if tail[1] else ""))
    return width


def print_ratios(title, field, allocators, figures):
    """Ratios to glibc, ours to that of the best peer, and the geometric means."""
    rows = ratios(figures, field)
    against = []

    def tail(row):
        name, value = best_peer(row)
        if name is None or OURS not in row:
            return ""
        against.append(row[OURS] / value)
        return f"{name:>12}{against[-1]:>11.3f}"
    width = print_table(title, allocators, rows, "{:.2f}".format,
                        (f"{'best peer':>12}{'ours/best':>11}", tail))
    means = [geometric_mean([row[name] for row in rows.values() if name in row])
             for name in allocators]
    print(f"{'geometric mean':<{width}}" + "".join(f"{mean:>11.2f}" for mean in means) +
          f"{'':>12}{geometric_mean(against):>11.3f}")


def print_values(title, field, allocators, figures, cell):
    """The figures themselves instead of ratios."""
    rows = {case: {name: values[field] for name, values in row.items()}
            for case, row in figures.items()}
    print_table(title, allocators, rows, cell)


def print_who_is_best(figures, columns):
    """For each case and each (title, field): who is best of all, and ours to the best peer."""
    width = max([len("who is best"), *map(len, figures)])
    print(f"\n{'who is best':<{width}}" +
          "".join(f"{title:>16}{'ours/best':>11}" for title, _ in columns))
    tables = [ratios(figures, field) for _, field in columns]
    for case in figures:
        cells = []
        for table in tables:
            row = table.get(case, {})
            name, value = best_peer(row)
            if name is None or OURS not in row:
                cells.append(f"{'-':>16}{'-':>11}")
            else:
                winner = OURS if row[OURS] <= value else name
                cells.append(f"{winner:>16}{row[OURS] / value:>11.3f}")
        print(f"{case:<{width}}" + "".join(cells))


def verdict(rows):
    """How ours stands in {case: {allocator: ratio}}: the figures of the goals, or None.

    The best single peer is the one with the least geometric mean over the same cases; a peer
    that failed in one of them cannot be it.
    """
    rows = {case: row for case, row in rows.items() if OURS in row and len(row) > 1}
    if not rows:
        return None
    against = {case: row[OURS] / best_peer(row)[1] for case, row in rows.items()}
    worst = max(against, key=against.get)
    complete = set.intersection(*(set(row) for row in rows.values())) - {OURS}
    means = {name: geometric_mean([row[name] for row in rows.values()])
             for name in complete | {OURS}}
    single = best_peer(means)
    return {
        "cases": len(against),
        "not_above_one": sum(ratio <= 1 for ratio in against.values()),
        "worst": against[worst], "worst_case": worst, "worst_peer": best_peer(rows[worst])[0],
        "mean": means[OURS], "single": single[0], "single_mean": single[1],
    }


def print_verdicts(figures, columns):
    """The figures that the goals are about, a few lines for each (title, field)."""
    print("\nverdicts for libcalloc")
    for title, field in columns:
        found = verdict(ratios(figures, field))
        if found is None:
            print(f"  {title}: nothing to compare")
            continue
        print(f"  {title}: ours/best <= 1.000 in {found['not_above_one']} of {found['cases']} "
              f"({found['not_above_one'] / found['cases']:.0%}); "
              f"worst {found['worst']:.3f} ({found['worst_case']}, {found['worst_peer']})")
        if found["single"]:
            print(f"  {'':{len(title)}}  geometric mean {found['mean']:.3f}, best single peer "
                  f"{found['single_mean']:.3f} ({found['single']}): "
                  f"ratio {found['mean'] / found['single_mean']:.3f}")


# --- the end of a benchmark -----------------------------------------------------------------------


def report(benchmark, arguments, allocators, runs, failures, columns, values, title):
    """All tables of a benchmark of workloads, and its files; returns the exit status.

    `columns` are (title, field) for ratios, `values` (title, field, cell) for figures as they are.
    """
    if arguments.json:
        save(arguments.json, benchmark, arguments, allocators, runs, failures)
    figures = medians(runs)
    for heading, name in columns:
        print_ratios(heading, name, allocators, figures)
    for heading, name, cell in values:
        print_values(heading, name, allocators, figures, cell)
    print_who_is_best(figures, columns)
    print_verdicts(figures, columns)
    if arguments.svg:
        plot.draw_ratios(arguments.svg, f"{title}, ratio to glibc: further left is better",
                         allocators, [(heading, ratios(figures, name)) for heading, name in columns
                                      if name != "cpu"])
    return finish(failures)


def finish(failures):
    """Repeat what failed below the tables; returns the exit status."""
    for line in failures:
        say(f"failed: {line}")
    return 1 if failures else 0


def main(body):
    """Run a benchmark's main(): what it cannot do is one line and a status, not a traceback."""
    try:
        return body()
    except Failed as reason:
        say(reason)
        return 2
    except plot.NotDrawn as reason:
        say(f"not drawn: {reason}")
        return 1
    except subprocess.CalledProcessError as reason:
        say(f"{reason.cmd[0]}: exit status {reason.returncode}")
        return 2
    except BrokenPipeError:
        # Whoever read the tables has seen enough; Python would complain again when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return 130
