#!/usr/bin/env python3
"""The commands record, report and replay on programs that are recorded: record.py CALLOC BUILD-FOLDER PROGRAM STATIC

PROGRAM is recorded.c, STATIC any program without a dynamic linker."""

import json
import os
import signal
import struct
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
    call("record", "nosuchprogram", status=127, says="there is no program 'nosuchprogram'")


def case_no_profile(folder):
    """Why there is none is said, and nothing that cannot be the reason; what can be known is said before the run."""
    path = folder / "a"
    call("record", "-o", path, "sh", "-c", "kill -KILL $$", status=128 + 9,
         says="wrote no profile: Killed ended it, which no program sees coming\n")
    call("record", "-o", path, "sh", "-c", "kill -ALRM $$", status=128 + 14, says="wrote no profile: Alarm clock ended it\n")
    _, errors = call("record", "-o", path, STATIC, status=9, says="calloc record: so the program wrote no profile\n")
    assert "is statically linked" in errors and "SIGKILL" not in errors and "?" not in errors, errors
    call("record", "-o", path, "sh", "-c", f"exec {STATIC}", status=9,
         says="did it start another program in its place, one that is linked statically?")
    call("record", "-o", path, "--option", "track.record=0", PROGRAM, status=125,
         says="wrote no profile, as the setting track.record is 0\n")
    assert not path.exists()
    marker = folder / "ran"
    run = ["sh", "-c", f": >{marker}"]
    call("record", "-o", folder / "none" / "a", *run, status=125, says="a cannot be written: No such file or directory")
    call("record", "-o", folder, *run, status=125, says="cannot be written: Is a directory")
    pipe = folder / "pipe"
    os.mkfifo(pipe)
    call("record", "-o", pipe, *run, status=125, says="is no regular file: a profile would take its place")
    call("run", "--with", "track", "--option", f"track.path={pipe}", "true", status=0, says="cannot be written: EEXIST")
    assert pipe.is_fifo()
    call("record", "--suppressions", folder / "none", *run, status=125,
         says="none cannot be read: No such file or directory")
    call("record", "--suppressions", folder, *run, status=125, says="cannot be read: Is a directory")
    call("record", "-p", os.getpid(), "-o", folder / "none" / "a", status=125, says="cannot be written: No such file")
    assert not marker.exists()


def case_second_run(folder):
    """What an earlier run wrote into the folder is no other process of this one."""
    for _ in range(2):
        _, errors = call("record", PROGRAM, folder=folder)
        assert "other process" not in errors, errors
    assert len(list(folder.glob("calloc.recorded.*.profile"))) == 2
    for _ in range(2):
        call("record", "-o", folder / "mine", PROGRAM, "forks", says="2 other processes wrote ")


def case_suppressions(folder):
    """Also where the program goes elsewhere before it starts others; what is suppressed is said."""
    (folder / "known").write_text("leak:leak_some\n")
    (folder / "else").mkdir()
    _, errors = call("record", "-o", "p", "--exitcode", 9, "--suppressions", "known", PROGRAM, folder=folder,
                     says="calloc record: 8.4 KiB in 7 blocks leaked, and are suppressed\n")
    assert "blocks leaked\n" not in errors, errors
    text, _ = call("report", folder / "p")
    assert "No leaks but suppressed ones: 8.4 KiB in 7 blocks\n  suppressed by \"leak_some\": 8.4 KiB" in text, text
    call("record", "--quiet", "-o", "p", "--suppressions", "known", "--exitcode", 9,
         "sh", "-c", f"cd else && exec {PROGRAM}", folder=folder)


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
    _, errors = call("record", "--sample", "4K", "-o", path, PROGRAM,
                     says="what follows is estimated from samples, one for about each 4.0 KiB\n")
    assert "calloc record: about " in errors, errors
    profile = report(path)
    assert profile["process"]["sample_bytes"] == 4096
    text, _ = call("report", path)
    assert "Samples were taken" in text and "\n  Estimated from samples, one for about each 4.0 KiB:\n  allocated " in text
    # Of what leaks there is no sample.
    call("record", "--sample", "1G", "-o", path, PROGRAM)
    assert "\nNo leaks among the samples\n" in call("report", path)[0]


def sections(path):
    """(type, flags) of all sections of a file."""
    data, at, found = path.read_bytes(), 32, []
    while at < len(data):
        mark, kind, _, flags, _, _, length, _, _ = struct.unpack_from("<IIIIQQQII", data, at)
        assert mark == 0x43455343
        found.append((kind, flags))
        at += 48 + length
    return found


def case_trace(folder):
    """The trace has as many calls as the profile counts, and is replayed on any allocator."""
    path = folder / "t"
    _, errors = call("record", "--mode", "trace", "-o", path, PROGRAM, "threads")
    assert f"calloc replay {path} makes the same calls" in errors
    # Compressed, which replay and report do not notice.
    assert "the trace is" in errors and "compressed from" in errors, errors
    flags = [flags for kind, flags in sections(path) if kind == 15]
    assert flags and all(flags), flags
    assert [kind for kind, _ in sections(path)][-1] == 16
    assert [file.name for file in folder.iterdir() if file.name.startswith("t.")] == ["t.profile"]
    totals = report(f"{path}.profile")["totals"]
    for environment in {}, {"LD_PRELOAD": CORE}:
        for order in "blocks", "total":
            facts = json.loads(call("replay", "--json", "--order", order, path, **environment)[0])
            assert facts["threads"] >= 4 and facts["ignored"] == 0 and facts["failed"] == 0, facts
            assert facts["allocations"] == totals["allocations"], (facts, totals)
            assert facts["end_live_bytes"] == totals["live_bytes"], (facts, totals)
            # With several threads the library's own mark is exact to a thousandth, or 512 bytes for each.
            near = totals["peak_bytes"] // 500 + 512 * facts["threads"]
            assert abs(facts["peak_live_bytes"] - totals["peak_bytes"]) < near, (facts, totals)
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
