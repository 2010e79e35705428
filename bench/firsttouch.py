#!/usr/bin/env python3
"""First touch of 1 GiB with and without transparent huge pages.

A program allocates 1 GiB with malloc and writes to each page once; the time is that of both. Each
variant in turn, several rounds, medians: libcalloc without and with the option that asks for huge
pages, and the peers that have such a setting, likewise.

    firsttouch.py                       the table
    firsttouch.py --option NAME=VALUE   another option of libcalloc
    firsttouch.py --mib 256             a smaller block
    firsttouch.py --peer NAME=PATH      with another library, as it is

There is no difference to be seen where the kernel gives no huge pages on request, or gives them to
everyone (/sys/kernel/mm/transparent_hugepage/enabled is `never` or `always`): see the first line.

Exit status: 0, 1 where a run failed, 2 where nothing could be measured.
"""

import json
import sys
from pathlib import Path

import common
from common import BASE, OURS, Failed

# What makes libcalloc ask for transparent huge pages, in CALLOC_OPTIONS.
OPTION = "huge_pages=1"
PEER_SETTINGS = {
    BASE: ("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1"),
    "jemalloc": ("MALLOC_CONF", "thp:always"),
}
KERNEL = Path("/sys/kernel/mm/transparent_hugepage/enabled")


def variants(allocators, option):
    """{title: (library, environment)} in the order of the table."""
    made = {}
    for name, library in allocators.items():
        made[name] = library, {}
        variable, value = ("CALLOC_OPTIONS", option) if name == OURS else \
            PEER_SETTINGS.get(name, (None, None))
        if variable:
            made[f"{name}, {value}"] = library, {variable: value}
    return made


def print_results(figures):
    width = max(map(len, figures))
    print(f"{'':<{width}}{'seconds':>10}{'GiB/s':>8}{'to plain':>10}{'huge, MiB':>11}")
    for title, fields in figures.items():
        plain = figures.get(title.partition(",")[0], {}).get("seconds")
        ratio = f"{fields['seconds'] / plain:>10.3f}" if plain else f"{'-':>10}"
        print(f"{title:<{width}}{fields['seconds']:>10.3f}{fields['rate']:>8.2f}{ratio}"
              f"{fields['huge'] / 1024:>11.0f}")


def main():
    options = common.parser(__doc__, 5, options=("peer", "json"))
    options.add_argument("--mib", metavar="NUMBER", type=common.positive, default=1024,
                         help="size of the block in MiB (1024)")
    options.add_argument("--option", metavar="NAME=VALUE", default=OPTION,
                         help=f"for CALLOC_OPTIONS ({OPTION})")
    arguments = options.parse_args()
    program = common.build("firsttouch", "firsttouch.c")
    allocators = common.choose(arguments.peer)
    if OURS not in allocators:
        return 2
    chosen = variants(allocators, arguments.option)
    print(f"transparent huge pages of the kernel: "
          f"{KERNEL.read_text().strip() if KERNEL.is_file() else 'none'}")

    def run(_, given, size):
        library, environment = given
        done = common.run(library, program, [size], environment=environment)
        # libcalloc says so when it does not know an option, and goes on.
        if done.stderr.strip():
            raise Failed(done.stderr.strip().splitlines()[0])
        fields = json.loads(done.stdout)
        return {**fields, "rate": int(size) / 1024 / fields["seconds"]}

    # A virtual machine gets memory that it never used before at the cost of its host.
    common.run(None, program, [2 * arguments.mib])
    runs, failures = common.measure(chosen, [str(arguments.mib)], arguments.rounds, run)
    if arguments.json:
        common.save(arguments.json, "firsttouch", arguments, chosen, runs, failures)
    figures = common.medians(runs)[str(arguments.mib)]
    print_results(figures)
    ours = f"{OURS}, {arguments.option}"
    if ours in figures and OURS in figures:
        print(f"libcalloc with {arguments.option} is "
              f"{figures[OURS]['seconds'] / figures[ours]['seconds']:.2f} times as fast as without")
    return common.finish(failures)


if __name__ == "__main__":
    sys.exit(common.main(main))
