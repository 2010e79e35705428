#!/usr/bin/env python3
"""calloc-preload on a small system below a folder: preload.py CALLOC-PRELOAD LIBRARY-FOLDER KILL-AT STATIC LIBRARY…

LIBRARY-FOLDER is where an installation puts the libraries. What is enabled, refused and taken out again, to
the byte; what ld.so makes of it; and kills at every system call."""

import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import small_root

small_root.as_root()
TOOL, FOLDER, KILL_AT, STATIC, EMPTY, BROKEN, *LIBRARIES = sys.argv[1:]
MULTIARCH = re.search(r"/lib/[^/]*$", FOLDER)
NAME = f"{FOLDER[:MULTIARCH.start()]}/$LIB" if MULTIARCH else FOLDER
CORE, SECURE = f"{NAME}/libcalloc.so.1\n", f"{NAME}/libcalloc-secure.so.1\n"
OURS = (CORE + SECURE).encode()
MARKER = "libcalloc statistics of process"


class System:
    """A copy of the small system, for one case."""

    def __init__(self, root):
        self.root = root
        self.file = root / "etc/ld.so.preload"
        self.conf = root / "etc/calloc/secure.conf"
        self.folder = root / FOLDER.lstrip("/")
        self.core = self.folder / "libcalloc.so.1"

    def tool(self, *arguments, status=0, says=""):
        result = subprocess.run([TOOL, *arguments, "--root", str(self.root)], text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        assert result.returncode == status, f"{arguments}: {result.returncode}: {result.stdout}"
        assert says in result.stdout, f"{arguments}: '{says}' is not in: {result.stdout}"
        return result.stdout

    def write(self, contents):
        if contents is None:
            self.file.unlink(missing_ok=True)
        else:
            self.file.write_bytes(contents)

    def contents(self):
        return self.file.read_bytes() if self.file.exists() else None

    def is_clean(self):
        """Nothing lies about but the files."""
        left = sorted(str(path.relative_to(self.root / "etc")) for path in (self.root / "etc").rglob("*"))
        return set(left) <= {"ld.so.preload", "calloc", "calloc/secure.conf"}

    def program(self, *command, **environment):
        return small_root.run(self.root, *(command or ["/bin/true"]), **environment)

    def runs_on_it(self):
        status, text = self.program("/bin/true", CALLOC_OPTIONS="statistics=1,secure.enable=1")
        return status == 0 and MARKER in text and "ERROR" not in text


def case_new_file(system):
    system.tool("enable", says="names the libraries")
    assert system.contents() == OURS
    assert system.file.stat().st_mode & 0o7777 == 0o644
    assert system.runs_on_it()
    system.tool("verify", says="run on them")
    system.tool("status", says="enabled")
    system.tool("enable", says="as it should be")
    assert system.contents() == OURS
    system.tool("disable")
    assert system.contents() is None and system.is_clean()
    system.tool("disable", says="names none")
    assert system.tool("disable", "--package") == ""
    system.tool("status", status=1, says="not enabled")
    system.tool("verify", status=1, says="not enabled")


def case_is_static(_):
    """It starts where no library can be loaded: it asks for no loader and needs none."""
    for option, word in (("-lW", "INTERP"), ("-dW", "NEEDED")):
        told = subprocess.run(["readelf", option, TOOL], stdout=subprocess.PIPE, text=True, check=True).stdout
        assert word not in told, told
        assert word in subprocess.run(["readelf", option, "/bin/sh"], stdout=subprocess.PIPE, text=True,
                                      check=True).stdout


def case_core_alone(system):
    system.tool("enable", "core")
    assert system.contents() == CORE.encode()
    assert MARKER in system.program(CALLOC_OPTIONS="statistics=1")[1]
    system.tool("enable", "core,secure")
    assert system.contents() == OURS
    system.tool("verify")


def case_other_lines(system):
    for name in "one.so", "two.so", "three.so":
        shutil.copy(EMPTY, system.root / name)
    for text in (b"/one.so\n", b"/one.so", b"\n\n /one.so\t/two.so:/three.so \n", b":/one.so:",
                 b"# a comment\n/one.so\n", b"/one.so # a comment", b"/one.so\n# libcalloc.so.1 was here\n",
                 b"#\n", b"\n", b" ", b"/one.so\n\0/two.so\n", b"/one.so\r\n", b"/missing.so\n"):
        system.write(text)
        before = system.program()
        system.tool("enable")
        assert system.contents() == OURS + text, system.contents()
        status, errors = system.program(CALLOC_OPTIONS="statistics=1,secure.enable=1")
        # What ld.so says of names of others it says as before.
        assert status == 0 and MARKER in errors and errors.startswith(before[1]), errors
        assert "libcalloc" not in errors.replace(MARKER, ""), errors
        system.tool("enable")
        assert system.contents() == OURS + text
        system.tool("disable")
        assert system.contents() == text
        assert system.program() == before and system.is_clean()


def case_names_in_other_places(system):
    shutil.copy(EMPTY, system.root / "one.so")
    for text, rest in ((b"/one.so /x/libcalloc.so.1\n", b"/one.so\n"),
                       (b"libcalloc.so.0:/one.so\n", b"/one.so\n"),
                       (b"/one.so\nlibcalloc-track.so.7\n", b"/one.so\n"),
                       (b"/one.so:libcalloc.so.1:/one.so", b"/one.so:/one.so"),
                       (b"/one.so\nlibcalloc.so.1", b"/one.so\n"),
                       (b"libcalloc.so.1 # ours\n/one.so", b"# ours\n/one.so"),
                       (b"libcalloc.so.1\n", None), (b"libcalloc.so\t \n", None)):
        system.write(text)
        system.tool("disable")
        assert system.contents() == rest, (text, system.contents())


def case_soname_changes(system):
    shutil.copy(EMPTY, system.root / "one.so")
    system.write(b"/usr/$LIB/libcalloc.so.0\n/usr/$LIB/libcalloc-secure.so.0\n/one.so\n")
    system.tool("verify", status=3, says="is missing")
    system.tool("refresh")
    assert system.contents() == OURS + b"/one.so\n"
    system.write(b"/usr/$LIB/libcalloc.so.0\n/one.so\n")
    system.tool("refresh")
    assert system.contents() == CORE.encode() + b"/one.so\n"
    system.write(b"/one.so\n")
    assert system.tool("refresh") == ""
    assert system.contents() == b"/one.so\n"
    system.write(None)
    system.tool("refresh")
    assert system.contents() is None
    # The order is wrong: an add-on before the core.
    system.write((SECURE + CORE).encode())
    system.tool("verify", status=3, says="refresh")
    system.tool("refresh")
    assert system.contents() == OURS


def case_level(system):
    system.tool("enable", "--level", "paranoid")
    assert system.conf.read_text().endswith("\nlevel = paranoid\n")
    assert system.conf.read_text().startswith("#")
    system.tool("status", says="paranoid")
    system.conf.write_text("# mine\n level=light\nsample = 1000\n[/bin/x]\nlevel = light\n")
    system.conf.chmod(0o600)
    system.tool("enable", "--level=standard", "secure")
    assert system.conf.read_text() == "# mine\nlevel = standard\nsample = 1000\n[/bin/x]\nlevel = light\n"
    assert system.conf.stat().st_mode & 0o7777 == 0o600
    system.conf.write_text("[**]\nlevel = light\n")
    system.tool("enable", "--level", "standard", status=1, says="[**]")
    assert system.conf.read_text() == "[**]\nlevel = light\n"
    system.tool("enable", "--level", "great", status=2, says="light, standard or paranoid")
    system.tool("enable", "--level", "light", "core", status=2)
    system.tool("enable", "secure,track", status=2, says="calloc run --with track")
    system.conf.write_text("leve = light\n")
    system.tool("status", status=3, says="unknown setting 'leve = light'")
    system.tool("disable")
    assert system.conf.read_text() == "leve = light\n"


def case_arguments(system):
    for arguments in (["enable", "secrue"], ["enable", ""], ["disable", "core"], ["enable", "--level"],
                      ["enable", "--brief"], ["frobnicate"], ["status", "x"], ["disable", "--level", "light"]):
        system.tool(*arguments, status=2, says="usage")
    for arguments in (["--help"], ["enable", "--help"], ["help"]):
        result = subprocess.run([TOOL, *arguments], stdout=subprocess.PIPE, text=True, check=True)
        assert "usage: calloc-preload" in result.stdout
    assert subprocess.run([TOOL, "status", "--root", "/nowhere"], stderr=subprocess.DEVNULL,
                          check=False).returncode == 1
    assert subprocess.run([TOOL], stderr=subprocess.DEVNULL, check=False).returncode == 2


def damage(system, how):
    real = system.folder / os.path.realpath(system.core).rpartition("/")[2]
    data = bytearray(real.read_bytes())
    if how == "missing":
        real.unlink()
        return "is missing"
    if how == "truncated":
        real.write_bytes(data[:len(data) // 2])
        return "truncated"
    if how == "empty":
        real.write_bytes(b"")
        return "not an ELF file"
    if how == "garbage":
        real.write_bytes(random.Random(1).randbytes(50000))
        return "not an ELF file"
    if how == "architecture":
        data[18:20] = (40).to_bytes(2, "little")
        real.write_bytes(data)
        return "another kind of machine"
    if how == "other":
        shutil.copy(EMPTY, real)
        return "another library"
    if how == "private":
        real.chmod(0o600)
        return "others may not read"
    if how == "folder":
        system.folder.chmod(0o700)
        return "others may not enter"
    raise AssertionError(how)


DAMAGES = ["missing", "truncated", "empty", "garbage", "architecture", "other", "private", "folder"]


def case_damaged_before(system):
    for how in DAMAGES:
        shutil.rmtree(system.folder)
        shutil.copytree(system.folder.parent / "kept", system.folder, symlinks=True)
        words = damage(system, how)
        system.tool("enable", status=1, says=words)
        assert system.contents() is None and system.is_clean()


def case_damaged_after(system):
    for how in DAMAGES:
        shutil.rmtree(system.folder)
        shutil.copytree(system.folder.parent / "kept", system.folder, symlinks=True)
        system.tool("enable")
        words = damage(system, how)
        system.tool("verify", status=3, says=words)
        system.tool("status", status=3, says=words)
        system.tool("disable")
        assert system.contents() is None and system.is_clean()


def case_other_malloc(system):
    """Known by its symbols, whatever its name; and by its name, where there is no such file."""
    shutil.copy(os.path.realpath(system.core), system.root / "harmless.so")
    shutil.copy(EMPTY, system.root / "one.so")
    for text, words in ((b"/harmless.so\n", "malloc of its own"),
                        (b"/one.so\nlibjemalloc.so.2\n", "malloc by its name"),
                        (b"/opt/libhardened_malloc-light.so", "malloc by its name")):
        system.write(text)
        system.tool("enable", status=1, says=words)
        assert system.contents() == text and system.is_clean()
    system.write(b"/one.so\n/missing.so\n")
    system.tool("enable", says="was not found")


def case_keeps_mode_and_link(system):
    shutil.copy(EMPTY, system.root / "one.so")
    system.write(b"/one.so\n")
    system.file.chmod(0o640)
    os.chown(system.file, 0, 0)
    system.tool("enable")
    assert system.file.stat().st_mode & 0o7777 == 0o640
    system.tool("verify", status=3, says="others may not read the file")
    system.tool("disable")
    assert system.file.stat().st_mode & 0o7777 == 0o640
    target = system.root / "etc/calloc/preload"
    target.parent.mkdir()
    system.file.rename(target)
    system.file.symlink_to("calloc/preload")
    system.tool("enable")
    assert system.file.is_symlink() and target.read_bytes() == OURS + b"/one.so\n"
    system.tool("disable")
    assert system.file.is_symlink() and target.read_bytes() == b"/one.so\n"


def case_does_not_work(system):
    """A library that breaks every program is found out."""
    (system.folder / os.path.realpath(system.core).rpartition("/")[2]).unlink()
    shutil.copy(BROKEN, system.folder / os.path.realpath(system.core).rpartition("/")[2])
    system.tool("enable", "core", status=1, says="by signal")
    assert system.contents() is None and system.is_clean()
    # And where it is enabled already, though nothing starts, it can be taken out.
    system.write(CORE.encode())
    assert system.program()[0] != 0
    system.tool("verify", status=3, says="DO NOT")
    system.tool("disable")
    assert system.program() == (0, "")


def case_at_once(system):
    """Many at the same time: the file is one or the other, and nothing is left."""
    shutil.copy(EMPTY, system.root / "one.so")
    text = b"/one.so\n"
    system.write(text)
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda i: subprocess.run(
            [TOOL, "enable" if i % 2 else "disable", "--root", str(system.root)], stdout=subprocess.DEVNULL,
            check=False).returncode, range(24)))
    assert results == [0] * 24, results
    assert system.contents() in (text, OURS + text) and system.is_clean()


# --- running processes -------------------------------------------------------------

# In the small system: a process from before, one with the libraries, a static one, and one of a program
# that is exempted; then the library is replaced.
PROCESSES = r"""
start() { "$2" -c ': > /ready-'$1'; kill -STOP $$' & eval $1=$!; until [ -e /ready-$1 ]; do :; done; }
start before /bin/sh
/calloc-preload enable --level standard >/log || exit
start with /bin/sh
start exempted /bin/exempted
/static wait & static=$!
until read -r name </proc/$static/comm && [ "$name" = static ]; do :; done
echo "$$ shell $before before $with with $exempted exempted $static static"
/calloc-preload status
echo "status $?"
mv /new/* LIBRARIES/
/calloc-preload status
kill -KILL $before $with $exempted $static
"""


def case_processes(system):
    for name, source in (("calloc-preload", TOOL), ("static", STATIC), ("bin/exempted", "/bin/sh")):
        shutil.copy(source, system.root / name)
    small_root.copy_program(system.root, "/bin/mv")
    (system.root / "proc").mkdir()
    (system.root / "new").mkdir()
    real = Path(os.path.realpath(system.core)).name
    shutil.copy(system.folder / real, system.root / "new" / real)
    system.conf.parent.mkdir()
    system.conf.write_text("[/bin/exempted]\nenable = 0\n")
    command = f'mount -t proc proc "{system.root}/proc" || exit 77; exec chroot "{system.root}" /bin/sh'
    result = subprocess.run(["unshare", "--mount", "sh", "-c", command], text=True, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, check=False, env={"PATH": os.environ["PATH"]},
                            timeout=120,
                            input=PROCESSES.replace("LIBRARIES", FOLDER))
    if result.returncode == 77:
        print("not tried: /proc cannot be mounted here:", result.stderr)
        return
    if result.stderr.startswith("unshare: "):
        print("not tried: no mounts of its own here, as in a chroot:", result.stderr)
        return
    said = result.stdout.splitlines()
    words = said[0].split()
    ids = dict(zip(words[1::2], words[::2]))
    at = said.index("status 0")

    def told(name, lines):
        """'yes level', or 'no reason'."""
        found = [line.split(None, 2)[2] for line in lines if line.split()[:1] == [ids[name]]]
        assert len(found) == 1, (name, found)
        return " ".join(found[0].split())

    assert told("before", said[1:at]) == "no started before it was enabled; restart it"
    assert told("shell", said[1:at]).startswith("no started before")
    assert told("with", said[1:at]) == "yes standard"
    assert told("exempted", said[1:at]) == "yes exempted: secure.enable is 0"
    assert told("static", said[1:at]) == "no statically linked"
    assert told("with", said[at:]) == "old the library was replaced since; restart it"
    outside = [line for line in said if line.split()[:1] == [str(os.getpid())]]
    assert len(outside) == 2 and "of its own" in outside[0], outside


# --- what ld.so makes of the file --------------------------------------------------


def case_loader_agrees(system):
    """ld.so complains of each name in the file, in order: they are those that the tool sees. The names do
    not exist; comments in every place, as ld.so's reading of more than one is odd."""
    choose = random.Random(7)
    refused = 0
    for _ in range(150):
        text = "".join(choose.choice(["/a", "bb", "#", "# c d", "\n", "\n", " ", ":", "\t", "/e.so", "libfoo.so"])
                       for _ in range(choose.randrange(1, 14)))
        system.write(text.encode())
        seen = re.findall(r"object '(.*)' from /etc/ld.so.preload", system.program()[1])
        told = re.findall(r"^  (\S+): not ours", system.tool("status", status=1), re.M)
        assert seen == told, (text, seen, told)
        # And where it is enabled, the same ones are read as before, with ours.
        result = subprocess.run([TOOL, "enable", "core", "--root", str(system.root)], stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT, text=True, check=False)
        if result.returncode == 0:
            status, errors = system.program(CALLOC_OPTIONS="statistics=1")
            after = re.findall(r"object '(.*)' from /etc/ld.so.preload", errors)
            assert after == seen and MARKER in errors and status == 0, (text, seen, after)
            system.tool("disable")
            assert system.contents().startswith(text.encode())
        else:
            refused += 1
            assert "comments" in result.stdout, result.stdout
            assert system.contents() == text.encode()
    assert 0 < refused < 50, refused


# --- kills ------------------------------------------------------------------------


def kill_everywhere(system, text, *command):
    """At every system call: the file is the old or the new one, and programs start."""
    system.write(text)
    subprocess.run([TOOL, *command, "--root", str(system.root)], stdout=subprocess.DEVNULL, check=True)
    new = system.contents()
    assert new != text
    runs = {new: system.program()}
    system.write(text)
    runs[text] = system.program()
    assert runs[new] == (0, "") and runs[text][0] == 0, runs
    outcomes, place = set(), 0
    while True:
        place += 1
        system.write(text)
        before = system.conf.read_bytes() if system.conf.exists() else None
        result = subprocess.run([KILL_AT, str(place), TOOL, *command, "--root", str(system.root)],
                                stdout=subprocess.PIPE, text=True, check=True).stdout
        found = system.contents()
        assert found in (text, new), (command, place, found)
        assert before is None or system.conf.read_bytes() == before
        outcomes.add(found)
        assert system.program() == runs[found], (command, place)
        if result.endswith("ended 0\n"):
            break
        assert result.endswith("killed\n"), result
    assert outcomes == {text, new}, outcomes
    # What a killed run left is no hindrance to the next one, and goes with it.
    system.tool("enable")
    system.tool("disable")
    assert system.is_clean()
    return place


def case_kills(system):
    shutil.copy(EMPTY, system.root / "one.so")
    places = [kill_everywhere(system, None, "enable"),
              kill_everywhere(system, b"/one.so\n", "enable", "--level", "standard"),
              kill_everywhere(system, OURS, "disable"),
              kill_everywhere(system, OURS + b"/one.so\n", "disable"),
              kill_everywhere(system, b"libcalloc.so.0\n/one.so\n", "refresh")]
    # A call is two places, and there cannot be fewer.
    assert min(places) > 60, places
    print("killed at", places, "places")


def case_order_of_writes(system):
    """What a loss of power may not find: the new file is written and synced before it gets the name, and
    the folder is synced after."""
    log = subprocess.run([KILL_AT, "0", TOOL, "enable", "--root", str(system.root)],
                         stdout=subprocess.PIPE, text=True, check=True).stdout
    calls = [line.split()[0] for line in log.splitlines() if re.match(r"\w+ -?\d+$", line)]
    at = calls.index("rename")
    assert calls.count("rename") == 1
    assert calls[at - 1] == "fsync" and "write" in calls[calls.index("truncate"):at - 1], calls
    assert "write" not in calls[at - 1:at]
    assert calls[at + 1:at + 3] == ["open", "fsync"], calls
    assert "lock" in calls[:at] and calls.index("lock") < calls.index("fork") < at
    log = subprocess.run([KILL_AT, "0", TOOL, "disable", "--root", str(system.root)],
                         stdout=subprocess.PIPE, text=True, check=True).stdout
    calls = [line.split()[0] for line in log.splitlines() if re.match(r"\w+ -?\d+$", line)]
    assert "fork" not in calls, calls
    assert "fsync" in calls[calls.index("unlink"):], calls


def main():
    failed = 0
    cases = [(name[5:], function) for name, function in globals().items() if name.startswith("case_")]
    with tempfile.TemporaryDirectory(prefix="calloc-preload-") as folder:
        base = small_root.make(Path(folder) / "base", FOLDER, LIBRARIES)
        shutil.copytree(base / FOLDER.lstrip("/"), base / FOLDER.lstrip("/") / ".." / "kept", symlinks=True)
        for name, function in cases:
            root = Path(folder) / name
            shutil.copytree(base, root, symlinks=True)
            root.chmod(0o755)
            try:
                function(System(root))
                print("ok", name, flush=True)
            except Exception as error:  # pylint: disable=broad-except
                failed += 1
                print("FAILED", name, error, flush=True)
                import traceback
                traceback.print_exc()
            shutil.rmtree(root)
    print(f"{len(cases) - failed} of {len(cases)} cases passed")
    return 1 if failed else 0


os.environ.pop("LD_PRELOAD", None)
sys.exit(main())
