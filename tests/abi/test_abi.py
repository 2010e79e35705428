#!/usr/bin/env python3
"""test_abi.py ABI.PY: what ./x abi says of a small library that is changed in one way at a time, and of
versions that say too little."""

import importlib.util
import subprocess
import sys
import tempfile
from pathlib import Path

specification = importlib.util.spec_from_file_location("abi", sys.argv[1])
abi = importlib.util.module_from_spec(specification)
specification.loader.exec_module(abi)

HEADER = """
#include <stddef.h>
enum colour { RED, GREEN };
struct plain { int first; int second; };
struct sized { size_t size; int first; };
struct cal_hooks { size_t size; void (*call)(void); };
int draw(struct plain *plain, enum colour colour);
int fill(const struct sized *sized);
void clear(void);
extern const struct cal_hooks cal_addon_example;
"""
SOURCE = """
#include <example.h>
int draw(struct plain *plain, enum colour colour) { return plain->first + (int)colour; }
int fill(const struct sized *sized) { return sized->first; }
void clear(void) {}
const struct cal_hooks cal_addon_example = {sizeof cal_addon_example, clear};
static int inside(int value) { return value; }
"""

# what changes: (in the header, in the source, what it is)
CHANGES = {
    "nothing": ({}, {}, abi.PATCH),
    "a function inside": ({}, {"static int inside(int value)": "static long inside(long value)"}, abi.PATCH),
    "a function more": ({"void clear(void);": "void clear(void); int more(int count);"},
                        {"void clear(void) {}": "void clear(void) {} int more(int count) { return count; }"},
                        abi.MINOR),
    "an enumerator more": ({"GREEN }": "GREEN, BLUE }"}, {}, abi.MINOR),
    "a field more behind a size": ({"size_t size; int first; }": "size_t size; int first; long last; }"}, {},
                                   abi.MINOR),
    "a hook more": ({"void (*call)(void); }": "void (*call)(void); void (*other)(int); }"}, {}, abi.MINOR),
    "a field more, and a function gone": (
        {"size_t size; int first; }": "size_t size; int first; long last; }", "void clear(void);": ""},
        {"void clear(void) {}": "", "cal_addon_example, clear": "cal_addon_example, NULL"}, abi.MAJOR),
    "a field more without a size": ({"int second; }": "int second; int third; }"}, {}, abi.MAJOR),
    "a field in the middle": ({"size_t size; int first; }": "size_t size; long new; int first; }"}, {},
                              abi.MAJOR),
    "a field of another type": ({"size_t size; int first; }": "size_t size; float first; }"}, {}, abi.MAJOR),
    "a hook of another type": ({"void (*call)(void); }": "int (*call)(void); }"},
                               {"cal_addon_example, clear": "cal_addon_example, NULL"}, abi.MAJOR),
    "a function gone": ({"void clear(void);": ""},
                        {"void clear(void) {}": "", "cal_addon_example, clear": "cal_addon_example, NULL"},
                        abi.MAJOR),
    "a parameter more": ({"int fill(const struct sized *sized);": "int fill(const struct sized *sized, int n);"},
                         {"int fill(const struct sized *sized) {": "int fill(const struct sized *sized, int n) { sized += n;"},
                         abi.MAJOR),
    "another result": ({"int fill(": "long fill("}, {"int fill(": "long fill("}, abi.MAJOR),
    "other values": ({"RED, GREEN": "GREEN, RED"}, {}, abi.MAJOR),
}

# last release, what changed since, VERSION: whether that is enough
VERSIONS = [
    ("1.2.3", abi.PATCH, "1.2.3", True), ("1.2.3", abi.PATCH, "1.2.4", True),
    ("1.2.3", abi.PATCH, "1.2.2", False), ("1.2.3", abi.MINOR, "1.2.4", False),
    ("1.2.3", abi.MINOR, "1.3.0", True), ("1.2.3", abi.MINOR, "2.0.0", True),
    ("1.2.3", abi.MAJOR, "1.3.0", False), ("1.2.3", abi.MAJOR, "2.0.0", True),
    ("1.9.0", abi.MINOR, "1.10.0", True), ("2.0.0", abi.MAJOR, "1.0.0", False),
    ("2.0.0", abi.PATCH, "1.9.9", False),
]


def replaced(text, changes):
    for old, new in changes.items():
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


def component(folder, header={}, source={}, version="1.0.0", log="## 1.0.0, 2026-01-01\n"):
    """A component's folder with the library built in `build`."""
    include = folder / "example" / "include"
    built = folder / "build" / "example"
    include.mkdir(parents=True, exist_ok=True)
    built.mkdir(parents=True, exist_ok=True)
    (include / "example.h").write_text(replaced(HEADER, header))
    (folder / "example.c").write_text(replaced(SOURCE, source))
    (folder / "example" / "VERSION").write_text(version + "\n")
    (folder / "example" / "CHANGELOG.md").write_text(log)
    subprocess.run(["cc", "-g", "-shared", "-fPIC", "-Wno-unused-function", "-I", include,
                    folder / "example.c", "-o", built / "example.so"], check=True)
    return folder / "example"


def verdict(folder, *options):
    """Status and output of the program itself."""
    return abi.run(sys.executable, sys.argv[1], *options, folder / "build", folder / "example")


def main():
    failed = []

    def expect(what, good, text=""):
        print(f"{'PASS' if good else 'FAIL'} {what}", text if not good else "", sep=" " if good else "\n")
        failed.extend([] if good else [what])

    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        component(folder)
        expect("a release without its file is an error", verdict(folder)[0] == 1)
        component(folder, log="## 1.0.0, unreleased\n")
        expect("no release yet is none", verdict(folder)[0] == 0)
        component(folder)
        status, text = verdict(folder, "--record")
        expect("is recorded", status == 0, text)
        for name, (header, source, level) in CHANGES.items():
            component(folder, header, source)
            status, text = verdict(folder)
            said = f"example: {abi.NAMES[level]} since 1.0.0, and VERSION is 1.0.0"
            expect(name, text.startswith(said) and status == (level != abi.PATCH), text)
        header, source, _ = CHANGES["a function gone"]
        component(folder, header, source, "2.0.0")
        expect("a function gone in 2.0.0", verdict(folder)[0] == 0)
        component(folder, header, source, log="## 1.0.0, unreleased\n")
        status, text = verdict(folder)
        expect("a function gone before the first release",
               status == 0 and "major since 1.0.0" in text and "not released" in text, text)
        subprocess.run(["strip", "-g", folder / "build" / "example" / "example.so"], check=True)
        status, text = verdict(folder)
        expect("a library without debug information is an error", status == 1 and "debug information" in text,
               text)
    with tempfile.TemporaryDirectory() as made:
        for name, base, version, needs in (("libcalloc", "1.4.0", "2.0.0", None),
                                           ("libcalloc-risen", "1.0.0", "2.0.0", "libcalloc.so.2"),
                                           ("libcalloc-left", "1.0.0", "1.1.0", "libcalloc.so.2"),
                                           ("libcalloc-apart", "1.0.0", "1.1.0", "libother.so.1"),
                                           ("libcalloc-new", None, "1.0.0", "libcalloc.so.2")):
            folder = Path(made) / name
            (folder / "abi").mkdir(parents=True)
            (folder / "VERSION").write_text(version + "\n")
            if base:
                (folder / "abi" / f"{base}.{abi.platform.machine()}.xml").write_text("")
            if needs:
                (folder / "DEPENDENCIES").write_text(needs + "\n")
        wrong = abi.sonames_rise_together(sorted(Path(made).iterdir()))
        expect("sonames of the core and of what is linked to it rise together",
               len(wrong) == 1 and wrong[0].startswith("libcalloc-left:"), str(wrong))
        (Path(made) / "libcalloc" / "VERSION").write_text("1.5.0\n")
        expect("and only then", abi.sonames_rise_together(sorted(Path(made).iterdir())) == [])
    for base, level, version, enough in VERSIONS:
        expect(f"{abi.NAMES[level]} since {base} in {version}: {'enough' if enough else 'too little'}",
               abi.sufficient(base, level, version) == enough)
    return 1 if failed else 0


sys.exit(main())
