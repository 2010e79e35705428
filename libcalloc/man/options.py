#!/usr/bin/env python3
"""Make calloc-options.7 from src/options.def: options.py [--check]

Only the list between the two marks of the page is made; the rest is written by hand. With --check
nothing is written, and the exit status is 1 where the page and the table do not agree.
"""

import re
import sys
import textwrap
from pathlib import Path

MAN = Path(__file__).resolve().parent
PAGE = MAN / "calloc-options.7"
TABLE = MAN.parent / "src" / "options.def"
OPTION = re.compile(r'OPTION\((\w+), (\w+), (\d+), (\d+), (\d+),\s*((?:"[^"]*"\s*)+)\)')
LIST = re.compile(r'(?<=^\.\\" options\n).*?(?=^\.\\" end of options$)', re.M | re.S)
ARGUMENT = {"number": "number", "bytes": "size"}


def amount(value, kind):
    """A value as a user would write it."""
    if kind == "bytes":
        for suffix, unit in (("G", 1 << 30), ("M", 1 << 20), ("K", 1 << 10)):
            if value and value % unit == 0:
                return f"{value // unit}{suffix}"
    return str(value)


def entry(name, kind, standard, minimum, maximum, text):
    """One item of the list, in short lines, as mdoc wants them."""
    sentences = "\n".join(textwrap.wrap(text[0].upper() + text[1:] + ".", 78))
    return (f".It Cm {name} Ns = Ns Ar {ARGUMENT[kind]}\n"
            f"{sentences}\n"
            f"From {amount(minimum, kind)} to {amount(maximum, kind)};\n"
            f"the default is {amount(standard, kind)}.\n")


def main():
    table = TABLE.read_text()
    options = OPTION.findall(table)
    if len(options) != len(re.findall(r"^OPTION\(", table, re.M)):
        print(f"{TABLE}: an entry is written in a way that this script does not understand")
        return 1
    made = ".Bl -tag -width Ds\n"
    for name, kind, *numbers, text in options:
        made += entry(name, kind, *map(int, numbers), "".join(re.findall(r'"([^"]*)"', text)))
    made += ".El\n"
    old = PAGE.read_text()
    new = LIST.sub(lambda _: made, old)
    if new == old and made in old:
        return 0
    if sys.argv[1:] == ["--check"]:
        print(f"{PAGE}: does not agree with {TABLE.name}; run {Path(__file__).name}")
        return 1
    PAGE.write_text(new)
    return 0


sys.exit(main())
