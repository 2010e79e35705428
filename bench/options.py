"""The options of the benchmarks. What is wrong with them is said before anything is measured."""

import argparse
import os
from pathlib import Path

import common


def peer(text):
    """The argument of --peer."""
    name, equals, path = text.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError(f"NAME=PATH expected, not {text!r}")
    if name == common.BASE:
        raise argparse.ArgumentTypeError(
            f"{name} is what all are compared with and cannot be replaced; give another name")
    if not Path(path).is_file():
        raise argparse.ArgumentTypeError(f"no such library: {path}")
    return name, Path(path).absolute()


def positive(text):
    """The argument of options that count something."""
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"a whole number above zero expected, not {text!r}")
    return int(text)


def output(text):
    """The argument of options that name a file to write."""
    path = Path(text)
    try:
        # Only trying tells: root may write everywhere, and cannot in /proc.
        there = path.exists()
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NONBLOCK, 0o666))
        if not there:
            path.unlink()
    except OSError as reason:
        raise argparse.ArgumentTypeError(f"{path} cannot be written: {reason.strerror}") from None
    return path


def drawing(text):
    """The argument of --svg."""
    if not text.endswith(".svg"):
        raise argparse.ArgumentTypeError(f"a drawing is SVG, name it .svg: {text!r}")
    return output(text)


class Parser(argparse.ArgumentParser):
    """A parser that says in one line what is wrong, and knows what goes with --from."""

    def __init__(self, description):
        super().__init__(description=description.splitlines()[0], allow_abbrev=False)
        self.defaults = {}

    def error(self, message):
        self.exit(2, f"{self.prog}: {message}\n")

    def add_measuring(self, name, default, **settings):
        """An option that --from excludes. Its default comes later, or it would look as if given."""
        self.add_argument(f"--{name}", **settings)
        self.set_defaults(**{name: None})
        self.defaults[name] = default

    def add_number(self, name, default, text, unit="NUMBER"):
        self.add_measuring(name, default, metavar=unit, type=positive, help=f"{text} ({default})")

    def parse(self, benchmark, cases=lambda _: {}, fields=()):
        """The arguments, with the names of the cases to measure or to show as `cases`, and with
        what --from has loaded as `kept`: (allocators, runs, failures), or None.

        `cases` gives {case: description} of all that can be measured (of the arguments: what can be
        may depend on them), `fields` are what each run has. --list is done here.
        """
        arguments = self.parse_args()
        kept = None
        if getattr(arguments, "kept", None):
            for name in self.defaults:
                if getattr(arguments, name) is not None:
                    self.error(f"--{name} cannot be given with --from, which measures nothing")
            kept = common.load(arguments.kept, benchmark, fields)
            arguments.rounds = kept["rounds"]
            known = kept["runs"]
        else:
            for name, default in self.defaults.items():
                if getattr(arguments, name) is None:
                    setattr(arguments, name, default)
            known = cases(arguments)
        arguments.cases = self.select(list(known), getattr(arguments, "only", None))
        arguments.kept = kept and selected(kept, arguments.cases)
        if getattr(arguments, "list", False):
            width = max(map(len, known)) + 2
            for name in arguments.cases:
                print(f"{name:<{width}}{known[name]}")
            self.exit()
        return arguments

    def select(self, names, only):
        """The cases to measure or to show: all names, or those of --only."""
        for name in only or []:
            if name not in names:
                self.error(f"there is no {name}; there are: {' '.join(names)}")
        return [name for name in names if not only or name in only]


def selected(kept, cases):
    """(allocators, runs, failures) of these cases of a file that --from has loaded."""
    everything = len(cases) == len(kept["runs"])
    failures = [line for line in kept["failures"] if everything or
                any(line.startswith(f"{case}: ") or f", {case}: " in line for case in cases)]
    return kept["allocators"], {case: kept["runs"][case] for case in cases}, failures


def parser(description, rounds, case="WORKLOAD", names=("only", "peer", "json", "svg", "from"),
           levels=()):
    """A parser with those of the common options that are named; no --rounds where that is None.
    `levels` are those of the hardening that are measured without --level."""
    made = Parser(description)
    if rounds:
        made.add_number("rounds", rounds, "runs of which the median counts")
    if "list" in names:
        made.add_measuring("list", False, action="store_true",
                           help=f"say what there is for {case}, and end")
    if "peer" in names:
        made.add_measuring("peer", [], metavar="NAME=PATH", action="append", type=peer,
                           help="another library; libcalloc=PATH measures another build of ours")
    if "level" in names:
        made.add_measuring("level", list(levels), metavar="LEVEL", action="append",
                           choices=common.LEVELS, help="measure the hardening at this level "
                           f"({', '.join(common.LEVELS)}; can be repeated)")
    known = {
        "only": {"metavar": case, "action": "append",
                 "help": "measure or show only this one (can be repeated)"},
        "json": {"metavar": "FILE", "type": output, "help": "also write all the figures"},
        "svg": {"metavar": "FILE.svg", "type": drawing, "help": "also draw them, with gnuplot"},
        "from": {"metavar": "FILE", "type": Path, "dest": "kept",
                 "help": "measure nothing: show what --json has written"},
    }
    for name in known:
        if name in names:
            made.add_argument(f"--{name}", **known[name])
    return made
