#!/usr/bin/env python3
"""Workloads under libcalloc and its peers, side by side.

Each workload runs under each allocator in turn, several rounds; the table gives medians as ratios to
glibc, who is best, and libcalloc's ratio to the best peer. Below it the geometric means. Times on
a shared machine say little by themselves: compare within one run.

    peers.py                             the tables of time and of peak memory
    peers.py --rounds 9 --only database
    peers.py --peer rpmalloc=/path.so    with another column
    peers.py --json FILE                 also write all the medians

Exit status: 0, 1 where a run failed, 2 where nothing could be measured.
"""

import argparse
import json
import math
import statistics
import subprocess
import sys
from pathlib import Path

import instructions

SOURCES = [instructions.HERE / name
           for name in ("workloads.c", "workloads_program.c", "workloads_threads.c")]
PROGRAM = instructions.ROOT / "build" / "bench" / "workloads"
THREADED = {"larson", "xmalloc", "cache-scratch", "cache-thrash", "stress", "leak-and-exit"}
THREADS = "2"
SECONDS = 300


def build():
    """Compile the workloads, so that no call of malloc is optimised away."""
    PROGRAM.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["gcc", "-std=gnu17", "-O2", "-Wall", "-Wextra", "-fno-builtin-malloc",
                    "-fno-builtin-free", "-fno-builtin-calloc", "-fno-builtin-realloc",
                    "-pthread", "-o", PROGRAM, *SOURCES], check=True)


def workloads():
    """Names of all workloads, in the program's order."""
    listed = subprocess.run([PROGRAM], capture_output=True, text=True, check=True).stdout
    return [line.split("\t")[0] for line in listed.splitlines()]


def run(library, workload, scale):
    """One run: what the program prints, as a dictionary."""
    preload = ["--preload", library] if library else []
    threads = THREADS if workload in THREADED else "1"
    done = subprocess.run([instructions.LOADER, *preload, PROGRAM, workload, threads, str(scale)],
                          capture_output=True, text=True, timeout=SECONDS,
                          env=instructions.ENVIRONMENT)
    if done.returncode != 0:
        raise instructions.Failed(f"exit status {done.returncode}: {done.stderr.strip()[-200:]}")
    return json.loads(done.stdout)


def measure(allocators, chosen, rounds, scale):
    """Medians as {workload: {allocator: {field: value}}}; a failed run leaves its allocator out."""
    failed = False
    medians = {}
    for workload in chosen:
        results = {name: [] for name in allocators}
        for _ in range(rounds):
            for name, library in allocators.items():
                if results[name] is None:
                    continue
                try:
                    results[name].append(run(library, workload, scale))
                except (instructions.Failed, subprocess.TimeoutExpired) as reason:
                    print(f"{name}, {workload}: {reason}", file=sys.stderr)
                    results[name] = None
                    failed = True
        medians[workload] = {
            name: {field: statistics.median(result[field] for result in runs)
                   for field in runs[0]}
            for name, runs in results.items() if runs
        }
        print(f"{workload} done", file=sys.stderr)
    return medians, failed


def geometric_mean(values):
    return math.exp(sum(map(math.log, values)) / len(values)) if values else math.nan


def print_table(title, field, allocators, medians):
    """Ratios to glibc, and libcalloc's to the best of the others."""
    ours = instructions.OURS
    print(f"\n{title:<16}" + "".join(f"{name:>11}" for name in allocators) +
          f"{'best peer':>12}{'ours/best':>11}")
    ratios = {name: [] for name in allocators}
    against_best = []
    for workload, row in medians.items():
        base = row.get("glibc", {}).get(field)
        cells = []
        for name in allocators:
            if name not in row or not base:
                cells.append(f"{'-':>11}")
                continue
            ratio = row[name][field] / base
            ratios[name].append(ratio)
            cells.append(f"{ratio:>11.2f}")
        peers = {name: values[field] for name, values in row.items() if name != ours}
        best = min(peers, key=peers.get) if peers else None
        tail = ""
        if best and ours in row:
            against_best.append(row[ours][field] / peers[best])
            tail = f"{best:>12}{against_best[-1]:>11.2f}"
        print(f"{workload:<16}" + "".join(cells) + tail)
    means = {name: geometric_mean(values) for name, values in ratios.items()}
    print(f"{'geometric mean':<16}" + "".join(f"{means[name]:>11.2f}" for name in allocators) +
          f"{'':>12}{geometric_mean(against_best):>11.2f}")


def main():
    parser = argparse.ArgumentParser(description="Workloads under libcalloc and its peers.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--scale", type=int, default=1, help="amount of work per run")
    parser.add_argument("--only", metavar="WORKLOAD", action="append")
    parser.add_argument("--peer", metavar="NAME=PATH", action="append", type=instructions.peer,
                        default=[])
    parser.add_argument("--json", metavar="FILE", type=Path)
    arguments = parser.parse_args()
    arguments.record = arguments.check = None
    instructions.build()
    build()
    names = workloads()
    for name in arguments.only or []:
        if name not in names:
            parser.error(f"no workload {name}; there are: {' '.join(names)}")
    allocators = instructions.choose(arguments)
    if instructions.OURS not in allocators:
        return 2
    medians, failed = measure(allocators, arguments.only or names, arguments.rounds,
                              arguments.scale)
    for title, field in (("time", "seconds"), ("CPU time", "cpu"), ("peak resident", "peak")):
        print_table(title, field, allocators, medians)
    if arguments.json:
        arguments.json.write_text(json.dumps(medians, indent=4) + "\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
