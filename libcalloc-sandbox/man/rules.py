#!/usr/bin/env python3
"""What is made from the table of rules, src/rules.def: rules.py [--check | --systemd]

Without an option: the list between the two marks of cal_sandbox_allow.3; the rest of the page is
written by hand. With --check nothing is written, and the exit status is 1 where the page and the
table do not agree. With --systemd a drop-in for a unit of systemd goes to standard output.
"""

import re
import sys
import textwrap
from pathlib import Path

MAN = Path(__file__).resolve().parent
PAGE = MAN / "cal_sandbox_allow.3"
TABLE = MAN.parent / "src" / "rules.def"
RULE = re.compile(r'^RULE\((\w+), (core|source|secure), "([^"]*)"((?:,\s+(?:IS|WITHIN)\([^()]*\))*)\)$',
                  re.M)
CONDITION = re.compile(r"(IS|WITHIN)\(\d, (\w+), ([^()]*)\)")
LIST = re.compile(r'(?<=^\.\\" rules\n).*?(?=^\.\\" end of rules$)', re.M | re.S)
USERS = {"core": "", "source": "\nFor add-ons that wrap the kernel's source of memory.",
         "secure": "\nFor libcalloc-secure."}

SYSTEMD = """\
# The system calls of libcalloc, for the unit of a service that has a list of permitted calls. Copy
# it to /etc/systemd/system/NAME.service.d/.
#
# It adds to the SystemCallFilter= of the unit. Without one there it would be the whole list, and
# the service could not even start. The group @system-service has all these calls; @default alone
# lacks some.
#
# systemd cannot look at arguments here: these calls are permitted with all of them, where
# cal_sandbox_allow(3) permits the allocator's own. The line after it takes back what matters most:
# memory that is executable and was writable. The last one closes a way around that, by calls of
# another architecture: the service cannot run 32-bit programs.
[Service]
{}
MemoryDenyWriteExecute=yes
SystemCallArchitectures=native
"""


def condition(kind, name, value):
    """One condition of a rule in mdoc."""
    relation = "is" if kind == "IS" else "has no bits but those of"
    return f".Fa {name}\n{relation}\n" + (f".Dv {value}\n" if value != "0" else "0\n")


def entry(call, user, why, conditions):
    """One item of the list."""
    where = "and\n".join(condition(*match) for match in CONDITION.findall(conditions))
    if where:
        # A macro takes the colon as an argument, text does not.
        last = where.rstrip()
        where = f"Where\n{last}" + (" :\n" if last.split("\n")[-1].startswith(".") else ":\n")
    else:
        why = why[0].upper() + why[1:]
    return f".It Fn {call}\n{where}" + textwrap.fill(why + ".", 78) + f"{USERS[user]}\n"


def main():
    table = TABLE.read_text()
    rules = RULE.findall(table)
    if len(rules) != len(re.findall(r"^RULE\(", table, re.M)):
        print(f"{TABLE}: a rule is written in a way that this script does not understand",
              file=sys.stderr)
        return 1
    if sys.argv[1:] == ["--systemd"]:
        calls = " ".join(sorted({call for call, *_ in rules}))
        print(SYSTEMD.format(f"SystemCallFilter={calls}"), end="")
        return 0
    made = ".Bl -tag -width Ds\n" + "".join(entry(*rule) for rule in rules) + ".El\n"
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
