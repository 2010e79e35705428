#!/usr/bin/env python3
"""Put a component's example programs into its manual pages: examples.py COMPONENT-FOLDER [--check]

Between `.\\" example NAME.c` and the next `.Ed` a page holds that program. With --check nothing is
written, and the exit status is 1 where a page holds another text or an example has no page.
"""

import re
import sys
from pathlib import Path

PART = re.compile(r'(?<=^\.\\" example )(\S+)(\n\.Bd [^\n]*\n).*?(?=^\.Ed$)', re.M | re.S)


def as_mdoc(text):
    """Literal text: no backslash is an escape and no line a macro."""
    return re.sub(r"^(?=[.'])", r"\\&", text.replace("\\", r"\e"), flags=re.M)


def main():
    folder = Path(sys.argv[1])
    examples = folder / "examples"
    check = sys.argv[2:] == ["--check"]
    wrong = []
    shown = set()
    for page in sorted((folder / "man").glob("*.[1-9]")):
        old = page.read_text()
        shown |= {match[1] for match in PART.finditer(old)}
        new = PART.sub(lambda part: part[1] + part[2] + as_mdoc((examples / part[1]).read_text()),
                       old)
        if new != old and check:
            wrong.append(f"{page}: an example differs from its file; run {Path(__file__).name}")
        elif new != old:
            page.write_text(new)
    for example in sorted(examples.glob("*.c")):
        if example.name not in shown:
            wrong.append(f"{example}: stands in no page")
    print(*wrong, sep="\n", end="\n" if wrong else "")
    return 1 if wrong else 0


sys.exit(main())
