#!/usr/bin/env python3
"""What is in the Debian packages: packages.py FOLDER SOURCE

FOLDER holds the packages that were built of the tree SOURCE. Versions follow from each component's VERSION
and debian/changelog; no runtime package depends on an add-on, preloadable ones on libc and the core alone,
and before they are unpacked; a runtime package holds its library and a -dev package what belongs to its
component, and nothing else; what an add-on's pkg-config file requires its -dev package brings along.
"""

import re
import subprocess
import sys
from pathlib import Path

TOOLS = ("calloc-tools", "libcalloc-preload")


def output(*command):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


class Package:
    """One .deb: its control fields and the files that it installs, without documentation's folder."""

    def __init__(self, path):
        self.path = path
        fields = output("dpkg-deb", "-f", path)
        self.fields = dict(re.findall(r"^([\w-]+): (.*(?:\n .*)*)", fields, re.M))
        self.name, self.version = self.fields["Package"], self.fields["Version"]
        listing = output("dpkg-deb", "-c", path).splitlines()
        control = subprocess.run(["dpkg-deb", "--ctrl-tarfile", path], check=True, stdout=subprocess.PIPE).stdout
        members = subprocess.run(["tar", "-t"], input=control, check=True, stdout=subprocess.PIPE).stdout
        self.has_symbols = b"./symbols\n" in members
        self.links, files = {}, []
        for line in listing:
            name, _, target = line.split(None, 5)[5].partition(" -> ")
            name = name[2:]
            if name and not name.endswith("/") and not name.startswith("usr/share/doc/"):
                files.append(name)
            if target and line[0] == "l":
                self.links[name] = target
        self.files = set(files)

    def needs(self, *fields):
        """The names of packages in these fields."""
        text = ", ".join(self.fields.get(field, "") for field in fields)
        return set(re.findall(r"(?:^|[,|])\s*([a-z0-9.+-]+)", text))


def component_rows(source):
    """What debian/components says: name, version, runtime package, -dev package."""
    rows = subprocess.run(["debian/components", "list"], cwd=source, check=True,
                          stdout=subprocess.PIPE, text=True).stdout
    return [line.split() for line in rows.splitlines()]


def runtime(package, name, version, core, preloadable):
    """What is wrong with a runtime package."""
    soname = f"{name}.so.{version.split('.')[0]}"
    wrong = []
    libraries = [file for file in package.files if re.fullmatch(rf"usr/lib/[\w-]+/{re.escape(soname)}", file)]
    if len(libraries) != 1 or package.files != set(libraries):
        wrong.append(f"holds {' '.join(sorted(package.files))}, expected {soname} alone")
    if set(libraries) & package.links.keys():
        wrong.append(f"{soname} is a link: dpkg would put it in place before what it points to")
    symbols = output("dpkg-deb", "-I", package.path, "symbols") if package.has_symbols else ""
    if f"\n* Build-Depends-Package: {name}-dev\n" not in symbols:
        wrong.append(f"has no symbols file that names {name}-dev: debian/{package.name}.symbols")
    needed = package.needs("Depends", "Pre-Depends")
    allowed = {"libc6", f"{name}-common"} | ({core} if name != "libcalloc" else set())
    if preloadable and needed - allowed:
        wrong.append(f"depends on {' '.join(sorted(needed - allowed))}, and can be preloaded")
    if preloadable and package.needs("Depends") - {f"{name}-common"}:
        wrong.append("has dependencies that are not there before it is unpacked")
    if preloadable and "libc6" not in package.needs("Pre-Depends"):
        wrong.append("does not pre-depend on libc6: is it empty?")
    if any(other.startswith("libcalloc") and other not in (core, f"{name}-common") for other in needed):
        wrong.append(f"depends on an add-on: {' '.join(sorted(needed))}")
    return wrong


def development(package, name, version, runtime_name, source):
    """What is wrong with a -dev package."""
    folder = source / name
    expected = {f"usr/include/{header.relative_to(folder / 'include')}"
                for header in (folder / "include").rglob("*.h*")}
    pages = {page.name for page in (folder / "man").glob("*.3")} | {f"{name}.7"}
    found_pages = {file for file in package.files if file.startswith("usr/share/man/")}
    own = {Path(file).name[:-3] for file in found_pages if file not in package.links}
    wrong = []
    if own != pages:
        wrong.append(f"has the manual pages {' '.join(sorted(own))}, expected {' '.join(sorted(pages))}")
    for file in found_pages & package.links.keys():
        if package.links[file][:-3] not in pages:
            wrong.append(f"{file} leads out of the package")
    libraries = {re.sub(r"^usr/lib/[\w-]+/", "", file) for file in package.files - found_pages
                 if file.startswith("usr/lib/")}
    if libraries != {f"{name}.so", f"{name}.a", f"pkgconfig/{name}.pc"}:
        wrong.append(f"has of libraries {' '.join(sorted(libraries))}")
    others = {file for file in package.files - found_pages if not file.startswith("usr/lib/")}
    if others != expected:
        wrong.append(f"has {' '.join(sorted(others ^ expected))} too much or not at all")
    if f"{runtime_name} (= {package.version})" not in package.fields["Depends"]:
        wrong.append(f"does not depend on just its {runtime_name}")
    required = re.findall(r"^Requires(?:\.private)?:(.*)", package_file(package, f"/{name}.pc"), re.M)
    for other in re.findall(r"lib[\w-]+", " ".join(required)):
        if f"{other}-dev" not in package.needs("Depends"):
            wrong.append(f"its pkg-config file requires {other}, and {other}-dev does not come along")
    return wrong


def shared(package, version):
    """What is wrong with a package of what all sonames of a component share."""
    wrong = []
    if package.fields["Architecture"] != "all" or package.fields.get("Multi-Arch") != "foreign":
        wrong.append("is not Architecture: all and Multi-Arch: foreign")
    if package.version != version:
        wrong.append(f"has the version {package.version}, expected {version}")
    if package.needs("Depends", "Pre-Depends"):
        wrong.append(f"depends on {package.fields['Depends']}: libraries of every soname depend on it")
    if not all(file.startswith("usr/share/man/man5/") for file in package.files):
        wrong.append(f"holds {' '.join(sorted(package.files))}, expected manual pages of files alone")
    return wrong


def package_file(package, ending):
    """The contents of one file of a package."""
    name = next(file for file in package.files if file.endswith(ending))
    archive = subprocess.Popen(["dpkg-deb", "--fsys-tarfile", package.path], stdout=subprocess.PIPE)
    with archive:
        return subprocess.run(["tar", "-xO", f"./{name}"], stdin=archive.stdout, check=True,
                              stdout=subprocess.PIPE, text=True).stdout


def preloadable(source, name):
    """A component whose file DEPENDENCIES names nothing but the core."""
    path = source / name / "DEPENDENCIES"
    return not path.exists() or not [line for line in path.read_text().split()
                                     if not re.fullmatch(r"libcalloc\.so\.\d+", line)]


def main():
    folder, source = Path(sys.argv[1]), Path(sys.argv[2])
    packages = {package.name: package for package in map(Package, folder.glob("*.deb"))}
    of_source = output("dpkg-parsechangelog", "-l", str(source / "debian/changelog"), "-S", "Version").strip()
    wrong, expected = [], set()
    rows = component_rows(source)
    core = next(row[2] for row in rows if row[0] == "libcalloc")
    for name, version, runtime_name, dev_name in rows:
        expected |= {runtime_name, dev_name}
        for package in (packages.get(runtime_name), packages.get(dev_name)):
            if package is None:
                wrong.append(f"there is no package {runtime_name} or no {dev_name}: does debian/control"
                             " have a stanza for it?")
                continue
            found = runtime(package, name, version, core, preloadable(source, name)) \
                if package.name == runtime_name else development(package, name, version, runtime_name, source)
            if package.version != f"{version}+{of_source}":
                found.append(f"has the version {package.version}, expected {version}+{of_source}")
            if package.fields.get("Multi-Arch") != "same":
                found.append("is not Multi-Arch: same")
            wrong += [f"{package.name}: {line}" for line in found]
        common = packages.get(f"{name}-common")
        if common is not None:
            expected.add(common.name)
            wrong += [f"{common.name}: {line}" for line in shared(common, f"{version}+{of_source}")]
    for name in packages.keys() - expected - set(TOOLS):
        if not name.endswith("-dbgsym"):
            wrong.append(f"{name}: belongs to no component")
    print("\n".join(wrong), end="\n" if wrong else "")
    return 1 if wrong else 0


sys.exit(main())
