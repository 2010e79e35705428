#!/usr/bin/env python3
"""The interface of each library against that of its last release: abi.py [--record] BUILD COMPONENT-FOLDER…

BUILD is a build with debug information. A component keeps the interface of its last release, as libabigail
describes it, in abi/VERSION.MACHINE.xml. Against that, what the library exports now is one of

    patch   nothing has changed
    minor   something was added: a function, an enumerator, a field at the end of a structure that begins
            with its size
    major   something is gone or is another

and VERSION has to say at least that; else the status is 1. A version that is `unreleased` in CHANGELOG.md
may still change: then this is no release to compare with. --record writes the file for VERSION.
"""

import platform
import re
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from pathlib import Path

PATCH, MINOR, MAJOR = range(3)
NAMES = ("patch", "minor", "major")

# abidiff's status is a sum of these.
ERROR, USAGE, CHANGE, INCOMPATIBLE = 1, 2, 4, 8


class Failed(Exception):
    """Something that could not be compared."""


def run(*command):
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True)
    return done.returncode, done.stdout


def describe(library, include, path):
    """Writes the interface of a library: exported functions and variables, and the types of its headers."""
    status, text = run("abidw", "--headers-dir", include, "--drop-private-types",
                       "--exported-interfaces-only", "--no-show-locs", "--no-corpus-path",
                       "--no-comp-dir-path", "--no-elf-needed", "--type-id-style", "hash",
                       "--out-file", path, library)
    if status or "<class-decl" not in path.read_text() and "<function-decl" not in path.read_text():
        raise Failed(f"{library}: abidw found no interface; is there debug information?\n{text}")


def structures(tree):
    return {node.get("name"): node for node in tree.iter("class-decl") if node.findall("data-member")}


def begins_with_size(structure):
    member = structure.find("data-member/var-decl")
    return member.get("name") == "size" and structure.find("data-member").get("layout-offset-in-bits") == "0"


def fields(structure):
    """What there is to say of each field: place, name and type."""
    return [(member.get("layout-offset-in-bits"), member.find("var-decl").get("name"),
             member.find("var-decl").get("type-id")) for member in structure.findall("data-member")]


def without_additions(old, new, path):
    """Writes `new` without the fields that were added at the end of structures which begin with their
    size: their users tell each other which of them they know. The tables of hooks are such structures."""
    before, tree = ElementTree.parse(old), ElementTree.parse(new)
    known = structures(before)
    for name, structure in structures(tree).items():
        if name not in known or not begins_with_size(structure):
            continue
        count = len(fields(known[name]))
        if fields(structure)[:count] == fields(known[name]):
            for member in structure.findall("data-member")[count:]:
                structure.remove(member)
            structure.set("size-in-bits", known[name].get("size-in-bits"))
    sizes = {symbol.get("name"): symbol.get("size") for symbol in before.iter("elf-symbol")}
    for symbol in tree.iter("elf-symbol"):
        if symbol.get("name").startswith("cal_addon_") and symbol.get("name") in sizes:
            symbol.set("size", sizes[symbol.get("name")])
    tree.write(path)


def difference(old, new, *options):
    status, text = run("abidiff", *options, old, new)
    if status & (ERROR | USAGE):
        raise Failed(f"abidiff failed:\n{text}")
    return status, text


def compare(old, new):
    """(PATCH, MINOR or MAJOR, what libabigail says of it)."""
    status, text = difference(old, new, "--harmless")
    if not status:
        return PATCH, ""
    with tempfile.TemporaryDirectory() as folder:
        kept = Path(folder) / "kept.xml"
        without_additions(old, new, kept)
        status, rest = difference(old, kept)
    if status & INCOMPATIBLE:
        return MAJOR, rest
    counts = re.findall(r"(\d+) (Removed|Changed)", rest)
    return (MAJOR, rest) if any(int(count) for count, _ in counts) else (MINOR, text)


def numbers(version):
    if not re.fullmatch(r"\d+\.\d+\.\d+", version):
        raise Failed(f"'{version}' is not a version of three numbers")
    return tuple(map(int, version.split(".")))


def sufficient(base, level, version):
    """Whether a version says enough of a change of this level since `base`."""
    old, new = numbers(base), numbers(version)
    return (new >= old, new[:2] > old[:2], new[0] > old[0])[level] and new >= old


def is_released(folder, version):
    text = (folder / "CHANGELOG.md").read_text()
    return not re.search(rf"^## {re.escape(version)}, unreleased$", text, re.M)


def check(folder, library, record):
    """Compares one component, and prints the verdict. Whether it holds."""
    version = (folder / "VERSION").read_text().strip()
    kept = sorted((folder / "abi").glob(f"*.{platform.machine()}.xml"))
    with tempfile.TemporaryDirectory() as made:
        now = Path(made) / "now.xml"
        describe(library, folder / "include", now)
        if record:
            for path in kept:
                path.unlink()
            path = folder / "abi" / f"{version}.{platform.machine()}.xml"
            path.parent.mkdir(exist_ok=True)
            path.write_text(now.read_text())
            print(f"{folder.name}: wrote {path.name}")
            return True
        if not kept and not is_released(folder, version):
            print(f"{folder.name}: no release to compare with: {version} will be the first")
            return True
        if len(kept) != 1:
            raise Failed(f"{folder.name}: expected one file abi/VERSION.{platform.machine()}.xml,"
                         f" and found {len(kept)}; ./x abi --record writes it for a release")
        base = kept[0].name.removesuffix(f".{platform.machine()}.xml")
        level, text = compare(kept[0], now)
    said = f"{folder.name}: {NAMES[level]} since {base}, and VERSION is {version}"
    if not is_released(folder, base):
        print(f"{said}; {base} is not released and may change"
              + ("" if level == PATCH else ": ./x abi --record"))
        return sufficient(base, PATCH, version)
    good = sufficient(base, level, version)
    print(said if good else f"{said}, which says less\n{text}")
    return good


def base_of(folder):
    """The version whose interface is kept; None where there is none."""
    kept = list((folder / "abi").glob(f"*.{platform.machine()}.xml"))
    return kept[0].name.removesuffix(f".{platform.machine()}.xml") if len(kept) == 1 else None


def sonames_rise_together(folders):
    """With another soname of the core an add-on has another too. Else the package of the old one would be
    replaced by one for the new core while /etc/ld.so.preload still names the old core beside it."""
    versions = {folder: (base_of(folder), (folder / "VERSION").read_text().strip()) for folder in folders}
    rises = {folder: base is not None and numbers(version)[0] > numbers(base)[0]
             for folder, (base, version) in versions.items()}
    core = [folder for folder in folders if folder.name == "libcalloc"]
    if not core or not rises[core[0]]:
        return []
    return [f"{folder.name}: its first number has to rise with that of the core, to which it is linked"
            for folder in folders
            if (folder / "DEPENDENCIES").exists() and versions[folder][0] is not None and not rises[folder]
            and re.search(r"^libcalloc\.so\.", (folder / "DEPENDENCIES").read_text(), re.M)]


def main():
    arguments = [argument for argument in sys.argv[1:] if argument != "--record"]
    build, good = Path(arguments[0]), True
    for name in arguments[1:]:
        folder = Path(name)
        try:
            good = check(folder, build / folder.name / f"{folder.name}.so", "--record" in sys.argv) and good
        except Failed as reason:
            print(reason)
            good = False
    if "--record" not in sys.argv:
        wrong = sonames_rise_together([Path(name) for name in arguments[1:]])
        print("\n".join(wrong), end="\n" if wrong else "")
        good = good and not wrong
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
