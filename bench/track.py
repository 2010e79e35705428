#!/usr/bin/env python3
"""libcalloc-track beside other heap profilers and leak checkers: pairs, programs, memory.

Pairs of malloc and free below a stack of a given depth, on one thread and on two at the same time,
and real programs, under each tool in turn, several rounds. What the programs compute must be the
same under all of them, and each tool must leave behind what it is run for: anything else is a
failure.

    track.py                             all tables
    track.py --list                      what is measured
    track.py --only pairs-20x1 --only python --rounds 9
    track.py --tool track --tool heaptrack   these, glibc and the plain core alone
    track.py --peer libcalloc=PATH --peer libcalloc-track=PATH   other builds of ours
    track.py --json FILE --markdown      also write the figures, and print docs/track.md's tables
    track.py --from FILE                 what --json has written, measuring nothing

Tools that take a minute for what others do in a second run in the first round only: memcheck,
massif, LeakSanitizer with whole stacks, and the profilers of jemalloc, at every allocation, and of
gperftools. heaptrack writes its raw data to a file; the process that reads it meanwhile, and which
`heaptrack` would start, is left out. gcc's compiler proper is run without its driver, as some of
the tools do not follow it.

Time is from start to end of the program, and so is what the tool does at its exit: a profile, a
look for leaks. Peak memory is the process's. A tool that a program does not survive is left out of
that one with a line: LeakSanitizer is made to be linked, and does not take to be preloaded
everywhere.

Exit status: 0, 1 where glibc, the core or libcalloc-track failed, or any program computed something
else, 2 where nothing could be measured. The goals below the tables do not decide.
"""

import dataclasses
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import common
import inputs
import options
import programs
from common import OURS, Failed, say
from figures import BASE, means, medians, ratios
from programs import Program

TRACK = "libcalloc-track"
TRACK_LIBRARY = common.ROOT / "build" / "release" / TRACK / f"{TRACK}.so.1"
HEAPTRACK = Path("/usr/lib/heaptrack/libheaptrack_preload.so")
LSAN = common.DEBIAN / "liblsan.so.0"
GPERFTOOLS = common.DEBIAN / "libtcmalloc.so.4"
FIELDS = ("seconds", "cpu", "peak", "pair")
COLUMNS = [("time", "seconds"), ("CPU time", "cpu"), ("peak resident", "peak")]

# Those whose failures are ours.
OWN = (BASE, OURS, "off", "sampled", "track", "leaks")

# What each thread does of the pairs, by tool: as many as are measured well and take no minutes.
PAIRS, SLOW_PAIRS = 2_000_000, 50_000

# Deep pairs: at most so many ns on one thread, and so many times that on two.
DEEP = ("pairs-20x1", "pairs-20x2")
MOST_NS, MOST_TIMES = 150, 2


@dataclass(frozen=True)
class Tool(common.Allocator):
    """An allocator that watches, or a program that runs another. In `environment` and `wrapper`,
    {folder} is that of the run; `evidence` is a pattern of files that must be there afterwards."""

    about: str = ""
    wrapper: tuple = ()
    evidence: str = ""
    every: bool = False  # every allocation, with its stack
    slow: bool = False


def ours(libraries, settings, about, **more):
    """libcalloc-track with settings; a profile in the folder of the run."""
    given = ",".join(["track.path={folder}/%p.profile", "track.quiet=1", *settings])
    return Tool(libraries, {"CALLOC_OPTIONS": given}, about=about, **more)


def valgrind(tool, about, *arguments):
    return Tool((), {}, about=about, every=True, slow=True, evidence=f"{tool}.out",
                wrapper=("valgrind", f"--tool={tool}", "--num-callers=30", *arguments))


def tools(core, track):
    """All there are, by name."""
    both = (core, track)
    jemalloc = "prof:true,prof_final:true,prof_prefix:{folder}/jeprof"
    lsan = "exitcode=0:symbolize=0:print_suppressions=0"
    return {
        BASE: Tool(about="the C library's malloc"),
        OURS: Tool((core,), about="the core alone"),
        "off": ours(both, ["track.record=0"], "libcalloc-track, not recording"),
        "sampled": ours(both, ["track.sample=512K", "track.leaks=0"],
                        "libcalloc-track, a sample every 512 KiB", evidence="*.profile"),
        "track": ours(both, ["track.leaks=0"], "libcalloc-track, every allocation", every=True,
                      evidence="*.profile"),
        "leaks": ours(both, [], "libcalloc-track, every allocation, and leaks at exit", every=True,
                      evidence="*.profile"),
        "heaptrack": Tool((HEAPTRACK,), {"DUMP_HEAPTRACK_OUTPUT": "{folder}/heaptrack.raw"},
                          about="heaptrack, raw data", every=True, evidence="heaptrack.raw"),
        "LSan": Tool((LSAN,), {"LSAN_OPTIONS": lsan}, every=True,
                     about="LeakSanitizer of gcc: stacks by frame pointers, and leaks at exit"),
        "LSan, whole": Tool((LSAN,), {"LSAN_OPTIONS": f"{lsan}:fast_unwind_on_malloc=0"},
                            every=True, slow=True, about="LeakSanitizer, whole stacks"),
        "jemalloc": Tool((common.LIBRARIES["jemalloc"],), {"MALLOC_CONF": jemalloc},
                         about="jemalloc's profiler, a sample every 512 KiB",
                         evidence="jeprof.*"),
        "jemalloc, all": Tool((common.LIBRARIES["jemalloc"],),
                              {"MALLOC_CONF": f"{jemalloc},lg_prof_sample:0"}, every=True,
                              slow=True, about="jemalloc's profiler, every allocation",
                              evidence="jeprof.*"),
        "gperftools": Tool((GPERFTOOLS,), {"HEAPPROFILE": "{folder}/gperftools"}, every=True,
                           slow=True, about="gperftools' heap profiler",
                           evidence="gperftools*.heap"),
        "massif": valgrind("massif", "valgrind's massif", "-q",
                           "--massif-out-file={folder}/massif.out"),
        "memcheck": valgrind("memcheck", "valgrind's memcheck, leaks at exit",
                             "--leak-check=full", "--log-file={folder}/memcheck.out"),
    }


# --- what is measured -----------------------------------------------------------------------------


def pairs(depth, threads, sites=1):
    about = f"malloc(64) and free, {depth} frames deep, {threads} thread{'s' * (threads > 1)}"
    return Program(about + (", two callers in turn" if sites > 1 else ""), {},
                   [str(common.BUILD / "track_pairs"), str(depth), str(threads), "PAIRS",
                    str(sites)],
                   result=lambda work: b"")


def tables():
    """A tenth of the rows of programs.py's sqlite."""
    text = (programs.SCRIPTS / "tables.sql").read_text()
    yield text.replace("50000", "5000")


def lines():
    """A sixth of the lines of programs.py's perl."""
    yield (programs.SCRIPTS / "words.pl").read_text().replace("1 .. 25000", "1 .. 4000")


def prepare_functions(folder):
    programs.write("functions.c", lambda: inputs.c_source(10))(folder)
    programs.client("gcc", "-E", folder / "functions.c", "-o", folder / "functions.i")


def compiler():
    """gcc's compiler proper."""
    found = subprocess.run(["gcc", "-print-prog-name=cc1"], capture_output=True, text=True,
                           check=False)
    return found.stdout.strip() or "cc1"


# Smaller than those of programs.py: some of the tools take a thousand times as long.
CASES = {
    "pairs-20x1": pairs(20, 1),
    "pairs-20x2": pairs(20, 2),
    "pairs-5x1": pairs(5, 1),
    "pairs-5x2": pairs(5, 2),
    "callers-20x1": pairs(20, 1, 2),
    "python": dataclasses.replace(
        programs.PROGRAMS["python"],
        about="python3 with PYTHONMALLOC=malloc: JSON of 2,500 objects written, parsed, changed",
        command=["/usr/bin/python3", "{scripts}/objects.py", "2500"]),
    "sqlite": dataclasses.replace(
        programs.PROGRAMS["sqlite"], stdin="{inputs}/tables.sql",
        about="sqlite3 in memory: 30,000 rows inserted, indexed, joined, updated",
        prepare=programs.write("tables.sql", tables)),
    "perl": dataclasses.replace(
        programs.PROGRAMS["perl"], command=["perl", "{inputs}/words.pl"],
        prepare=programs.write("words.pl", lines)),
    "cc1": Program(
        "gcc's cc1 -O2 of a C file with 10 functions, preprocessed", {"gcc": "gcc"},
        [compiler(), "-quiet", "-fpreprocessed", "-O2", "{inputs}/functions.i", "-o",
         "{work}/functions.s"],
        prepare=prepare_functions,
        result=lambda work: (work / "functions.s").read_bytes()),
    "z3": dataclasses.replace(programs.PROGRAMS["z3"]),
}


def is_pairs(case):
    return CASES[case].packages == {}


class Bench(programs.Bench):
    """Runs programs under tools."""

    def __init__(self, folder):
        super().__init__(folder, CASES)
        self.seen = set()

    def launch(self, allocator, command, folder, environment, stdin):
        count = SLOW_PAIRS if allocator.slow else PAIRS
        command = [str(count) if word == "PAIRS" else word for word in command]
        wrapper = [word.replace("{folder}", str(folder)) for word in allocator.wrapper]
        placed = dataclasses.replace(allocator, environment={
            name: value.replace("{folder}", str(folder))
            for name, value in allocator.environment.items()})
        return Watched(placed, super().launch(placed, [*wrapper, *command], folder, environment,
                                              stdin), command[0].endswith("track_pairs"))

    def run_once(self, title, allocator, case):
        """For common.measure(): slow tools take part in one round."""
        if allocator.slow and (title, case) in self.seen:
            return None
        self.seen.add((title, case))
        return self.run(title, allocator, case)


class Watched:
    """A run under a tool, and whether the tool has been at work."""

    def __init__(self, tool, launched, prints_time):
        self.tool = tool
        self.launched = launched
        self.prints_time = prints_time

    def wait(self):
        measured = self.launched.wait()
        folder = self.launched.folder
        if self.tool.evidence and not any(path.stat().st_size
                                          for path in folder.glob(self.tool.evidence)):
            raise Failed(f"the tool left no {self.tool.evidence}")
        messages = (folder / "stderr").read_text(errors="replace")
        if "fatal error" in messages:
            raise Failed(f"the tool has failed: {messages.strip()[-200:]}")
        return {**measured, "pair": float((folder / "stdout").read_text())
                if self.prints_time else None}


# --- measuring ------------------------------------------------------------------------------------


def verify(name, tool, probe):
    """Make sure that a tool is there, and that malloc and free are its own."""
    for library in tool.libraries:
        if not library.is_file():
            raise Failed(f"not there ({library})")
    if tool.wrapper:
        programs.client(tool.wrapper[0], "--version")
        return
    if not tool.libraries:
        return
    with tempfile.TemporaryDirectory(prefix="libcalloc-track-") as folder:
        environment = {variable: value.replace("{folder}", folder)
                       for variable, value in tool.environment.items()}
        done = common.run(dataclasses.replace(tool, environment=environment), probe, [])
    found = dict(line.split(" ", 1) for line in done.stdout.splitlines())
    for function in ("malloc", "free"):
        if Path(found[function]).resolve() != tool.libraries[0].resolve():
            raise Failed(f"{function} is not its own but that of {found[function]}")
    if "Invalid conf" in done.stderr or "unknown" in done.stderr:
        raise Failed(done.stderr.strip().splitlines()[0])


def choose(arguments):
    """The tools to measure."""
    peers = dict(arguments.peer)
    known = tools(peers.pop(OURS, common.LIBRARIES[OURS]), peers.pop(TRACK, TRACK_LIBRARY))
    if peers:
        raise Failed(f"--peer {next(iter(peers))}: only {OURS} and {TRACK} can be replaced")
    for name in arguments.tool:
        if name not in known:
            raise Failed(f"there is no tool {name}; there are: {', '.join(known)}")
    probe = common.build("providers", "providers.c")
    chosen = {}
    for name, tool in known.items():
        if arguments.tool and name not in (*arguments.tool, BASE, OURS):
            continue
        try:
            verify(name, tool, probe)
            chosen[name] = tool
        except (Failed, OSError) as reason:
            say(f"{name} left out: {reason}")
    if OURS not in chosen:
        raise Failed(f"nothing to measure without {OURS}")
    return chosen


def measure(arguments):
    """(tools, runs, failures) of new measurements."""
    names, missing = programs.available(arguments.cases, CASES)
    for line in missing:
        say(line)
    chosen = choose(arguments)
    common.build("track_pairs", "track.c")
    with tempfile.TemporaryDirectory(prefix="libcalloc-track-") as folder:
        bench = Bench(Path(folder))
        names, unprepared = bench.prepare(names)
        if not names:
            raise Failed("nothing to measure")
        runs, failed = common.measure(chosen, names, arguments.rounds, bench.run_once)
        # What is another's has been said, and counts no further.
        failed = [line for line in failed if line.startswith(tuple(f"{name}, " for name in OWN))]
        return list(chosen), runs, [*missing, *unprepared, *failed, *bench.differences()]


# --- showing --------------------------------------------------------------------------------------


def goal(title, text, value, reached):
    said = "not measured" if value is None else f"{value}: {'reached' if reached else 'missed'}"
    print(f"  {title:<38}{text:<26}{said}")


def print_goals(figures):
    """What is aimed at, and what was measured."""
    print("\ngoals of libcalloc-track")
    one, two = (figures.get(case, {}).get("track", {}).get("pair") for case in DEEP)
    goal("a pair, 20 deep, one thread", f"at most {MOST_NS} ns", one and f"{one:.1f} ns",
         one and one <= MOST_NS)
    goal("the same, two threads", f"at most {MOST_TIMES} times that",
         two and one and f"{two:.1f} ns, {two / one:.2f} times",
         two and one and two <= MOST_TIMES * one)
    known = tools(Path(), Path())
    for title, field in (("fastest that keeps every allocation", "seconds"),
                         ("and the one with the least memory", "peak")):
        against = {}
        for case, row in figures.items():
            used = "pair" if field == "seconds" and is_pairs(case) else field
            others = {name: values[used] for name, values in row.items()
                      if known[name].every and name not in ("track", "leaks")}
            if "track" in row and others:
                best = min(others, key=others.get)
                against[case] = row["track"][used] / others[best], case, best
        better = sum(ratio < 1 for ratio, _, _ in against.values())
        text = "in {} of {}, at worst {:.2f} times ({}, {})".format(
            better, len(against), *max(against.values())) if against else None
        goal(title, "in all cases", text, better == len(against))


def print_markdown(names, figures):
    """The tables of docs/track.md: a row for each tool."""
    known = tools(Path(), Path())

    def table(heads, cell):
        if not heads:
            return
        print("\n| | " + " | ".join(heads) + " |\n|" + "---|" * (len(heads) + 1))
        for name in names:
            print(f"| {known[name].about if name in known else name} | " +
                  " | ".join(cell(name, head) for head in heads) + " |")

    def of(case, name, field):
        return figures.get(case, {}).get(name, {}).get(field)
    base = ratios(figures, "seconds")
    table([case for case in figures if is_pairs(case)],
          lambda name, case: f"{of(case, name, 'pair'):.0f} ns" if of(case, name, "pair") else "-")
    table([case for case in figures if not is_pairs(case)],
          lambda name, case: f"{base[case][name]:.2f}, {of(case, name, 'peak') / 1024:.0f} MiB"
          if name in base.get(case, {}) else "-")


def show(arguments, names, runs, failures):
    """All tables and files; returns the exit status."""
    if arguments.json:
        common.save(arguments.json, "track", arguments, names, runs, failures)
    figures = medians(runs)
    deep = {case: {name: values["pair"] for name, values in row.items()}
            for case, row in figures.items() if is_pairs(case)}
    real = {case: row for case, row in figures.items() if not is_pairs(case)}
    if deep:
        common.print_table("ns for a pair", names, deep, "{:.1f}".format)
    for heading, field in COLUMNS if real else ():
        rows = ratios(real, field)
        common.print_table(heading, names, {**rows, "geometric mean": means(rows)}, "{:.2f}".format)
    if real:
        common.print_values("seconds", "seconds", names, real, "{:.3f}".format)
    common.print_values("peak resident, MiB", "peak", names, figures,
                        lambda value: f"{value / 1024:.1f}")
    print_goals(figures)
    if arguments.markdown:
        print_markdown(names, figures)
    return common.finish(failures)


def main():
    parser = options.parser(__doc__, 3, "CASE", ("list", "only", "peer", "json", "from"))
    parser.add_measuring("tool", [], metavar="TOOL", action="append",
                         help="measure only this one, beside glibc and the plain core (can be "
                         "repeated): " + ", ".join(tools(Path(), Path())))
    parser.add_argument("--markdown", action="store_true",
                        help="also print the tables of docs/track.md")
    arguments = parser.parse("track", lambda _: {name: case.about for name, case in CASES.items()},
                             FIELDS)
    return show(arguments, *(arguments.kept or measure(arguments)))


if __name__ == "__main__":
    sys.exit(common.main(main))
