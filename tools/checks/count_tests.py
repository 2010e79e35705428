#!/usr/bin/env python3
"""Count what `meson test` ran: count_tests.py LOG-FOLDER EXIT-STATUS

The tests of a cmocka program count one by one, any other program as one test.
The last line is `N passed, N failed`, with `, N skipped` where there were some.
Exits non-zero when a test failed, when none ran, and when meson itself failed.
"""

import json
import re
import sys
from pathlib import Path

PASSING = {"OK", "EXPECTEDFAIL"}


def total(pattern, text):
    return sum(int(count) for count in re.findall(pattern, text, re.M))


def count(entry):
    """Passed, failed and skipped tests of one program, and whether it is a cmocka program."""
    text = (entry.get("stdout") or "") + "\n" + (entry.get("stderr") or "")
    result = entry["result"]
    cmocka = "[==========] Running" in text
    if not cmocka:
        return result in PASSING, result not in PASSING | {"SKIP"}, result == "SKIP", False
    # The closing lines of each group; a program that died has the lines of its tests alone.
    passed = total(r"^\[  PASSED  \] (\d+) test\(s\)", text)
    failed = total(r"^\[  FAILED  \] (\d+) test\(s\)", text)
    skipped = total(r"^\[  SKIPPED \] (\d+) test\(s\)", text)
    if "[  PASSED  ]" not in text:
        passed = len(re.findall(r"^\[       OK \] ", text, re.M))
    if result not in PASSING:
        failed = max(failed, 1)
    return passed, failed, skipped, True


def main():
    folder, status = Path(sys.argv[1]), int(sys.argv[2])
    entries = []
    for log in folder.glob("testlog*.json"):
        lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
        entries += [json.loads(line) for line in lines if line]
    passed = failed = skipped = programs = singly = 0
    for entry in entries:
        p, f, s, cmocka = count(entry)
        passed, failed, skipped = passed + p, failed + f, skipped + s
        programs += cmocka
        singly += p + f + s if cmocka else 0
    if status and not failed:
        print(f"meson test failed with status {status}")
        failed = 1
    if not passed and not failed:
        print("no test ran")
    else:
        print(f"tests: {singly} cmocka tests in {programs} programs,"
              f" {len(entries) - programs} other programs")
    print(f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
    return 1 if failed or not passed else 0


sys.exit(main())
