#!/usr/bin/env python3
"""The commands record, report and replay on programs that are recorded: record.py CALLOC BUILD-FOLDER PROGRAM STATIC

PROGRAM is recorded.c, STATIC any program without a dynamic linker."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

CALLOC, BUILD, PROGRAM, STATIC = map(os.path.abspath, sys.argv[1:])
SOURCE = (Path(__file__).parent / "recorded.c").read_text().splitlines()
CORE = f"{BUILD}/libcalloc/libcalloc.so.1"
PLAIN = {"PATH": os.environ["PATH"], "LC_ALL": "C", "CALLOC_LIBRARIES": BUILD}


def line_of(comment):
    return next(number for number, line in enumerate(SOURCE, 1) if f"/* {comment} */" in line)


def call(*arguments, status=0, says="", folder=None, **environment):
    """Standard output and error; STATUS is expected, and SAYS on standard error."""
    result = subprocess.run([CALLOC, *map(str, arguments)], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                            env={**PLAIN, **environment}, cwd=folder, timeout=100, check=False)
    assert result.returncode == status, (arguments, result.returncode, result.stdout, result.stderr)
    assert says in result.stderr, (arguments, says, result.stderr)
    return result.stdout, result.stderr


def report(path, *arguments):
    return json.loads(call("report", "--json", *arguments, path)[0])


def sites(profile):
    """What is known of each line of recorded.c that allocates: {line: {metric: value}}."""
    known = {}
    names = [metric["name"] for metric in profile["metrics"]]
    for site in profile["sites"]:
        _, file, line, _, _ = profile["positions"][profile["nodes"][2 * site["node"] + 1]]
        if profile["strings"][file].endswith("recorded.c"):
            values = known.setdefault(line, dict.fromkeys(names, 0))
            for name, value in zip(names, site["values"]):
                values[name] += value
    return known


def case_profile(folder):
    path = folder / "out 100%.profile"
    _, errors = call("record", "-o", path, "--", PROGRAM, says="calloc record: 8.4 KiB in 7 blocks leaked\n")
    assert f"calloc report {path} shows it" in errors, errors
    assert [entry.name for entry in folder.iterdir()] == [path.name]
    profile = report(path)
    known = sites(profile)
    leaked, kept, temporary = (known[line_of(what)] for what in ("leaked", "kept", "temporary"))
    assert (leaked["allocations"], leaked["leaked_blocks"], leaked["leaked_bytes"]) == (7, 7, 7 * 1234), leaked
    assert (kept["live_bytes"], kept["peak_bytes"], kept["leaked_bytes"]) == (50000, 50000, 0), kept
    assert (temporary["allocations"], temporary["temporaries"], temporary["live_blocks"]) == (1000, 1000, 0), temporary
    text, _ = call("report", path)
    assert f"leak_some (recorded.c:{line_of('leaked')})" in text and "direct leak: 8.4 KiB in 7 blocks of 1.2 KiB" in text


def case_formats(folder):
    """All of them are made of a real profile, and say the same."""
    path = folder / "p"
    call("record", "--quiet", "-o", path, PROGRAM)
    collapsed, _ = call("report", "--collapsed", "-m", "allocations", path)
    counts = {}
    for line in collapsed.splitlines():
        stack, count = line.rsplit(" ", 1)
        name = stack.rsplit(";", 1)[1]
        counts[name] = counts.get(name, 0) + int(count)
    assert counts["leak_some"] == 7 and counts["keep_one"] == 1 and counts["use_much"] == 1000, counts
    massif = folder / "massif"
    call("report", "--massif", "-o", massif, path)
    shown = subprocess.run(["ms_print", massif], capture_output=True, text=True, check=True).stdout
    assert f"keep_one (recorded.c:{line_of('kept')})" in shown
    page, _ = call("report", "--html", path)
    assert json.loads(page.split('id="profile">')[1].split("</script>")[0])["totals"]["leaked_direct_bytes"] == 7 * 1234
    same, _ = call("report", "--diff", path, path)
    assert "No call stack differs" in same


def case_statuses(folder):
    call("record", "-o", folder / "a", PROGRAM, "status", status=7)
    call("record", "-o", folder / "a", "--exitcode", 9, PROGRAM, status=9)
    call("record", "-o", folder / "a", "--leaks", "no", "--exitcode", 9, PROGRAM)
    call("record", "-o", folder / "a", "sh", "-c", "kill -KILL $$", status=128 + 9, says="wrote no profile")
    call("record", "-o", folder / "a", STATIC, status=9, says="wrote no profile")
    call("record", "nosuchprogram", status=127, says="there is no program 'nosuchprogram'")
    call("record", "-o", folder / "none" / "a", PROGRAM, status=125, says="wrote no profile")


def case_misuse(_):
    for words, says in (((), "which program?"), (("--mode", "fast", "true"), "--mode is all, sample or trace"),
                        (("--sample", "12x", "true"), "--sample takes"), (("--leaks", "some", "true"), "--leaks is"),
                        (("-o",), "without its value: -o"), (("-o", "a,b", "true"), "comma"),
                        (("--exitcode", "0", "true"), "--exitcode takes"), (("-p", "x"), "--pid takes"),
                        (("-p", "1", "true"), "not both"), (("-p", "1", "--mode", "sample"), "settled at its start"),
                        (("--seconds", "3", "true"), "--seconds is for --pid"),
                        (("--with", "nosuch", "true"), "no add-on 'nosuch'")):
        call("record", *words, status=2, says=says)


def case_default_names(folder):
    _, errors = call("record", PROGRAM, "forks", folder=folder, says="2 other processes wrote ")
    names = sorted(entry.name for entry in folder.iterdir())
    assert len(names) == 3 and all(name.startswith("calloc.recorded.") for name in names), names
    shown = errors.split("calloc report ")[1].split(" shows")[0]
    assert Path(shown).name in names
    call("record", "-o", folder / "mine", PROGRAM, "forks", says=f"2 other processes wrote {folder}/mine.PID")
    assert len(list(folder.glob("mine*"))) == 3
    others = [path for path in folder.glob("mine.*")]
    assert "The process was forked" in call("report", others[0])[0]


def case_sample(folder):
    path = folder / "p"
    call("record", "--sample", "4K", "-o", path, PROGRAM)
    profile = report(path)
    assert profile["process"]["sample_bytes"] == 4096
    assert "Samples were taken" in call("report", path)[0]


def case_trace(folder):
    """The trace has as many calls as the profile counts, and is replayed on any allocator."""
    path = folder / "t"
    _, errors = call("record", "--mode", "trace", "-o", path, PROGRAM, "threads")
    assert f"calloc replay {path} makes the same calls" in errors
    totals = report(f"{path}.profile")["totals"]
    for environment in {}, {"LD_PRELOAD": CORE}:
        for order in "blocks", "total":
            facts = json.loads(call("replay", "--json", "--order", order, path, **environment)[0])
            assert facts["threads"] >= 4 and facts["ignored"] == 0 and facts["failed"] == 0, facts
            assert facts["allocations"] == totals["allocations"], (facts, totals)
            assert facts["end_live_bytes"] == totals["live_bytes"], (facts, totals)
            # With several threads the library's own mark is exact to a thousandth.
            assert abs(facts["peak_live_bytes"] - totals["peak_bytes"]) < totals["peak_bytes"] // 500, (facts, totals)
    counted = report(path)["totals"]
    for name in "allocations", "allocated_bytes", "frees", "freed_bytes", "temporaries", "live_blocks":
        assert counted[name] == totals[name], (name, counted, totals)
    assert "on libcalloc " in call("replay", path, LD_PRELOAD=CORE)[0]


class Waiting:
    """recorded.c, which waits for its input to end."""

    def __init__(self, folder, options):
        self.process = subprocess.Popen(
            [CALLOC, "run", "--with", "track", *(f"--option={option}" for option in options), PROGRAM, "waits"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=PLAIN, cwd=folder,
            stderr=subprocess.DEVNULL)
        assert self.process.stdout.readline() == "ready\n"
        self.id = self.process.pid

    def __enter__(self):
        return self

    def use(self, times):
        self.process.stdin.write("x" * times)
        self.process.stdin.flush()

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait()


def case_process(folder):
    with Waiting(folder, ["track.record=0", "track.signal=12"]) as waiting:
        # It works on while it is recorded.
        stop = threading.Event()

        def work():
            while not stop.wait(0.02):
                waiting.use(1)

        worker = threading.Thread(target=work)
        worker.start()
        _, errors = call("record", "-p", waiting.id, "--seconds", 2, "-o", folder / "late", says="is recording\n")
        assert f"calloc report {folder}/late shows it" in errors
        stop.set()
        worker.join()
        profile = report(folder / "late")
        temporary = sites(profile)[line_of("temporary")]
        assert temporary["allocations"] >= 1000 and temporary["temporaries"] == temporary["allocations"], temporary
        assert line_of("leaked") not in sites(profile)
        # That it is not of the whole life of the process.
        assert profile["caveats"], profile
        _, errors = call("record", "-p", waiting.id, says="was recording already")
        assert f"{folder}/calloc.{waiting.id}.profile" in errors


def case_process_interrupted(folder):
    with Waiting(folder, ["track.record=0", "track.signal=10", "track.path=x.%n"]) as waiting:
        recorder = subprocess.Popen([CALLOC, "record", "-p", str(waiting.id)], stdin=subprocess.PIPE,
                                    stderr=subprocess.PIPE, text=True, env=PLAIN)
        assert "is recording" in recorder.stderr.readline()
        recorder.send_signal(signal.SIGINT)
        errors = recorder.stderr.read()
        recorder.stdin.close()
        assert recorder.wait() == 0 and f"calloc report {folder}/x.0 shows it" in errors, errors


def case_process_that_cannot(folder):
    with Waiting(folder, []) as waiting:
        call("record", "-p", waiting.id, status=125, says="was not started with track.signal")
    call("record", "-p", os.getpid(), status=125, says="has no libcalloc-track")
    call("record", "-p", 2 ** 22 + 5, status=125, says="No such process")


def main():
    for name, case in list(globals().items()):
        if name.startswith("case_"):
            with tempfile.TemporaryDirectory() as folder:
                case(Path(os.path.realpath(folder)))
            print(name.removeprefix("case_"), "ok", flush=True)


main()
