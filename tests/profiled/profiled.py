#!/usr/bin/env python3
"""Real programs under the heap profiler, as a user records them: profiled.py CALLOC BUILD FOLDER [--long] [NAME…]

Each program does some work under `calloc record`, with the result that it has without; then every form of the report is
made of the profile and read by what it is for: the JSON, which has to agree with itself, valgrind's ms_print, a script
that draws flame graphs, pprof's format. --long adds programs with a window, a browser as a program, `go tool pprof`, and
the page of each profile in a browser. All of them, or only the named ones; the profiles and what was made of them stay in
FOLDER. Exit status 77, with the reason, where a program is not there."""

import gzip
import json
import os
import re
import shutil
import subprocess
import sys
import time
import xml.etree.ElementTree
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "tools" / "report" / "tests"))
sys.path.insert(0, str(HERE))

import browser  # noqa: E402
import flame  # noqa: E402
from test_report import decode_pprof  # noqa: E402

CALLOC, BUILD = map(os.path.abspath, sys.argv[1:3])
PLAIN = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "TZ": "UTC", "CALLOC_LIBRARIES": BUILD}
LOST = "[frames that were not found]"
skipped = []


class Missing(Exception):
    """What the case needs is not installed."""


def need(package, *programs):
    for program in programs:
        if not shutil.which(program):
            raise Missing(f"there is no {program}: package {package}")


def call(*words, status=0, stdin=b"", folder=None, **environment):
    done = subprocess.run([str(word) for word in words], input=stdin, capture_output=True, cwd=folder, check=False,
                          env={**PLAIN, **environment}, timeout=300)
    assert done.returncode == status, (words, done.returncode, done.stdout[-2000:], done.stderr[-2000:])
    return done.stdout, done.stderr.decode()


def record(path, *program, status=0, stdin=b"", folder=None, **environment):
    """Standard output of the program, and what record has said."""
    out, errors = call(CALLOC, "record", "-o", path, "--", *program, status=status, stdin=stdin, folder=folder,
                       **{"HOME": str(path.parent), **environment})
    assert f"calloc record: calloc report {path} shows it" in errors, errors
    return out.decode(), errors


def report(path, *options):
    out, errors = call(CALLOC, "report", *options, path)
    assert errors == "", errors
    return out


# --- what a profile is read by ---------------------------------------------------------------


class Profile:
    """What --json says, which has to agree with itself."""

    def __init__(self, path, *options):
        self.path = path
        self.all = json.loads(report(path, "--json", *options))
        self.totals = self.all["totals"]
        self.names = [metric["name"] for metric in self.all["metrics"]]
        assert not self.all["warnings"], self.all["warnings"]
        assert self.totals["lost"] == 0, self.totals
        for name in "allocations", "allocated_bytes", "peak_bytes", "temporaries", "live_bytes", "live_blocks":
            assert self.sum(name) == self.totals[name], (path, name, self.sum(name), self.totals[name])
        for thing in "blocks", "bytes":
            leaked = sum(self.totals[f"leaked_{kind}_{thing}"] for kind in ("direct", "indirect"))
            assert self.sum(f"leaked_{thing}") == leaked, (path, thing)
        assert self.totals["peak_bytes"] >= self.totals["live_bytes"]
        assert self.totals["peak_bytes"] >= max(moment["live_bytes"] for moment in self.all["timeline"]) * 0.99

    def sum(self, metric, *within):
        """Of the stacks in which one of the functions, or all stacks."""
        index, numbers, sums = self.names.index(metric), set(), 0
        wanted = {i for i, name in enumerate(self.all["strings"]) if name in within}
        if within:
            nodes, positions = self.all["nodes"], self.all["positions"]
            for node in range(1, len(nodes) // 2):  # callers come first
                if nodes[2 * node] in numbers or positions[nodes[2 * node + 1]][0] in wanted:
                    numbers.add(node)
        for site in self.all["sites"]:
            if not within or site["node"] in numbers:
                sums += site["values"][index]
        return sums

    def modules(self):
        return {os.path.basename(self.all["strings"][position[3]]) for position in self.all["positions"]}


def whole_stacks(profile, most_lost=0.01):
    """Nearly all stacks go up to where the thread began."""
    lost = profile.sum("allocations", LOST)
    assert lost <= most_lost * profile.totals["allocations"], (profile.path, lost, profile.totals["allocations"])


def look_at(profile):
    """Every form of the report says what the JSON says."""
    path, totals = profile.path, profile.totals
    text = report(path).decode()
    assert re.search(rf"^  allocated +{totals['allocations']:,} blocks ", text, re.M), text[:1000]
    assert "Most allocations (" in text and ("\nLeaks\n" in text or "\nNo leaks\n" in text), text
    sizes = text.split("\nSize classes\n")[1].split("\n\n")[0]
    assert re.search(r"^ +[0-9.]+ \w+ +[1-9]", sizes, re.M) and not re.search(r"^ +[0-9.]+ \w+ +0 ", sizes, re.M), sizes

    collapsed = report(path, "--collapsed", "-m", "allocated_bytes").decode()
    root = flame.read(collapsed.splitlines())
    assert root[0] == totals["allocated_bytes"], (root[0], totals)
    svg = path.with_name(path.name + ".svg")
    svg.write_text("\n".join(flame.draw(root, profile.all["process"]["command"])))
    bars = xml.etree.ElementTree.parse(svg).getroot().findall("{http://www.w3.org/2000/svg}g")
    assert len(bars) > 20 and bars[0][0].text == f"all: {totals['allocated_bytes']}", len(bars)

    massif = path.with_name(path.name + ".massif")
    report(path, "--massif", "-o", massif)
    shown, errors = call("ms_print", massif)
    assert errors == "" and b"(peak)" in shown and f"{totals['peak_bytes']:,}".encode() in shown, (errors, shown[:2000])

    pprof = path.with_name(path.name + ".pb.gz")
    report(path, "--pprof", "-o", pprof)
    decoded = decode_pprof(gzip.decompress(pprof.read_bytes()))
    kinds = [decoded["strings"][kind[1]] for kind in decoded["types"]]
    for kind, name in (("alloc_objects", "allocations"), ("inuse_space", "live_bytes"), ("peak_space", "peak_bytes")):
        assert sum(values[kinds.index(kind)] for _, values in decoded["samples"]) == totals[name], kind

    html = path.with_name(path.name + ".html")
    report(path, "--html", "-o", html)
    assert json.loads(html.read_text().split('id="profile">')[1].split("</script>")[0]) == profile.all


def go_pprof(profile):
    need("golang-go", "go")
    for index, name in ("alloc_objects", "allocations"), ("peak_space", "peak_bytes"):
        shown, _ = call("go", "tool", "pprof", f"-sample_index={index}", "-top", "-unit=B", "-nodecount=5",
                        profile.path.with_name(profile.path.name + ".pb.gz"), HOME=str(profile.path.parent))
        assert f"of {profile.totals[name]}B total" in shown.decode(), (name, profile.totals[name], shown)


def others(path):
    """Profiles of the other processes, by the name of their program; the one with the most of each."""
    found = {}
    for other in path.parent.glob(f"{path.name}.*"):
        if other.suffix[1:].isdigit():
            profile = Profile(other, "--no-symbols")
            name = os.path.basename(profile.all["process"]["program"])
            if name not in found or profile.totals["allocations"] > found[name].totals["allocations"]:
                found[name] = profile
    return {name: Profile(profile.path) for name, profile in found.items()}


# --- programs ---------------------------------------------------------------------------------


def case_python(folder):
    (folder / "work.py").write_text(
        "import json\n"
        "rows = [{'name': f'row {i}', 'values': [i * j for j in range(20)]} for i in range(2000)]\n"
        "text = json.dumps(rows)\n"
        "assert json.loads(text) == rows\n"
        "print(len(text))\n")
    words = ["/usr/bin/python3", folder / "work.py"]
    alone = call(*words)[0].decode()
    # Its own pools would be one block each to the profiler.
    out, _ = record(folder / "profile", *words, PYTHONMALLOC="malloc")
    assert out == alone, out
    profile = Profile(folder / "profile")
    whole_stacks(profile)
    assert profile.totals["allocations"] > 100000, profile.totals
    assert profile.sum("allocations", "_PyEval_EvalFrameDefault") > 0.9 * profile.totals["allocations"]
    # All that it holds is reachable: it keeps no pointers in pools of its own then.
    assert profile.sum("leaked_bytes") <= 0.01 * profile.totals["peak_bytes"], profile.totals
    return profile, "_PyEval_EvalFrameDefault"


def case_gcc(folder):
    (folder / "file.c").write_text(
        "#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n" +
        "".join(f"static int f{i}(int a, int b) {{ for (int j = a; j < b; j++) a += j * {i} ^ (a >> 3); return a; }}\n"
                for i in range(60)) +
        "int main(int c, char **v)\n{\n    int s = (int)strlen(v[0]);\n" +
        "".join(f"    s += f{i}(s, c);\n" for i in range(60)) + '    printf("%d\\n", s);\n    return 0;\n}\n')
    words = ["gcc", "-O2", "-g", "-frandom-seed=1", "-c", "file.c"]
    call(*words, "-o", "alone.o", folder=folder)
    _, errors = record(folder / "profile", *words, "-o", "file.o", folder=folder)
    # The compiler proper and the assembler, with files of their own.
    assert "2 other processes wrote" in errors and f"most is known of cc1: calloc report {folder}/profile." in errors, errors
    call("cmp", folder / "alone.o", folder / "file.o")
    found = others(folder / "profile")
    assert {"cc1"} < set(found), found
    profile = found["cc1"]
    whole_stacks(profile)
    assert profile.totals["allocations"] > 3000 and "cc1" in profile.modules(), profile.totals
    return profile, "cc1"


def case_git(folder):
    (folder / "work.sh").write_text(
        "set -e\n"
        "git init -q -b main one\ncd one\n"
        "for i in 1 2 3 4; do\n"
        "    for f in a b c d e f; do seq $i $((i * 300)) >$f$i; done\n"
        "    git add -A\n    git commit -q -m \"commit $i\"\n"
        "done\n"
        "git gc -q --aggressive --prune=now\ngit fsck --full --strict >&2\n"
        "git log --stat --format=%s\ncd ..\n"
        "git clone -q --no-local one two\ngit -C two rev-parse HEAD\n")
    environment = {f"GIT_{who}_{what}": value for who in ("AUTHOR", "COMMITTER")
                   for what, value in (("NAME", "somebody"), ("EMAIL", "s@example.invalid"),
                                       ("DATE", "1700000000 +0000"))}
    results = []
    for name, run in (("alone", lambda *words, **more: (call(*words, **more)[0].decode(), "")),
                      ("recorded", lambda *words, **more: record(folder / "profile", *words, **more))):
        (folder / name).mkdir()
        results.append(run("sh", folder / "work.sh", folder=folder / name, HOME=str(folder),
                           GIT_CONFIG_NOSYSTEM="1", **environment)[0])
    assert results[0] == results[1] and "commit 4" in results[1], results
    call("git", "-C", folder / "recorded" / "two", "fsck", "--full")
    profile = others(folder / "profile")["git"]
    whole_stacks(profile)
    assert profile.totals["allocations"] > 500 and "git" in profile.modules(), profile.totals
    return profile, "git"


def case_redis(folder):
    need("redis-server", "redis-server")
    need("redis-tools", "redis-cli")
    path, socket = folder / "profile", folder / "socket"

    def client(*words, **more):
        return call("redis-cli", "-s", socket, *words, **more)[0].decode()

    with open(folder / "errors", "w", encoding="utf-8") as errors:
        server = subprocess.Popen(
            [CALLOC, "record", "-o", path, "--", "redis-server", "--port", "0", "--unixsocket", socket, "--save", "",
             "--appendonly", "no", "--dir", folder, "--daemonize", "no", "--logfile", folder / "log"],
            env={**PLAIN, "HOME": str(folder)}, stdin=subprocess.DEVNULL, stderr=errors)
    try:
        while subprocess.run(["redis-cli", "-s", socket, "ping"], capture_output=True, check=False).stdout != b"PONG\n":
            assert server.poll() is None, (folder / "errors").read_text()
            time.sleep(0.05)
        commands = "".join(f"set key{i} {'x' * (i + 1)}\nrpush list {i}\nhset hash{i % 7} field{i} {i}\nzadd sorted {i} m{i}\n"
                           for i in range(150))
        answers = client(stdin=commands.encode()).split()
        assert answers.count("OK") == 150 and "ERR" not in answers, answers[:30]
        assert client("get", "key77") == "x" * 78 + "\n" and client("llen", "list") == "150\n"
        assert client("dbsize") == "159\n"
        client("shutdown", "nosave")
        assert server.wait(60) == 0
    finally:
        if server.poll() is None:
            server.terminate()  # which it passes on
            server.wait(60)
    assert f"calloc report {path} shows it" in (folder / "errors").read_text()
    profile = Profile(path)
    whole_stacks(profile)
    assert profile.sum("live_blocks", "processCommand") >= 150 + 159, profile.totals
    return profile, "processCommand"


def case_gtk(folder):
    """A window with a list, which closes by itself."""
    need("xvfb", "Xvfb")
    need("zenity", "zenity")
    reading, writing = os.pipe()
    display = subprocess.Popen(["Xvfb", "-displayfd", str(writing), "-screen", "0", "800x600x24", "-nolisten", "tcp"],
                               pass_fds=[writing], stderr=subprocess.DEVNULL)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        number = pipe.readline().strip()
    try:
        assert number, "Xvfb has no display"
        # Status 5: the time was over.
        rows = "".join(f"{i}\n" for i in range(200)).encode()
        record(folder / "profile", "zenity", "--list", "--title=Numbers", "--column=One", "--column=Two", "--timeout=2",
               status=5, stdin=rows, DISPLAY=f":{number}", GDK_BACKEND="x11", NO_AT_BRIDGE="1", GTK_THEME="Adwaita")
    finally:
        display.terminate()
        display.wait()
    profile = Profile(folder / "profile")
    whole_stacks(profile)
    assert profile.totals["allocations"] > 20000, profile.totals
    for library in "libgtk-3.so.0", "libglib-2.0.so.0", "libpango-1.0.so.0":
        assert any(name.startswith(library) for name in profile.modules()), profile.modules()
    return profile, "libgtk-3"


def case_chromium(folder):
    """It has a malloc of its own, which all of its processes and their libraries use: nothing is seen of them, which is
    said, and nothing is broken. What it runs besides is recorded."""
    need("chromium", "chromium")
    (folder / "page.html").write_text("<p id=p></p><script>p.append('made ' + [1, 2, 3].map((x) => x * x))</script>\n")
    out, errors = record(folder / "profile", "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom",
                         f"file://{folder}/page.html", XDG_CONFIG_HOME=str(folder), XDG_CACHE_HOME=str(folder))
    assert "made 1,4,9" in out, out
    assert "that is nothing: the program has a malloc of its own, and a preload does not replace it" in errors, errors
    counts = {"chromium": [], "sh": []}
    for path in folder.glob("profile*"):
        if path.suffix != ".part":  # of one that was killed as it wrote
            process = json.loads(report(path, "--json", "--no-symbols"))
            program = os.path.basename(process["process"]["program"])
            counts["chromium" if program.startswith("chrom") else "sh"].append(process["totals"]["allocations"])
    assert len(counts["chromium"]) > 3 and not any(counts["chromium"]), counts
    assert counts["sh"] and all(counts["sh"]), counts
    shown = subprocess.run([CALLOC, "doctor", "/usr/lib/chromium/chromium"], env=PLAIN, capture_output=True, check=False)
    assert b"a malloc of its own" in shown.stdout, shown


SHORT = {"python": case_python, "gcc": case_gcc, "git": case_git, "redis": case_redis}
LONG = {"gtk": case_gtk, "chromium": case_chromium}


def drive(folder, seen):
    """The page of each profile in a browser; pictures stay in the folder."""
    environment = browser.find(folder)
    if isinstance(environment, str):
        skipped.append(f"pages: {environment}")
        return
    expected = {name: {"command": profile.all["process"]["command"], "allocations": profile.totals["allocations"],
                       "leaked": profile.sum("leaked_blocks"), "search": search, "path": f"{profile.path}.html",
                       "svg": f"{profile.path}.svg"}
                for name, (profile, search) in seen.items()}
    (folder / "expected.json").write_text(json.dumps(expected))
    done = subprocess.run([browser.NODE, "--test", HERE / "pages.mjs"], check=False, timeout=600,
                          env=dict(os.environ, PAGES=str(folder), **environment))
    assert done.returncode == 0, "the pages"
    print("pages ok", flush=True)


def main():
    folder, words = Path(sys.argv[3]).resolve(), sys.argv[4:]
    long = "--long" in words
    chosen = [word for word in words if word != "--long"] or [*SHORT, *(LONG if long else ())]
    seen = {}
    for name in chosen:
        work = folder / name
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        try:
            result = {**SHORT, **LONG}[name](work)
            if result:
                look_at(result[0])
                seen[name] = result
            if result and long:
                go_pprof(result[0])
        except Missing as missing:
            skipped.append(f"{name}: {missing}")
            continue
        for profile, _ in [result] if result else []:
            print(f"{name}: {profile.totals['allocations']:,} allocations, {profile.totals['allocated_bytes']:,} bytes, "
                  f"{profile.totals['peak_bytes']:,} at the peak, {len(profile.all['sites']):,} call stacks, profile of "
                  f"{profile.path.stat().st_size:,} bytes, {profile.sum('leaked_blocks'):,} blocks leaked")
        print(name, "ok", flush=True)
    if long and seen:
        drive(folder, seen)
    for reason in skipped:
        print(f"skipped: {reason}")
    sys.exit(77 if skipped else 0)


main()
