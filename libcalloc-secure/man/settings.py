#!/usr/bin/env python3
"""Make the list of settings in libcalloc-secure.7 from src/settings.def: settings.py [--check]

Only the list between the two marks of the page is made; the rest is written by hand. With --check
nothing is written, and the exit status is 1 where the page and the tables do not agree.
"""

import re
import sys
import textwrap
from pathlib import Path

MAN = Path(__file__).resolve().parent
PAGE = MAN / "libcalloc-secure.7"
TABLE = MAN.parent / "src" / "settings.def"
CHECKS = MAN.parent / "src" / "report.def"
TEXT = r'((?:"[^"]*"\s*)+)'
SETTING = re.compile(r"^SETTING\((\w+), (\w+), (\d+), (\d+), (\d+), (\d+), (\d+),\s*" + TEXT + r"\)$",
                     re.M)
CHECK = re.compile(r'^CHECK\((\w+), "([^"]*)",\s*' + TEXT + r"\)$", re.M)
LIST = re.compile(r'(?<=^\.\\" settings\n).*?(?=^\.\\" end of settings$)', re.M | re.S)
LEVELS = ("light", "standard", "paranoid")
ARGUMENT = {"number": "number", "bytes": "size", "level": "level", "consequence": "consequence"}


def joined(text):
    return "".join(re.findall(r'"([^"]*)"', text))


def amount(value, kind):
    """A value as a user would write it."""
    if kind == "level":
        return LEVELS[value]
    if kind == "bytes":
        for suffix, unit in (("G", 1 << 30), ("M", 1 << 20), ("K", 1 << 10)):
            if value and value % unit == 0:
                return f"{value // unit}{suffix}"
    return str(value)


def defaults(kind, values):
    """One value, or that of each level."""
    told = [amount(value, kind) for value in values]
    if len(set(told)) == 1:
        return f"the default is {told[0]}.\n"
    return "the default is " + ", ".join(f"{value} ({level})" for value, level in
                                         zip(told, LEVELS)) + ".\n"


def entry(name, kind, values, minimum, maximum, text):
    """One item of the list, in short lines, as mdoc wants them."""
    sentences = "\n".join(textwrap.wrap(text[0].upper() + text[1:] + ".", 78))
    made = f".It Cm {name} Ns = Ns Ar {ARGUMENT[kind]}\n{sentences}\n"
    if kind == "level":
        return made + "The default is light.\n"
    last = textwrap.fill(defaults(kind, values), 78) + "\n"
    return made + f"From {amount(minimum, kind)} to {amount(maximum, kind)};\n" + last


def check_entry(name, phrase, text):
    sentences = textwrap.fill(f"What follows when {text}: \\(lq{phrase}\\(rq.", 78)
    return f".It Cm on_{name} Ns = Ns Ar consequence\n{sentences}\n"


def main():
    table, checks = TABLE.read_text(), CHECKS.read_text()
    settings, found = SETTING.findall(table), CHECK.findall(checks)
    if (len(settings) != len(re.findall(r"^SETTING\(", table, re.M)) or
            len(found) != len(re.findall(r"^CHECK\(", checks, re.M))):
        print(f"{TABLE}: an entry is written in a way that this script does not understand")
        return 1
    made = ".Bl -tag -width Ds\n"
    for name, kind, light, standard, paranoid, minimum, maximum, text in settings:
        made += entry(name, kind, [int(light), int(standard), int(paranoid)], int(minimum),
                      int(maximum), joined(text))
    made += "".join(check_entry(name, phrase, joined(text)) for name, phrase, text in found)
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
