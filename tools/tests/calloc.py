#!/usr/bin/env python3
"""The command calloc: calloc.py CALLOC BUILD-FOLDER STATIC-PROGRAM

`run` and `doctor` as a user calls them, on the libraries of the build tree."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

CALLOC, BUILD, STATIC = sys.argv[1:]
CORE = f"{BUILD}/libcalloc/libcalloc.so.1"
SECURE = f"{BUILD}/libcalloc-secure/libcalloc-secure.so.1"
TRACK = f"{BUILD}/libcalloc-track/libcalloc-track.so.1"
PLAIN = {"PATH": os.environ["PATH"], "LC_ALL": "C", "CALLOC_LIBRARIES": BUILD}


def call(*arguments, status=0, says="", **environment):
    """Standard output; STATUS is expected, and SAYS on standard error."""
    result = subprocess.run([CALLOC, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True, env={**PLAIN, **environment}, check=False,
                            timeout=100)
    assert result.returncode == status, (arguments, result.returncode, result.stdout, result.stderr)
    assert says in result.stderr, (arguments, says, result.stderr)
    if says == "":
        assert result.stderr == "", (arguments, result.stderr)
    return result.stdout


def variables(text):
    return dict(line.split("=", 1) for line in text.splitlines())


def case_run(_):
    call("run", "--option", "statistics=1", "--", "true", says="libcalloc statistics of process")
    call("run", "--level", "light", "true", says="statistics of", CALLOC_OPTIONS="statistics=1")
    assert call("run", "echo", "--with", "secure") == "--with secure\n"
    call("run", "--", "sh", "-c", "exit 7", status=7)
    call("run", "--", "sh", "-c", "kill -TERM $$", status=-15)
    given = variables(call("run", "--with", "secure", "env"))
    assert given["LD_PRELOAD"] == f"{CORE} {SECURE}" and "CALLOC_OPTIONS" not in given
    given = variables(call("run", "--level=paranoid", "--option", "retain=1M", "env",
                           LD_PRELOAD=CORE, CALLOC_OPTIONS="purge_delay=7"))
    assert given["LD_PRELOAD"] == f"{CORE} {SECURE}"
    assert given["CALLOC_OPTIONS"] == "purge_delay=7,secure.level=paranoid,retain=1M"
    assert "level" in call("run", "--with", "secure", "cat", "/proc/self/environ",
                           CALLOC_OPTIONS="secure.level=standard")
    maps = call("run", "--with", "secure", "cat", "/proc/self/maps")
    assert maps.index("libcalloc.so.1") >= 0 and maps.index("libcalloc-secure.so.1") >= 0


def case_run_finds_libraries(folder):
    flat = folder / "flat"
    flat.mkdir()
    for library in CORE, SECURE:
        shutil.copy(os.path.realpath(library), flat / Path(library).name)
    given = variables(call("run", "--with", "secure", "--libraries", str(flat), "env"))
    assert given["LD_PRELOAD"] == f"{flat}/libcalloc.so.1 {flat}/libcalloc-secure.so.1"
    (flat / "libcalloc-secure.so.1").unlink()
    call("run", "--libraries", str(flat), "true")
    call("run", "--libraries", str(flat), "--with", "secure", "true", status=125,
         says="libcalloc-secure.so.1 is missing: is the library installed? --libraries or $CALLOC_LIBRARIES names")
    (flat / "libcalloc.so.1").write_bytes(b"garbage")
    call("run", "true", status=125, says="is not an ELF file", CALLOC_LIBRARIES=str(flat))
    shutil.copy(os.path.realpath(CORE), flat / "libcalloc.so.1")
    os.truncate(flat / "libcalloc.so.1", 3000)
    call("run", "true", status=125, says="truncated", CALLOC_LIBRARIES=str(flat))
    call("run", "true", status=125, says="is missing", CALLOC_LIBRARIES="/nowhere")
    blank = folder / "a blank"
    blank.mkdir()
    shutil.copy(os.path.realpath(CORE), blank / "libcalloc.so.1")
    call("run", "true", status=125, says="cannot hold a path with a blank", CALLOC_LIBRARIES=str(blank))


def assert_is_there(sections, library):
    """That doctor has found a library of the build tree, and its version."""
    closed = [folder for folder in Path(CORE).parents if not os.stat(folder).st_mode & 1]
    if closed:
        # Then doctor warns of that instead, and has the path in the place of the name.
        print(f"not looked at: others may not enter {closed[0]}")
        assert any("others may not enter" in " ".join(fact) for fact in sections["libraries"].values())
        return
    assert sections["libraries"][library][:2] == ("1.0.0", "fact")


def case_run_with_track(folder):
    profile = folder / "a profile"
    call("run", "--with", "track", "--option", f"track.path={profile}", "sh", "-c", "exit 3", status=3,
         says=f"the profile is {profile}")
    assert profile.read_bytes()[:8] == b"CALTRACK"
    given = variables(call("run", "--with", "secure,track", "--option", "track.quiet=1",
                           "--option", f"track.path={profile}", "env"))
    assert given["LD_PRELOAD"] == f"{CORE} {SECURE} {TRACK}"
    sections = facts(status=subprocess.run([CALLOC, "doctor"], env=PLAIN, stdout=subprocess.DEVNULL,
                                           check=False).returncode, CALLOC_OPTIONS="track.sample=512K")
    assert sections["options"]["track.sample"][0] == "512K"
    assert_is_there(sections, "libcalloc-track")


def case_run_refuses(folder):
    plain = folder / "plain"
    plain.write_text("#!/bin/sh\nexit 3\n")
    for words, status, says in ((["nosuchprogram"], 127, "no program 'nosuchprogram'"),
                                (["/nowhere/x"], 127, "no program"), ([""], 127, "no program ''"),
                                ([str(plain)], 126, "cannot be executed: Permission denied"),
                                ([str(folder)], 126, "cannot be executed: Is a directory"),
                                (["--level", "high", "true"], 2,
                                 "bad value 'secure.level=high' (light, standard or paranoid)"),
                                (["--with", "frob", "true"], 2, "no add-on 'frob'"),
                                (["--option", "retain=-1", "true"], 2, "bad value"),
                                (["--option", "secure.level=light", "true"], 2, "needs --with secure"),
                                (["--option", "track.quiet=1", "true"], 2, "needs --with track"),
                                (["--option", "frob.x=1", "true"], 2, "no add-on 'frob'"),
                                (["--with", "track", "--option", "track.leaks=3", "true"], 2,
                                 "bad value 'track.leaks=3' (0 to 2)"),
                                (["--frob", "true"], 2, "wrong option"), ([], 2, "which program?")):
        call("run", *words, status=status, says=says)
    plain.chmod(0o755)
    call("run", str(plain), status=3)
    plain.write_text("#!/nowhere/interpreter\n")
    call("run", str(plain), status=127, says="/nowhere/interpreter")
    plain.write_bytes(b"\x7fELF garbage")
    call("run", str(plain), status=126, says="Exec format error")
    # In a folder of PATH: what cannot be executed is told from what is not there.
    other = folder / "other"
    other.mkdir()
    (other / "frobnicate").write_text("x")
    call("run", "frobnicate", status=126, says="Permission denied", PATH=f"{other}:{PLAIN['PATH']}")
    (folder / "frobnicate").write_text("#!/bin/sh\nexit 5\n")
    (folder / "frobnicate").chmod(0o755)
    call("run", "frobnicate", status=5, PATH=f"{other}:{folder}:{PLAIN['PATH']}")


def case_run_says_what_a_preload_cannot(folder):
    call("run", STATIC, status=9, says="is statically linked")
    script = folder / "script"
    script.write_text(f"#!{STATIC}\n")
    script.chmod(0o755)
    call("run", str(script), status=9, says="is statically linked")
    program = folder / "setuid"
    shutil.copy("/bin/true", program)
    try:
        os.chown(program, 1, 1)
    except PermissionError:
        print("not tried, as this is not root: a setuid program")
        return
    program.chmod(0o4755)
    call("run", str(program), says="more rights than its user")


def facts(*arguments, status=0, **environment):
    """The sections of doctor's JSON, each name -> (value, state, remark)."""
    document = json.loads(call("doctor", "--json", *arguments, status=status, **environment))
    sections = {title: {fact["name"]: (fact["value"], fact["state"], fact.get("remark", ""))
                        for fact in section} for title, section in document["sections"].items()}
    warnings = [fact for section in sections.values() for fact in section.values() if fact[1] == "warning"]
    assert len(warnings) == document["warnings"] and bool(warnings) == (status == 1)
    return sections


def case_doctor(_):
    text = subprocess.run([CALLOC, "doctor"], env=PLAIN, stdout=subprocess.PIPE, text=True, check=False)
    assert text.returncode in (0, 1) and "MADV_GUARD_INSTALL" in text.stdout
    system = text.returncode
    sections = facts(status=system)
    assert set(sections) == {"libraries", "options", "/etc/ld.so.preload", "kernel", "memory", "limits"}
    assert_is_there(sections, "libcalloc")
    assert sections["kernel"]["getrandom"][0] == "works"
    assert sections["options"]["retain"][0] == "1024G"
    assert sections["options"]["secure.level"][0] == "light"
    assert int(sections["limits"]["vm.max_map_count"][0]) == int(
        Path("/proc/sys/vm/max_map_count").read_text())
    sections = facts(status=system, CALLOC_OPTIONS="retain=5M,secure.level=standard")
    assert sections["options"]["retain"][0] == "5M" and "default 1024G" in sections["options"]["retain"][2]
    assert sections["options"]["secure.quarantine"][0] == "64K"
    sections = facts(status=1, CALLOC_OPTIONS="retian=5M")
    assert "unknown option 'retian=5M'" in sections["options"]["complaint"][0]
    sections = facts("/bin/cat", status=system)
    assert sections["program"]["preload"][0] == "works"
    # A preload that works is of no use without what is preloaded.
    for words in (["/bin/cat"], []):
        sections = facts(*words, status=1, CALLOC_LIBRARIES="/nowhere")
        assert sections["libraries"]["libcalloc"][:2] == ("not installed", "warning")
        assert "/nowhere/libcalloc.so.1; --libraries" in sections["libraries"]["libcalloc"][2]
        assert sections["libraries"]["libcalloc-secure"][:2] == ("not installed", "note")
    sections = facts(STATIC, status=1)
    assert "statically linked" in sections["program"]["preload"][2]
    limited = subprocess.run(["sh", "-c", 'ulimit -v 500000; exec "$0" doctor', CALLOC], env=PLAIN,
                             stdout=subprocess.PIPE, text=True, check=False)
    assert limited.returncode == 1 and "! RLIMIT_AS" in limited.stdout, limited.stdout


def case_doctor_of_processes(folder):
    libraries = folder / "libraries"
    libraries.mkdir()
    for library in CORE, SECURE:
        shutil.copy(os.path.realpath(library), libraries / Path(library).name)
    for with_, environment in (("secure", {"CALLOC_OPTIONS": "secure.level=paranoid"}), ("core", {})):
        with subprocess.Popen([CALLOC, "run", "--libraries", str(libraries), "--with", with_, "--", "sh", "-c",
                               "echo; read -r line"], env={**PLAIN, **environment}, stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE) as process:
            process.stdout.readline()
            system = subprocess.run([CALLOC, "doctor"], env=PLAIN, stdout=subprocess.DEVNULL,
                                    check=False).returncode
            sections = facts(str(process.pid), status=system)
            assert sections["process"]["id"][0] == process.pid
            assert f"{libraries}/libcalloc.so.1" in sections["process"]
            assert (f"{libraries}/libcalloc-secure.so.1" in sections["process"]) == (with_ == "secure")
            assert sections["options"]["secure.level"][0] == environment.get(
                "CALLOC_OPTIONS", "secure.level=light")[13:]
            shutil.copy(libraries / "libcalloc.so.1", libraries / "new")
            (libraries / "new").rename(libraries / "libcalloc.so.1")
            sections = facts(str(process.pid), status=1)
            assert "restart" in sections["process"][f"{libraries}/libcalloc.so.1"][2]
            process.stdin.close()
    sections = facts(str(os.getpid()), status=system)
    assert sections["process"]["libraries"][0] == "none loaded"


def case_arguments(_):
    call(status=2, says="usage")
    call("frob", status=2, says="no command 'frob'")
    call("doctor", "--frob", status=2, says="wrong option")
    call("doctor", "a", "b", status=2, says="too many")
    call("doctor", "2147483646", status=125, says="no process")
    call("doctor", "/nowhere/x", status=127, says="no program")
    for words in (["--help"], ["help"], ["-h"]):
        assert "run" in call(*words) and "doctor" in call(*words)
    for command in "run", "doctor":
        assert call(command, "--help") == call("help", command) != ""
        assert f"usage: calloc {command}" in call(command, "--help")
    assert call("--version").startswith("calloc ")
    with open("/dev/full", "w", encoding="ascii") as full:
        result = subprocess.run([CALLOC, "--help"], stdout=full, stderr=subprocess.PIPE, check=False)
    assert result.returncode == 125 and b"No space" in result.stderr


def main():
    failed = 0
    cases = [(name[5:], function) for name, function in globals().items() if name.startswith("case_")]
    for name, function in cases:
        with tempfile.TemporaryDirectory(prefix="calloc-") as folder:
            os.chmod(folder, 0o755)
            try:
                function(Path(folder))
                print("ok", name, flush=True)
            except Exception:  # pylint: disable=broad-except
                failed += 1
                print("FAILED", name, flush=True)
                import traceback
                traceback.print_exc(file=sys.stdout)
    print(f"{len(cases) - failed} of {len(cases)} cases passed")
    return 1 if failed else 0


sys.exit(main())
