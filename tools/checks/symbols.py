#!/usr/bin/env python3
"""Symbol map against headers against library: symbols.py COMPONENT-FOLDER LIBRARY

Every function and variable that a public header declares is exported; every
symbol that is exported stands in the map by name, with the version of its node,
and the other way round; and an exported cal_ name is declared in a public header,
unless the map has it in a version node whose name ends in PRIVATE.

What a library exports without a version, the malloc family, cannot stand in a
node: comment lines `# unversioned: name name …` in the map list it.
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path


def output(*command, **options):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, **options).stdout


def read_map(path):
    """The global names of a version script, with the node each stands in ("" for no version)."""
    text = path.read_text()
    names = {name: "" for line in re.findall(r"^# unversioned:(.*)", text, re.M)
             for name in line.split()}
    text = re.sub(r"/\*.*?\*/|#[^\n]*", " ", text, flags=re.S)
    for node, body in re.findall(r"([\w.]*)\s*\{([^{}]*)\}", text):
        scope = "global"
        for word in re.findall(r"(?:global|local)\s*:|[^\s;]+", body):
            if word.endswith(":"):
                scope = word.rstrip(": \t\n")
            elif scope == "global":
                names[word] = node
    return names


def exported(library):
    """Defined dynamic symbols and their versions, but not the nodes: nm has those as absolute."""
    lines = output("nm", "-D", "--defined-only", "--format=posix", str(library)).splitlines()
    symbols = [name.replace("@@", "@").partition("@")
               for name, kind, *_ in map(str.split, lines) if kind != "A"]
    return {name: version for name, _, version in symbols}


def declared(folder, includes):
    """Functions (told by gcc) and `extern` variables that the public headers declare."""
    names = set()
    for header in sorted((folder / "include").glob("*/*.h")):
        with tempfile.NamedTemporaryFile("r", suffix=".aux") as aux:
            subprocess.run(["gcc", "-std=c11", *includes, "-x", "c", "-fsyntax-only",
                            "-aux-info", aux.name, "-"], check=True, text=True,
                           input=f"#include <{header.relative_to(folder / 'include')}>\n")
            for line in aux:
                if line.startswith(f"/* {header}:") and not re.search(r"\bstatic\b", line):
                    names.update(re.findall(r"\b(cal_\w+) \(", line)[:1])
        code = re.sub(r"/\*.*?\*/|//[^\n]*", " ", header.read_text(), flags=re.S)
        names.update(re.findall(r"^\s*extern\s[^;(){}]*?\b(cal_\w+)\s*(?:\[[^;]*)?;", code, re.M))
    return names


def main():
    folder, library = Path(sys.argv[1]), Path(sys.argv[2])
    path = folder / f"{folder.name}.map"
    includes = [f"-I{other}" for other in sorted(folder.parent.glob("libcalloc*/include"))]
    listed, found, public = read_map(path), exported(library), declared(folder, includes)
    wrong = [f"{path}: {name} is a pattern; name the symbols" for name in listed if "*" in name]
    wrong += [f"{library}: exports {name}, which the map does not list"
              for name in sorted(found.keys() - listed.keys())]
    wrong += [f"{library}: {name} has the version '{found[name]}', in the map '{listed[name]}'"
              for name in sorted(found.keys() & listed.keys()) if found[name] != listed[name]]
    wrong += [f"{path}: lists {name}, which the library does not export"
              for name in sorted(listed.keys() - found.keys()) if "*" not in name]
    wrong += [f"{library}: does not export {name}, which a public header declares"
              for name in sorted(public - found.keys())]
    wrong += [f"{library}: exports {name}, which no public header declares"
              for name in sorted(found.keys() - public)
              if name.startswith("cal_") and not listed.get(name, "").endswith("PRIVATE")]
    if not public:
        wrong.append(f"{folder}: no public function found")
    print("\n".join(wrong), end="\n" if wrong else "")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
