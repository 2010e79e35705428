#!/usr/bin/env python3
"""Make the list of settings in libcalloc-track.7 from src/settings.def: settings.py [--check]

Only the list between the two marks of the page is made; the rest is written by hand. With --check
nothing is written, and the exit status is 1 where the page and the table do not agree.
"""

import re
import sys
import textwrap
from pathlib import Path

MAN = Path(__file__).resolve().parent
PAGE = MAN / "libcalloc-track.7"
TABLE = MAN.parent / "src" / "settings.def"
STRINGS = r'((?:"[^"]*"\s*)+)'
NUMBER = re.compile(r"^NUMBER\((\w+), (\w+), (\d+), (\d+), (\d+),\s*" + STRINGS + r"\)$", re.M)
TEXT = re.compile(r'^TEXT\((\w+), "([^"]*)",\s*' + STRINGS + r"\)$", re.M)
LIST = re.compile(r'(?<=^\.\\" settings\n).*?(?=^\.\\" end of settings$)', re.M | re.S)


def joined(text):
    return "".join(re.findall(r'"([^"]*)"', text))


def amount(value, kind):
    """A value as a user would write it."""
    if kind == "bytes":
        for suffix, unit in (("G", 1 << 30), ("M", 1 << 20), ("K", 1 << 10)):
            if value and value % unit == 0:
                return f"{value // unit}{suffix}"
    return str(value)


def mark(match):
    return f"\n.Fn {match[2]}{' ' if match[3] else ''}{match[3]}\n"


def entry(name, argument, text, last):
    """One item of the list, in short lines, as mdoc wants them."""
    lines = textwrap.wrap(text[0].upper() + text[1:] + ".", 78)
    # Functions are marked as such, each on a line of its own.
    sentences = "\n".join(re.sub(r"(^| )(\w+)\(\)(\S*) ?", mark, line).strip("\n") for line in lines)
    return f".It Cm {name} Ns = Ns Ar {argument}\n{sentences}\n{last}\n"


def main():
    table = TABLE.read_text()
    entries = []
    for match in NUMBER.finditer(table):
        name, kind, standard, low, high, text = match.groups()
        last = (f"From {amount(int(low), kind)} to {amount(int(high), kind)};\n"
                f"the default is {amount(int(standard), kind)}.")
        entries.append((match.start(), entry(name, "size" if kind == "bytes" else "number",
                                             joined(text), last)))
    for match in TEXT.finditer(table):
        name, standard, text = match.groups()
        last = f"The default is {standard}." if standard else "The default is empty."
        entries.append((match.start(), entry(name, "text", joined(text), last)))
    if len(entries) != len(re.findall(r"^(?:NUMBER|TEXT)\(", table, re.M)):
        print(f"{TABLE}: an entry is written in a way that this script does not understand")
        return 1
    made = ".Bl -tag -width Ds\n" + "".join(text for _, text in sorted(entries)) + ".El\n"
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
