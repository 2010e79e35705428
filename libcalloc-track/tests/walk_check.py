#!/usr/bin/env python3
"""Compares the stacks of real programs as the library unwinds them with libgcc's and libunwind's:
walk_check.py CORE CHECK CASES EXCEPTIONS"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

CORE, CHECK, CASES, EXCEPTIONS = sys.argv[1:5]
SOURCE = "#include <vector>\n#include <map>\n#include <string>\n" \
    "std::map<std::string, std::vector<int>> all; int main() { all[\"x\"].push_back(1); }\n"
PROGRAMS = {
    # name: (every how many, command)
    "cases, recursion": (1, [CASES, "recursion"]),
    "cases, coroutines": (1, [CASES, "coroutines"]),
    "cases, long jumps": (1, [CASES, "long_jumps"]),
    "cases, signals": (1, [CASES, "signals"]),
    "cases, threads": (13, [CASES, "threads"]),
    "exceptions": (1, [EXCEPTIONS]),
    "python3": (17, ["/usr/bin/python3", "-c",
                     "import json, decimal, re; json.loads(json.dumps([[i] * 9 for i in range(999)])); "
                     "re.findall('(a|b)*c', 'abc' * 99); decimal.Decimal(7).sqrt()"]),
    "perl": (7, ["perl", "-e", "my %h; $h{$_} = [1 .. 9] for 1 .. 2000; print scalar keys %h"]),
    "git": (3, ["git", "--version"]),
    "sort": (1, ["sort", "/etc/passwd"]),
    "bash": (3, ["bash", "-c", "for i in {1..300}; do a+=\"$i \"; done; b=($a); echo ${#b[@]}"]),
    "tar": (1, ["tar", "cf", "/dev/null", "/etc/passwd"]),
    "g++": (5, ["g++", "-std=c++17", "-O2", "-x", "c++", "-c", "-o", "/dev/null", "-"]),
    "gdb": (5, ["gdb", "--batch", "-ex", "info functions ^main$", CASES]),
}


def run(name, every, command):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "result"
        environment = dict(os.environ, LD_PRELOAD=f"{CORE} {CHECK}", WALK_CHECK=str(path),
                           WALK_CHECK_EVERY=str(every))
        done = subprocess.run(command, env=environment, input=SOURCE, capture_output=True, text=True,
                              check=False)
        if done.returncode != 0:
            print(f"{name}: exit status {done.returncode}\n{done.stderr}", file=sys.stderr)
            return False
        lines = path.read_text().splitlines() if path.exists() else []
        numbers = [list(map(int, line.split())) for line in lines if line[0].isdigit()]
        looked, differ, shorter, frames, refused = map(sum, zip(*numbers)) if numbers else [0] * 5
        print(f"{name}: {looked} stacks of {frames} frames, {differ} differ, {shorter} not to their end; "
              f"libunwind gave up in {refused}")
        for line in lines:
            if differ and not line[0].isdigit():
                print(f"    {line}", file=sys.stderr)
        return looked > 0 and differ == 0


def main():
    good = True
    for name, (every, command) in PROGRAMS.items():
        if shutil.which(command[0]) is None:
            print(f"{name}: not there, left out")
            continue
        good &= run(name, every, command)
    sys.exit(not good)


if __name__ == "__main__":
    main()
