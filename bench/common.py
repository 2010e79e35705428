"""What the benchmarks have in common: allocators, runs in turn, tables, verdicts, JSON.

A benchmark measures each of its cases (a workload, a program, a number of threads) under each
allocator in turn, several rounds. Times on a shared machine say little by themselves; runs that
follow each other at once can be compared.
"""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import plot
from figures import BASE, OURS, against_best, means, medians, ratios, verdict

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
BUILD = ROOT / "build" / "bench"

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

# The hardening is preloaded after the core, which --peer may replace; so it may the add-on.
ADD_ON = "libcalloc-secure"
LEVELS = ("light", "standard", "paranoid")
LIBRARY_OF_ADD_ON = ROOT / "build" / "release" / ADD_ON / f"{ADD_ON}.so.1"

SECONDS = 300

# Names of allocators are cut to this in tables.
LONGEST = 18

# Nothing of the caller's environment: MALLOC_CONF, GLIBC_TUNABLES, LD_PRELOAD or CALLOC_OPTIONS
# would change what is measured.
ENVIRONMENT = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"}

# The compiler is not to know what malloc is, or it removes pairs of malloc and free.
OPAQUE = [f"-fno-builtin-{name}" for name in ("malloc", "free", "calloc", "realloc")]


class Failed(Exception):
    """A run that gave no result, or a wrong one."""


@dataclasses.dataclass(frozen=True)
class Allocator:
    """The libraries to preload, in this order (none: glibc alone), and what goes with them into the
    environment of the program. `level` is that of the hardening, if it is one of libraries."""

    libraries: tuple = ()
    environment: dict = dataclasses.field(default_factory=dict)
    level: str = ""

    @property
    def preload(self):
        """For the loader and for LD_PRELOAD."""
        return ":".join(map(str, self.libraries))

    def having(self, variable, value):
        """The same with another variable in its environment."""
        return dataclasses.replace(self, environment={**self.environment, variable: value})


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


def run(allocator, program, arguments, wrapper=()):
    """Run a program of bench/ under the loader with the libraries of an allocator preloaded."""
    preload = ["--preload", allocator.preload] if allocator.libraries else []
    try:
        done = subprocess.run(
            [*wrapper, LOADER, *preload, program, *map(str, arguments)],
            capture_output=True, text=True, timeout=SECONDS,
            env={**ENVIRONMENT, **allocator.environment},
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


def verify(allocator, probe):
    """Make sure that the first library of an allocator really serves all the functions that the
    benchmarks call, and that the hardening is in force where it is to be."""
    for library in allocator.libraries:
        if not library.is_file():
            raise Failed(f"not there ({library})")
    done = run(allocator, probe, [])
    for line in done.stdout.splitlines():
        function, found = line.split(" ", 1)
        if function == "level":
            level = ("off", *LEVELS)[int(found)]
            if level != allocator.level:
                raise Failed(f"the level is {level}")
        elif Path(found).resolve() != allocator.libraries[0].resolve():
            raise Failed(f"{function} is not its own but that of {found}")
    if allocator.level and "level " not in done.stdout:
        raise Failed("the hardening is not loaded")
    # libcalloc says so when it does not know an option, and goes on.
    if allocator.environment and done.stderr.strip():
        raise Failed(done.stderr.strip().splitlines()[0])


def choose(peers=(), default=tuple(LIBRARIES), base=True, levels=()):
    """The allocators to measure, as {name: Allocator}; glibc (`base`) has no library. `levels` are
    those of the hardening, which are allocators by their names."""
    libraries = {**{name: LIBRARIES[name] for name in default}, **dict(peers)}
    add_on = libraries.pop(ADD_ON, LIBRARY_OF_ADD_ON)
    allocators = {name: Allocator((library,)) for name, library in libraries.items()}
    allocators |= {level: hardened(libraries[OURS], add_on, level) for level in levels}
    probe = build("providers", "providers.c")
    chosen = {BASE: Allocator()} if base else {}
    for name, allocator in allocators.items():
        try:
            verify(allocator, probe)
            chosen[name] = allocator
        except Failed as reason:
            say(f"{name} left out: {reason}")
    if OURS not in chosen:
        raise Failed(f"nothing to measure without {OURS}")
    return chosen


def hardened(core, add_on, level):
    """libcalloc with the hardening at a level."""
    return Allocator((core, add_on), {"CALLOC_OPTIONS": f"secure.level={level}"}, level)


# --- measuring ------------------------------------------------------------------------------------


def measure(allocators, cases, rounds, run_one):
    """Run `run_one(name, allocator, case)` for all in turn: {field: value}, None where this round
    is without it, or it raises Failed.

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
                    measured = run_one(name, allocators[name], case)
                    runs[case][name] += [measured] if measured else []
                except Failed as reason:
                    failures.append(f"{name}, {case}: {reason}")
                    say(failures[-1])
                    del runs[case][name]
            say(f"round {count + 1} of {rounds}: {case} done")
        order.append(order.pop(0))
    return runs, failures


def save(path, benchmark, arguments, allocators, runs, failures):
    """Write what --from reads: the runs themselves, and the medians for whoever reads the file.

    When it cannot be written after all, that is one more failure: the tables are still to come.
    """
    try:
        path.write_text(json.dumps({
            "benchmark": benchmark, "rounds": arguments.rounds, "allocators": list(allocators),
            "failures": failures, "medians": medians(runs), "runs": runs,
        }, indent=1) + "\n")
    except OSError as reason:
        failures.append(f"{path} not written: {reason.strerror}")


def load(path, benchmark, fields):
    """What save() has written, once it is sure that all of it is there."""
    try:
        kept = json.loads(path.read_text())
    except OSError as reason:
        raise Failed(f"{path} cannot be read: {reason.strerror}") from None
    except ValueError:
        raise Failed(f"{path} is not JSON") from None
    if not isinstance(kept, dict) or not isinstance(kept.get("benchmark"), str):
        raise Failed(f"{path} was not written by --json of a benchmark")
    if kept["benchmark"] != benchmark:
        raise Failed(f"{path} is of the benchmark {kept['benchmark']}, not {benchmark}")
    try:
        whole = isinstance(kept["rounds"], int) and all(
            isinstance(name, str) for name in [*kept["allocators"], *kept["failures"]])
        for row in kept["runs"].values():
            for name, several in row.items():
                whole = whole and name in kept["allocators"] and all(
                    one[field] is None or one[field] >= 0 for one in several for field in fields)
    except (AttributeError, KeyError, TypeError):
        whole = False
    if not whole or not kept["runs"]:
        raise Failed(f"{path} holds no results, or not all that belongs to them")
    return kept


# --- tables ---------------------------------------------------------------------------------------


def short(name):
    """A name of --peer as it fits into a table."""
    return name if len(name) <= LONGEST else name[:LONGEST - 1] + "…"


def column(names, least=11):
    """The width of columns that have these names above or in them."""
    return max([least, *(2 + len(short(name)) for name in names)])


def table_line(title, width, cells, cell_width):
    return f"{title:<{width}}" + "".join(f"{text:>{cell_width}}" for text in cells)


def print_table(title, allocators, rows, cell, tail=("", None)):
    """A line per case: `cell` makes text of each value, tail's function what follows."""
    width = max([len(title), *map(len, rows)])
    wide = column(allocators)
    print("\n" + table_line(title, width, map(short, allocators), wide) + tail[0])
    for case, row in rows.items():
        cells = (cell(row[name]) if row.get(name) is not None else "-" for name in allocators)
        print(table_line(case, width, cells, wide) + (tail[1](row) if tail[1] else ""))


def print_ratios(title, field, allocators, figures):
    """Ratios to glibc and their geometric means, and ours to the best peer of each line."""
    rows = ratios(figures, field)
    wide = column(allocators, 12)

    def tail(row):
        name, ratio = against_best(row) or ("-", None)
        return f"{short(name):>{wide}}" + (f"{ratio:>11.3f}" if name != "-" else f"{'-':>11}")
    print_table(title, allocators, {**rows, "geometric mean": means(rows)}, "{:.2f}".format,
                (f"{'best peer':>{wide}}{'ours/best':>11}", tail))


def print_values(title, field, allocators, figures, cell):
    """The figures themselves instead of ratios."""
    rows = {case: {name: values[field] for name, values in row.items()}
            for case, row in figures.items()}
    print_table(title, allocators, rows, cell)


def print_who_is_best(figures, columns):
    """For each case and each (title, field): who is best of all, and ours to the best peer."""
    width = max([len("who is best"), *map(len, figures)])
    tables = [ratios(figures, field) for _, field in columns]
    wide = column([name for row in figures.values() for name in row], 16)
    print(f"\n{'who is best':<{width}}" +
          "".join(f"{title:>{wide}}{'ours/best':>11}" for title, _ in columns))
    for case in figures:
        line = f"{case:<{width}}"
        for table in tables:
            name, ratio = against_best(table.get(case, {})) or ("-", None)
            if name == "-":
                line += f"{name:>{wide}}{name:>11}"
            else:
                line += f"{OURS if ratio <= 1 else short(name):>{wide}}{ratio:>11.3f}"
        print(line)


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
                         allocators,
                         [(heading, ratios(figures, name)) for heading, name in columns])
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
