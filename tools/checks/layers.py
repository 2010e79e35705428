#!/usr/bin/env python3
"""One-way layers: layers.py SOURCE-FOLDER…

Each folder holds a table LAYERS, the bottom layer first:

    layer: stem stem …        # the files stem.c and stem.h

A file may include the headers of its own layer and of those below it.
"""

import re
import sys
from pathlib import Path

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*"([^"]+)"', re.M)


def read_table(path):
    """The rank and layer name of each stem, and what is wrong with the table."""
    table, wrong = {}, []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        line = line.split("#")[0].strip()
        if not line:
            continue
        layer, colon, stems = line.partition(":")
        if not colon:
            wrong.append(f"{path}:{number}: expected `layer: file-stem …`")
        for stem in stems.split():
            if stem in table:
                wrong.append(f"{path}:{number}: {stem} stands in two layers")
            table[stem] = (number, layer.strip())
    return table, wrong


def check(folder):
    path = folder / "LAYERS"
    if not path.is_file():
        return [f"{path}: missing"]
    table, wrong = read_table(path)
    files = sorted(file for file in folder.rglob("*") if file.suffix in {".c", ".h"})
    for stem in sorted(table.keys() - {file.stem for file in files}):
        wrong.append(f"{path}: {stem} has no file")
    for file in files:
        if file.stem not in table:
            wrong.append(f"{file}: not in {path}")
            continue
        rank, layer = table[file.stem]
        text = file.read_text()
        for match in INCLUDE.finditer(text):
            place = f"{file}:{text.count(chr(10), 0, match.start(1)) + 1}"
            stem = Path(match[1]).stem
            if stem not in table:
                wrong.append(f"{place}: \"{match[1]}\" is in no layer of {path}")
            elif table[stem][0] > rank:
                wrong.append(f"{place}: {layer} includes \"{match[1]}\" of {table[stem][1]} above it")
    return wrong


def main():
    wrong = [line for folder in sys.argv[1:] for line in check(Path(folder))]
    print("\n".join(wrong), end="\n" if wrong else "")
    return 1 if wrong else 0


sys.exit(main())
