#!/usr/bin/env python3
"""Manual pages as they are installed: manuals.py STAGE COMPONENT-FOLDER…

STAGE is where `meson install --destdir` put everything. Every symbol that a library exports has a page:
a cal_ function one of its own in section 3, which names it and shows how it is called; a variable is
named in some page; the malloc family, which has no version, is named in libcalloc(7).
Every program has a page. Every page of section 3 has an example, and every example compiles against what
is installed, without a warning, and ends with status 0. `mandoc -T lint` finds nothing, and every reference
to a page of ours leads somewhere.
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import symbols

OURS = re.compile(r"^(cal_|calloc-|libcalloc)")
# What mandoc asks its database of the system about, which is not about these pages.
DATABASE = re.compile(r"referenced manual not found|mandoc\.db")


def only(paths, what):
    paths = list(paths)
    if len(paths) != 1:
        sys.exit(f"expected one {what} and found {len(paths)}")
    return paths[0]


def names_of(page):
    """What the section NAME of a page names."""
    return set(re.findall(r"^\.Nm (\S+)", page.read_text(), re.M))


def documented(symbol, version, folder, man):
    """What is wrong with the page of one exported symbol."""
    overview = man / "man7" / f"{folder.name}.7"
    if version == "":
        family = symbol if not symbol.startswith("_Z") else f"operator {operator(symbol)}"
        named = re.search(rf"^\.(Fn|Li) {family}\b", overview.read_text(), re.M)
        return [] if named else [f"{overview.name}: does not name {family}, which {folder.name} exports"]
    if symbol.startswith("cal_addon_"):
        named = any(f".Va {symbol}" in page.read_text() for page in man.glob("man?/*"))
        return [] if named else [f"{folder.name}: exports {symbol}, which no page mentions"]
    page = man / "man3" / f"{symbol}.3"
    if not page.exists():
        return [f"{folder.name}: exports {symbol}, and there is no {symbol}(3)"]
    wrong = []
    text = page.read_text()
    if symbol not in names_of(page):
        wrong.append(f"{page.name}: does not name {symbol} in its first section")
    synopsis = text.partition(".Sh SYNOPSIS")[2].partition(".Sh ")[0]
    if not re.search(rf"^\.F[no] {symbol}\b", synopsis, re.M):
        wrong.append(f"{page.name}: does not show in SYNOPSIS how {symbol} is called")
    return wrong


def operator(symbol):
    """new or delete, in the names that the Itanium ABI gives the operators."""
    return {"_Zn": "new", "_Zd": "delete"}.get(symbol[:3], symbol)


def example(path, flags, environment, folder):
    """Compiles and runs one; what is wrong with it."""
    program = folder / path.stem
    compiled = subprocess.run(["cc", "-O1", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror", path, "-o",
                               program, *flags, "-pthread"], stderr=subprocess.PIPE, text=True)
    if compiled.returncode:
        return [f"{path}: does not compile\n{compiled.stderr}"]
    ran = subprocess.run([program], cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                         text=True, timeout=60)
    return [] if ran.returncode == 0 else [f"{path}: ends with {ran.returncode}\n{ran.stdout}"]


def examples(folder, pages, environment):
    """All that the pages show, linked as the overview says. examples.py holds the text in the page to that of the file."""
    overview = next(page for page in pages if page.name == f"{folder.name}.7").read_text()
    said = re.search(r"\$\((pkg-config --cflags --libs [a-z -]+)\)", overview)
    if not said:
        return [f"{folder.name}.7: does not say how to link with it"]
    flags = subprocess.run(said[1].split(), env=environment, check=True,
                           stdout=subprocess.PIPE, text=True).stdout.split()
    wrong = []
    for page in pages:
        shown = re.findall(r'^\.\\" example (\S+)$', page.read_text(), re.M)
        if not shown and page.suffix == ".3":
            wrong.append(f"{page.name}: has no example")
        with tempfile.TemporaryDirectory() as made:
            for name in shown:
                wrong += example(folder / "examples" / name, flags, environment, Path(made))
    return wrong


def lint(page, installed):
    found = subprocess.run(["mandoc", "-T", "lint", page], stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, text=True).stdout.splitlines()
    wrong = [line for line in found if not DATABASE.search(line)]
    for name, section in re.findall(r"^\.Xr (\S+) (\d)", page.read_text(), re.M):
        if OURS.match(name) and f"{name}.{section}" not in installed:
            wrong.append(f"{page}: refers to {name}({section}), which is not there")
    return wrong


def main():
    stage, folders = Path(sys.argv[1]), [Path(name) for name in sys.argv[2:]]
    man = only(stage.glob("**/share/man"), "folder of manual pages")
    pkgconfig = only(stage.glob("**/pkgconfig"), "folder of pkg-config files")
    environment = {**os.environ, "PKG_CONFIG_SYSROOT_DIR": str(stage), "PKG_CONFIG_PATH": str(pkgconfig),
                   "LD_LIBRARY_PATH": str(pkgconfig.parent)}
    wrong, count = [], 0
    for folder in folders:
        pages = sorted(page for page in man.glob("man?/*") if not page.is_symlink()
                       and (folder / "man" / page.name).exists())
        library = pkgconfig.parent / f"{folder.name}.so"
        for symbol, version in sorted(symbols.exported(library).items()):
            wrong += documented(symbol, version, folder, man)
            count += 1
        wrong += examples(folder, pages, environment)
    installed = {page.name for page in man.glob("man?/*")}
    for page in sorted(man.glob("man?/*")):
        if not page.is_symlink():
            wrong += lint(page, installed)
    for program in [*stage.glob("**/bin/*"), *stage.glob("**/sbin/*")]:
        if not installed & {f"{program.name}.1", f"{program.name}.8"}:
            wrong.append(f"{program.name}: a program without a manual page")
    if not count:
        wrong.append("no exported symbol found")
    print("\n".join(wrong), end="\n" if wrong else "")
    return 1 if wrong else 0


sys.exit(main())
