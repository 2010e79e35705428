#!/usr/bin/env python3
"""Runs programs whose allocations are known, and looks whether the profile says the same:
known_answers.py CORE TRACK CASES EXCEPTIONS PLUGIN_A PLUGIN_B LATE [COUNT [NAME…]]

COUNT is that of small allocations where samples are taken."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from profile import DIRECT, INDIRECT, NOT_FREED, Profile

CORE, TRACK, CASES, EXCEPTIONS, PLUGIN_A, PLUGIN_B, LATE = map(os.path.abspath, sys.argv[1:8])
COUNT = int(sys.argv[8]) if len(sys.argv) > 8 else 2000000
wrong = 0


def expect(what, found, wanted):
    global wrong
    if found != wanted:
        wrong += 1
        print(f"{what}: {found}, and not {wanted}", file=sys.stderr)


def near(what, found, wanted, share):
    global wrong
    if not wanted * (1 - share) <= found <= wanted * (1 + share):
        wrong += 1
        print(f"{what}: {found}, and not {wanted} within {share:.0%}", file=sys.stderr)


def run(folder, *arguments, program=CASES, options="", status=0):
    """The profile, and what was printed."""
    path = folder / "profile"
    path.unlink(missing_ok=True)
    environment = dict(os.environ, LD_PRELOAD=f"{CORE} {TRACK}",
                       CALLOC_OPTIONS=f"track.quiet=1,track.path={path},{options}")
    done = subprocess.run([program, *map(str, arguments)], env=environment, capture_output=True,
                          text=True, check=False)
    expect(f"status of {arguments}", done.returncode, status)
    if done.stderr:
        print(f"{arguments}: {done.stderr}", file=sys.stderr, end="")
    profile = Profile(path)
    expect(f"{arguments}: complete", profile.complete, True)
    expect(f"{arguments}: lost", profile.process[0].lost, 0)
    check_sums(arguments, profile)
    return profile, done.stdout


def check_sums(name, profile):
    """What must hold in every profile at rest."""
    process, sites = profile.process[0], profile.sites
    for field in ("allocations", "allocated_bytes", "frees", "freed_bytes"):
        expect(f"{name}: sum of {field}", sum(getattr(site, field) for site in sites),
               getattr(process, field))
        expect(f"{name}: sum over threads of {field}",
               sum(getattr(thread, field) for thread in profile.threads), getattr(process, field))
    for site in sites:
        lifetimes = sum(int.from_bytes(site.lifetimes[i:i + 8], "little") for i in range(0, 128, 8))
        expect(f"{name}: lifetimes", lifetimes, site.frees)
    # Leaks are looked for first: threads that still run then may allocate until the rest is written.
    began = process.duration - profile.leak_facts[0].duration - 5000000 if profile.leak_facts else 0
    if profile.leak_facts and all(0 < thread.end < began for thread in profile.threads[1:]):
        live = [(leak.blocks, leak.bytes) for leak in profile.leaks]
        expect(f"{name}: live blocks", sum(blocks for blocks, _ in live),
               process.allocations - process.frees)
        expect(f"{name}: live bytes", sum(size for _, size in live),
               process.allocated_bytes - process.freed_bytes)
    for node, (parent, frame) in enumerate(profile.nodes):
        assert parent < node or node == 0, node
        assert frame == 0xFFFFFFFF or frame < len(profile.frames)


def whole(name, profile, function, depth=1):
    """Stacks with this function have been found up to main, with no frame missing."""
    for _, site in profile.sites_in(function):
        names = profile.functions(site.node)
        if "main" not in names or "?" in names or names.count(function) < depth:
            expect(f"{name}: stack", names, "one that goes up to main")


def leaks(folder):
    profile, _ = run(folder, "leaks")
    expect("leaks by one way", profile.leaked("leak_by_one_way", DIRECT), (5, 505))
    expect("leaks by another", profile.leaked("leak_by_another", DIRECT), (3, 606))
    expect("no other leaks", profile.leaked("main", DIRECT, INDIRECT), (8, 1111))
    expect("not freed", profile.leaked("leaks", NOT_FREED), (1, 303))
    whole("leaks", profile, "leaks")
    expect("allocated in leaks", profile.total("leaks", "allocated_bytes"), 1111 + 303)


def indirect(folder):
    profile, _ = run(folder, "indirect")
    expect("direct", profile.leaked("main", DIRECT), (1, 48))
    expect("indirect", profile.leaked("main", INDIRECT), (3, 144))
    expect("reachable", profile.leaked("main", NOT_FREED), (2, 96))


def cycle(folder):
    profile, _ = run(folder, "cycle")
    expect("one of the cycle", profile.leaked("make_cycle", DIRECT), (1, 48))
    expect("the rest of it", profile.leaked("make_cycle", INDIRECT), (2, 96))


def thread_locals(folder):
    profile, _ = run(folder, "thread_locals")
    expect("in a thread-local", profile.leaked("hold_in_thread_local", NOT_FREED), (1, 404))
    expect("in those of another thread", profile.leaked("hold_in_thread", NOT_FREED), (2, 1011))
    expect("of a thread that ended", profile.leaked("drop_with_thread", DIRECT), (2, 1212))
    expect("no other leaks", profile.leaked("main", DIRECT, INDIRECT), (0, 0))


def on_stack(folder):
    profile, _ = run(folder, "on_stack")
    expect("on another thread's stack", profile.leaked("hold_on_stack", NOT_FREED), (1, 707))
    expect("on the main thread's", profile.leaked("on_stack", NOT_FREED)[1] >= 708, True)
    expect("no leaks", sum(leak.blocks for leak in profile.leaks if leak.kind != NOT_FREED), 0)
    expect("threads stopped", profile.leak_facts[0].threads, 1)


def blocked(folder):
    profile, _ = run(folder, "blocked")
    expect("on the stack of a thread that blocks signals", profile.leaked("hold_blocked", NOT_FREED),
           (1, 710))
    expect("not missed", (profile.leak_facts[0].threads, profile.leak_facts[0].threads_missed), (1, 0))


def inside(folder):
    profile, _ = run(folder, "inside")
    expect("pointed into", profile.leaked("hold_inside", NOT_FREED), (1, 809))


def recursion(folder):
    profile, _ = run(folder, "recursion")
    sites = profile.sites_in("descend")
    expect("one site", len(sites), 1)
    expect("depth", profile.functions(sites[0][1].node).count("descend"), 5001)
    whole("recursion", profile, "descend")
    profile, _ = run(folder, "recursion", options="track.depth=100")
    names = profile.functions(profile.sites_in("descend")[0][1].node)
    expect("limited depth", 90 <= names.count("descend") <= 108 and names[-1] == "?", True)


def long_jumps(folder):
    profile, _ = run(folder, "long_jumps")
    expect("before the jumps", profile.total("jump", "allocations"), 600)
    expect("sites before", len(profile.sites_in("jump")), 6)
    expect("after", profile.total("after_jump", "allocations"), 100)
    expect("sites after", len(profile.sites_in("after_jump")), 1)
    whole("jumps", profile, "long_jumps")


def coroutines(folder):
    profile, _ = run(folder, "coroutines")
    for name in ("in_first_coroutine", "in_second_coroutine"):
        expect(name, profile.total(name, "allocations"), 50)
        expect(f"{name}: one site", len(profile.sites_in(name)), 1)
        names = profile.functions(profile.sites_in(name)[0][1].node)
        expect(f"{name}: its stack", names[:2] == ["take", name] and "main" not in names, True)


def signals(folder):
    profile, _ = run(folder, "signals")
    expect("in handlers", profile.total("handle", "allocations"), 20)
    whole("signals", profile, "handle")
    for _, site in profile.sites_in("handle"):
        names = profile.functions(site.node)
        expect("through the signal", "raise_it" in names and names.index("handle") < names.index("raise_it"),
               True)
        exact = [frame for frame in profile.stack(site.node) if profile.frames[frame].flags & 1]
        expect("interrupted frames", len(exact), 1)


def plugins(folder):
    profile, _ = run(folder, "plugins", PLUGIN_A, PLUGIN_B)
    for name, size in (("allocate_in_first", 1315), ("allocate_in_second", 1316)):
        expect(f"of {name}", (profile.total(name, "allocations"), profile.total(name, "allocated_bytes")),
               (3, 3 * size))
        whole("plugins", profile, name)
    gone = [profile.string(module.path) for module in profile.modules if module.gone]
    expect("unloaded", sorted(set(gone)), sorted([PLUGIN_A, PLUGIN_B]))


def exceptions(folder):
    profile, _ = run(folder, program=EXCEPTIONS)
    names = [profile.functions(site.node) for _, site in profile.sites_in("throw_from_below")]
    thrown = [stack for stack in names if stack[0] == "throw_from_below"]
    expect("sites above the throw", len(thrown), 11)
    expect("in the handler", profile.total("allocate_in_handler", "allocations"), 100)
    expect("by new", profile.total("allocate_by_new", "allocated_bytes"), 464)
    whole("exceptions", profile, "throw_from_below")


def temporaries(folder):
    profile, _ = run(folder, "temporaries")
    expect("temporaries", profile.total("temporaries", "temporaries"), 1100)
    expect("allocations", profile.total("temporaries", "allocations"), 1200)


def peak(folder):
    profile, _ = run(folder, "peak")
    expect("at the peak", profile.total("before_peak", "peak_bytes"), 100000)
    expect("blocks at the peak", profile.total("before_peak", "peak_blocks"), 100)
    expect("not yet at the peak", profile.total("after_peak", "peak_bytes"), 0)
    near("the peak", profile.process[0].peak_bytes, 100000, 0.05)


def resize(folder):
    profile, _ = run(folder, "resize")
    live = (profile.total("resize", "allocations") - profile.total("resize", "frees"),
            profile.total("resize", "allocated_bytes") - profile.total("resize", "freed_bytes"))
    expect("live after realloc", live, (3, 100000 + 10000 + 5000))


def threads(folder):
    profile, _ = run(folder, "threads")
    expect("allocations", profile.total("allocate_in_thread", "allocations"), 100000)
    expect("frees", profile.total("allocate_in_thread", "frees"), 100000)
    expect("bytes", profile.total("allocate_in_thread", "allocated_bytes"), 4800000)
    expect("freed by another", profile.total("allocate_for_others", "frees"), 1000)
    expect("threads", len(profile.threads), 102)
    near("peak", profile.process[0].peak_bytes, 49000, 1.5)


def late_frees(folder):
    profile, _ = run(folder, "late_frees")
    sites = [site for _, site in profile.sites_in("fail_in_thread")]
    expect("of threads that ended", sum(site.allocations for site in sites) >= 200, True)
    expect("all freed", sum(site.allocations - site.frees for site in sites), 0)
    expect("threads", len(profile.threads), 201)
    # No more memory for 200 threads, one after the other, than for a few.
    expect("bounded", profile.process[0].own_bytes < 4 << 20, True)


def wait_for(path, process):
    for _ in range(1000):
        if path.exists():
            return Profile(path)
        if process.poll() is not None:
            break
        time.sleep(0.02)
    expect(f"{path}", "not written", "written")
    raise SystemExit(1)


def by_signal(folder):
    environment = dict(os.environ, LD_PRELOAD=f"{CORE} {TRACK}",
                       CALLOC_OPTIONS=f"track.quiet=1,track.path={folder}/%n,track.record=0,track.signal=44")
    process = subprocess.Popen([CASES, "forever"], env=environment, stdout=subprocess.PIPE, text=True)
    process.stdout.readline()
    process.send_signal(44)
    # Real-time signals queue: the first starts, the second writes.
    process.send_signal(44)
    first = wait_for(folder / "0", process)
    process.send_signal(44)
    second = wait_for(folder / "1", process)
    process.terminate()
    expect("ended", process.wait(), -signal.SIGTERM)
    last = wait_for(folder / "2", process)
    counts = [profile.total("forever", "allocations") for profile in (first, second, last)]
    expect("more and more", counts == sorted(counts) and counts[2] > 0, True)
    expect("reasons", [profile.process[0].reason for profile in (first, second, last)], [3, 3, 3])
    expect("leaks were looked for", [len(profile.leak_facts) for profile in (first, second, last)], [1, 1, 0])
    process.stdout.close()


def dumps(folder):
    profile, printed = run(folder, "dumps", folder / "dump")
    expect("at the end", profile.total("allocate_until_stopped", "allocations"), int(printed))
    last = 0
    for i in range(10):
        part = Profile(folder / f"dump.{i}")
        count = part.total("allocate_until_stopped", "allocations")
        expect(f"dump {i}", part.complete and last <= count <= int(printed), True)
        last = count
        if part.leak_facts:
            expect("threads", part.leak_facts[0].threads, 4)
            leaked = sum(leak.blocks for leak in part.leaks if leak.kind != NOT_FREED)
            expect("leaks of running threads", leaked, 0)


def sampled(folder):
    profile, _ = run(folder, "sampled", COUNT, options="track.sample=8K")
    expect("sampled", profile.process[0].flags & 1, 1)
    # The spread of the number of samples, four times: a right estimate is off by more once in 16,000 runs.
    near("small ones", profile.total("allocate_small", "allocated_bytes"), 16 * COUNT,
         max(0.02, 4 / (16 * COUNT / 8192) ** 0.5))
    near("large ones", profile.total("allocate_large", "allocations"), 16, 0.02)
    near("large ones", profile.total("allocate_large", "allocated_bytes"), 16 << 26, 0.02)


def switched(folder):
    profile, _ = run(folder, "switched")
    expect("while on", profile.total("allocate_while_on", "allocations"), 100)
    expect("freed while off, and once while on", profile.total("allocate_while_on", "frees"), 51)
    expect("while off", len(profile.sites_in("allocate_while_off")), 0)
    expect("unknown", profile.process[0].unknown_frees, 1)
    expect("paused", profile.process[0].flags & 8, 8)
    path = folder / "never"
    done = subprocess.run([CASES, "leaks"], capture_output=True, text=True, check=False, env=dict(
        os.environ, LD_PRELOAD=f"{CORE} {TRACK}", CALLOC_OPTIONS=f"track.record=0,track.exitcode=9,track.path={path}"))
    expect("off all the time", (done.returncode, done.stderr, path.exists()), (0, "", False))


def interface(folder):
    run(folder, "interface")


def children(folder):
    environment = dict(os.environ, LD_PRELOAD=f"{CORE} {TRACK}",
                       CALLOC_OPTIONS=f"track.quiet=1,track.path={folder}/%e.%p%%")
    done = subprocess.run([CASES, "children"], env=environment, capture_output=True, text=True, check=True)
    child = Profile(folder / f"cases.{done.stdout.strip()}%")
    others = [path for path in folder.glob("cases.*%") if path != folder / f"cases.{done.stdout.strip()}%"]
    expect("profiles", len(others), 1)
    parent = Profile(others[0])
    expect("of the child", (child.total("in_parent", "allocations"), child.total("in_child", "allocations")),
           (1, 1))
    expect("of the parent", (parent.total("in_parent", "allocations"), len(parent.sites_in("in_child"))),
           (2, 0))
    expect("forked", (child.process[0].flags & 4, parent.process[0].flags & 4), (4, 0))
    expect("its parent", child.process[0].parent_pid, parent.process[0].pid)


def exits(folder):
    for how, status in (("exit", 3), ("_exit", 3), ("_Exit", 3), ("quick_exit", 3),
                        ("abort", -signal.SIGABRT), ("fault", -signal.SIGSEGV),
                        ("kill", -signal.SIGTERM), ("vfork", 0)):
        profile, _ = run(folder, "leave", how, status=status)
        expect(how, profile.total("leave", "allocated_bytes"), 2024)


def not_linked(folder):
    """Programs that know nothing of the library end as they like, too."""
    profile, _ = run(folder, "-c", "import os; os._exit(3)", program="/usr/bin/python3", status=3)
    expect("by _exit", profile.process[0].allocations > 100, True)
    profile, _ = run(folder, "-c", "import os; os.abort()", program="/usr/bin/python3", status=-signal.SIGABRT)
    expect("by abort", profile.process[0].allocations > 100, True)
    expect("its command line", "os.abort()" in profile.string(profile.process[0].command_line), True)


def disguise(folder):
    """Handlers of the library are none for the program, which may have its own."""
    ask = "import signal as s; print(s.getsignal(s.SIGINT) is s.default_int_handler, " \
        "s.getsignal(s.SIGTERM) is s.SIG_DFL, s.getsignal(s.SIGPIPE) is s.SIG_IGN)"
    _, printed = run(folder, "-c", ask, program="/usr/bin/python3")
    expect("handlers", printed, "True True True\n")
    interrupt = "import os, signal\ntry:\n    os.kill(os.getpid(), signal.SIGINT)\n    signal.pause()\n" \
        "except KeyboardInterrupt:\n    print('interrupted')\n"
    _, printed = run(folder, "-c", interrupt, program="/usr/bin/python3")
    expect("interrupted", printed, "interrupted\n")
    run(folder, "-c", "import os, signal; os.kill(os.getpid(), signal.SIGTERM)", program="/usr/bin/python3",
        status=-signal.SIGTERM)


def loaded_late(folder):
    path = folder / "late"
    options = f"track.path={path},track.quiet=1"
    environment = dict(os.environ, LD_PRELOAD=CORE, CALLOC_OPTIONS=options)
    done = subprocess.run([LATE, TRACK], env=environment, capture_output=True, text=True, check=False)
    expect("status", done.returncode, 0)
    profile = Profile(path)
    expect("late", profile.process[0].flags & 2, 2)
    expect("from then on", profile.total("allocate_late", "allocated_bytes"), 333)
    expect("freed, but not known", profile.process[0].unknown_frees >= 1, True)
    # Without the core before libc there is nothing to be seen, which is said.
    environment = dict(os.environ, LD_PRELOAD=TRACK, CALLOC_OPTIONS=f"track.path={path}")
    done = subprocess.run(["/bin/true"], env=environment, capture_output=True, text=True, check=False)
    expect("said", "is not watched: its malloc is that of /" in done.stderr, True)
    # In Debian's python3, as it is no position-independent program, malloc has an address of the program's.
    environment["LD_PRELOAD"] = f"{CORE} {TRACK}"
    done = subprocess.run(["/usr/bin/python3", "-c", ""], env=environment, capture_output=True, text=True,
                          check=False)
    expect("not said", "is not watched" in done.stderr, False)


def statuses(folder):
    run(folder, "leaks", options="track.exitcode=23", status=23)
    run(folder, "inside", options="track.exitcode=23", status=0)
    run(folder, "inside", options="track.exitcode=23,track.leaks=2", status=23)
    path = folder / "suppressions"
    path.write_text("# of a test\nleak:^leak_by_one*$\nleak:by_anoth\n")
    profile, _ = run(folder, "leaks", options=f"track.exitcode=23,track.suppressions={path}", status=0)
    expect("suppressed", [(s.blocks, s.bytes) for s in profile.suppressions], [(5, 505), (3, 606)])
    path.write_text("leak:^leak_by_one*$\n")
    run(folder, "leaks", options=f"track.exitcode=23,track.suppressions={path}", status=23)
    # What is not freed for all that is no leak is suppressed too.
    path.write_text("leak:main\n")
    profile, _ = run(folder, "leaks", options=f"track.exitcode=23,track.leaks=2,track.suppressions={path}")
    expect("suppressed leaks", [(s.blocks, s.bytes) for s in profile.suppressions], [(8, 1111)])
    # Names of C++ by both of their forms.
    for pattern in "shop::Basket::forget(int)", "^_ZN4shop6Basket6forgetEi$", "^shop::*::forget(":
        path.write_text(f"leak:{pattern}\n")
        profile, _ = run(folder, "leak", program=EXCEPTIONS, options=f"track.exitcode=23,track.suppressions={path}")
        expect(pattern, [(s.blocks, s.bytes) for s in profile.suppressions], [(3, 1500)])
    # What is said of it.
    for options, said in ((f"track.suppressions={path}", "libcalloc: 3 leaked blocks are suppressed; the profile is "),
                          ("track.leaks=1", "libcalloc: 3 blocks of 1500 bytes together leaked; the profile is "),
                          ("track.sample=1", "libcalloc: by estimate from samples 3 blocks of 1500 bytes together leaked; ")):
        done = subprocess.run([EXCEPTIONS, "leak"], capture_output=True, text=True, check=True, env=dict(
            os.environ, LD_PRELOAD=f"{CORE} {TRACK}", CALLOC_OPTIONS=f"track.path={folder}/said,{options}"))
        expect(f"said with {options}", done.stderr.startswith(said) and done.stderr.count("\n") == 1, True)
    path.write_text("leak:^shop::Basket::forget()\n")
    run(folder, "leak", program=EXCEPTIONS, options=f"track.exitcode=23,track.suppressions={path}", status=23)


def programs(folder):
    """Of programs that we know little of: what holds for all."""
    source = "#include <map>\n#include <string>\nstd::map<std::string, int> all; int main() { return all[\"x\"]; }\n"
    for name, command in {
            "python3": ["/usr/bin/python3", "-c", "import json, threading; json.dumps(list(range(9999)))"],
            "threads of python3": ["/usr/bin/python3", "-c",
                                   "import concurrent.futures as f, zlib\nwith f.ThreadPoolExecutor(4) as e: "
                                   "print(sum(map(len, e.map(zlib.compress, [bytes(50000)] * 40))))"],
            "perl": ["perl", "-e", "my %h; $h{$_} = [1 .. 9] for 1 .. 2000"],
            "bash": ["bash", "-c", "a=$(echo x | cat); for i in {1..200}; do a+=$i; done; (exit 3); :"],
            "g++": ["g++", "-O1", "-x", "c++", "-c", "-o", "/dev/null", "-"],
            "git": ["git", "--version"],
    }.items():
        if shutil.which(command[0]) is None:
            print(f"{name}: not there, left out")
            continue
        environment = dict(os.environ, LD_PRELOAD=f"{CORE} {TRACK}",
                           CALLOC_OPTIONS=f"track.quiet=1,track.path={folder}/%e.%p")
        done = subprocess.run(command, env=environment, input=source, capture_output=True, text=True,
                              check=False)
        expect(f"{name}: status", done.returncode, 0)
        expect(f"{name}: said", done.stderr, "")
        files = list(folder.glob("*"))
        expect(f"{name}: profiles", len(files) > 0, True)
        for path in files:
            profile = Profile(path)
            expect(f"{name}: complete", profile.complete, True)
            expect(f"{name}: recorded", (profile.process[0].lost, profile.process[0].unknown_frees), (0, 0))
            check_sums(name, profile)
            path.unlink()


def limited(folder):
    """What has no memory to be recorded in is counted, and the rest is told."""
    path = folder / "limited"
    environment = dict(os.environ, LD_PRELOAD=f"{CORE} {TRACK}",
                       CALLOC_OPTIONS=f"track.quiet=1,track.path={path},track.memory=2M")
    done = subprocess.run([CASES, "many"], env=environment, check=False)
    profile = Profile(path)
    expect("status", done.returncode, 0)
    expect("lost some, not all", 0 < profile.process[0].lost < 60000, True)
    expect("the others and these", profile.process[0].lost + profile.total("many", "allocations"), 60000)


def trace(folder):
    for case, size, count in (("threads", 49, 1000), ("resize", 100, 1), ("temporaries", 16, 1000),
                              ("plugins", 1315, 3)):
        path = folder / "trace"
        profile, _ = run(folder, case, *([PLUGIN_A, PLUGIN_B] if case == "plugins" else []),
                         options=f"track.trace={path}")
        traced = Profile(path)
        expect("complete", (traced.kind, traced.complete), (2, True))
        expect("its command line", case in traced.string(traced.process[0].command_line), True)
        live, allocations = {}, 0
        for _, _, _, _, kind, address, bytes_, site in traced.trace():
            if kind == 0:
                expect(f"{case}: twice", address in live, False)
                live[address] = bytes_
                allocations += 1
                if bytes_ == size:
                    count -= 1
                    assert "main" in traced.functions(traced.site_nodes[site].node), site
            elif kind == 1:
                expect(f"{case}: freed", live.pop(address, None) is not None, True)
            elif kind == 2:
                live[address] = bytes_
        expect(f"{case}: of {size} bytes", count, 0)
        process = profile.process[0]
        expect(f"{case}: events", allocations, process.allocations)
        expect(f"{case}: live", (len(live), sum(live.values())),
               (process.allocations - process.frees, process.allocated_bytes - process.freed_bytes))
        expect(f"{case}: threads", len(traced.threads), len(profile.threads))
    for case, sizes in (("leaks", None), ("switched", [1720]), ("begun_elsewhere", [1721])):
        path = folder / "later"
        path.unlink(missing_ok=True)
        subprocess.run([CASES, case], check=True, env=dict(
            os.environ, LD_PRELOAD=f"{CORE} {TRACK}",
            CALLOC_OPTIONS=f"track.quiet=1,track.record=0,track.path={folder}/profile,track.trace={path}"))
        found = [event[6] for event in Profile(path).trace() if event[4] == 0] if path.exists() else None
        expect(f"{case}: traced since recording began", found, sizes)


def main():
    names = sys.argv[9:] or ["leaks", "indirect", "cycle", "thread_locals", "on_stack", "blocked", "inside",
                             "recursion", "long_jumps", "coroutines", "signals", "plugins", "exceptions",
                             "temporaries", "peak", "resize", "threads", "late_frees", "by_signal", "dumps", "sampled", "switched",
                             "interface", "children", "exits", "not_linked", "disguise", "loaded_late", "statuses", "programs", "limited", "trace"]
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            before = wrong
            globals()[name](Path(folder))
            print(f"{'wrong' if wrong > before else 'right'}: {name}")
    sys.exit(wrong != 0)


if __name__ == "__main__":
    main()
