#!/usr/bin/env python3
"""First touch of 1 GiB with and without transparent huge pages.

A program allocates 1 GiB with malloc and writes to each page once; the time is that of both. Each
variant in turn, several rounds, the median and the smallest: libcalloc without and with the option
that asks for huge pages, and the peers that have such a setting, likewise. Before the rounds each
variant runs once with twice the size, untimed: a virtual machine gets memory that it never used
before at the cost of its host.

    firsttouch.py                       the table
    firsttouch.py --option NAME=VALUE   another option of libcalloc
    firsttouch.py --mib 256             a smaller block
    firsttouch.py --peer NAME=PATH      with another library, as it is
    firsttouch.py --json FILE           also write the figures; --from FILE shows them again

There is no difference to be seen where the kernel gives no huge pages on request, or gives them to
everyone (/sys/kernel/mm/transparent_hugepage/enabled is `never` or `always`): see the first line.

Exit status: 0, 1 where a run failed, 2 where nothing could be measured.
"""

import json
import sys
from pathlib import Path

import common
import options
from common import BASE, OURS, Failed
from figures import medians

# What makes libcalloc ask for transparent huge pages, in CALLOC_OPTIONS.
OPTION = "huge_pages=1"
PEER_SETTINGS = {
    BASE: ("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1"),
    "jemalloc": ("MALLOC_CONF", "thp:always"),
}
KERNEL = Path("/sys/kernel/mm/transparent_hugepage/enabled")


def variants(allocators, option):
    """{title: Allocator} in the order of the table."""
    made = {}
    for name, allocator in allocators.items():
        made[name] = allocator
        variable, value = ("CALLOC_OPTIONS", option) if name == OURS else \
            PEER_SETTINGS.get(name, (None, None))
        if variable:
            made[f"{name}, {value}"] = allocator.having(variable, value)
    return made


def run(_, variant, size):
    """One run, for common.measure()."""
    done = common.run(variant, common.BUILD / "firsttouch", [size])
    # libcalloc says so when it does not know an option, and goes on.
    if done.stderr.strip():
        raise Failed(done.stderr.strip().splitlines()[0])
    fields = json.loads(done.stdout)
    return {**fields, "rate": int(size) / 1024 / fields["seconds"]}


def measure(arguments):
    """(variants, runs, failures) of new measurements."""
    common.build("firsttouch", "firsttouch.c")
    chosen = variants(common.choose(arguments.peer), arguments.option)
    # A wrong option is to be known before all the rest has been measured.
    run(None, chosen[f"{OURS}, {arguments.option}"], 1)
    print(f"transparent huge pages of the kernel: "
          f"{KERNEL.read_text().strip() if KERNEL.is_file() else 'none'}", flush=True)
    for title, variant in chosen.items():
        try:
            run(title, variant, 2 * arguments.mib)
        except Failed as reason:
            common.say(f"{title}, warming up: {reason}")
    runs, failures = common.measure(chosen, arguments.cases, arguments.rounds, run)
    return list(chosen), runs, failures


def print_results(size, figures, runs):
    width = max([len(size) + 4, *map(len, figures)])
    print(f"\n{size + ' MiB':<{width}}{'seconds':>10}{'smallest':>10}{'GiB/s':>8}{'to plain':>10}"
          f"{'huge, MiB':>11}")
    for title, fields in figures.items():
        plain = figures.get(title.partition(",")[0], {}).get("seconds")
        ratio = f"{fields['seconds'] / plain:>10.3f}" if plain else f"{'-':>10}"
        smallest = min(one["seconds"] for one in runs[title])
        print(f"{title:<{width}}{fields['seconds']:>10.3f}{smallest:>10.3f}{fields['rate']:>8.2f}"
              f"{ratio}{fields['huge'] / 1024:>11.0f}")
    for title, fields in figures.items():
        if title.startswith(f"{OURS}, ") and OURS in figures:
            faster = figures[OURS]["seconds"] / fields["seconds"]
            print(f"libcalloc with {title.partition(', ')[2]} is {faster:.2f} times as fast as "
                  "without")


def main():
    parser = options.parser(__doc__, 5, names=("peer", "json", "from"))
    parser.add_number("mib", 1024, "size of the block in MiB")
    parser.add_measuring("option", OPTION, metavar="NAME=VALUE",
                         help=f"for CALLOC_OPTIONS ({OPTION})")
    arguments = parser.parse("firsttouch", fields=("seconds", "rate", "huge"))
    if not arguments.kept:
        arguments.cases = [str(arguments.mib)]
    allocators, runs, failures = arguments.kept or measure(arguments)
    if arguments.json:
        common.save(arguments.json, "firsttouch", arguments, allocators, runs, failures)
    for size, figures in medians(runs).items():
        print_results(size, figures, runs[size])
    return common.finish(failures)


if __name__ == "__main__":
    sys.exit(common.main(main))
