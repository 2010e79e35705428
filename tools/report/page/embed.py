#!/usr/bin/env python3
"""Make C of the page of `calloc report --html`: embed.py PAGE STYLE SCRIPT…

The page has @STYLE@, @SCRIPT@ and @PROFILE@ where these belong; it is cut at the last, into the arrays
`before` and `after`.
"""

import sys
from pathlib import Path


def as_array(name, text):
    data = text.encode()
    rows = [",".join(map(str, data[at : at + 24])) for at in range(0, len(data), 24)]
    return f"static const unsigned char {name}[] = {{\n" + ",\n".join(rows) + "\n};\n"


def main():
    page, style, *scripts = (Path(path).read_text() for path in sys.argv[1:])
    script = "\n".join(scripts)
    if "</script" in script or "</style" in style:
        sys.exit("embed.py: the script or the style would end its own element")
    before, found, after = page.replace("@STYLE@", style).replace("@SCRIPT@", script).partition("@PROFILE@")
    if not found or "@PROFILE@" in after:
        sys.exit("embed.py: the page has not one place for the profile")
    print(as_array("before", before) + as_array("after", after), end="")


main()
