#!/usr/bin/env python3
"""startup.py LIBCALLOC EMPTY RESIDENT STARTUP: processes that do next to nothing.

Reports the user + system time of /bin/true beside glibc's and beside preloading an empty library,
all in turn in one run; and what /bin/true and a program with twenty small blocks of twenty sizes
hold in memory at their end. Only the memory of /bin/true decides, because no time should.
"""
import os
import re
import statistics
import subprocess
import sys

RUNS = 300
MEMORY_RUNS = 15
ALLOWED_KIB = 176
FIELDS = 'Rss', 'Pss', 'Private_Dirty'


def output(command, preload='', options='', environment=os.environ):
    env = {name: value for name, value in environment.items()
           if name not in ('LD_PRELOAD', 'CALLOC_OPTIONS', 'LD_LIBRARY_PATH')}
    if preload:
        env['LD_PRELOAD'] = preload
    if options:
        env['CALLOC_OPTIONS'] = options
    return subprocess.run(command, env=env, check=True, text=True, stdout=subprocess.PIPE).stdout


def time_once(startup, command, preload, options='', environment=os.environ):
    """User + system time in microseconds of one run; `startup` passes CALLOC_OPTIONS on."""
    return int(output([startup, 'run', preload, *command], '', options, environment))


def memory_once(command, preload, options='', environment=os.environ):
    """What a program holds at its end, {field of smaps: KiB}; `preload` ends with `resident`."""
    return {name: int(value) for name, value in
            re.findall(r'^(\w+): +(\d+) kB$', output(command, preload, options, environment),
                       re.M)}


def times(startup, preloads):
    rows = {kind: [] for kind in preloads}
    for _ in range(RUNS):
        for kind, preload in preloads.items():
            rows[kind].append(time_once(startup, ['/bin/true'], preload))
    medians = {kind: statistics.median(row) for kind, row in rows.items()}
    print(f'/bin/true, user + system time, median of {RUNS} runs')
    for kind, time in medians.items():
        print(f'  {kind:14}{time:8.0f} us{time / medians["glibc"]:8.3f}')


def memory(command, preloads):
    """Prints the median sizes; returns by how much Rss is more than with the first preload."""
    print(f'{os.path.basename(command[0])}, memory at its end, median of {MEMORY_RUNS} runs')
    rss = []
    rows = {kind: [] for kind in preloads}
    for _ in range(MEMORY_RUNS):
        for kind, preload in preloads.items():
            rows[kind].append(memory_once(command, preload))
    for kind, row in rows.items():
        sizes = [statistics.median(one[field] for one in row) for field in FIELDS]
        print(f'  {kind:14}', *(f'{field} {size:5.0f} KiB  '
                                for field, size in zip(FIELDS, sizes)))
        rss.append(sizes[0])
    return rss[1] - rss[0]


def main():
    library, empty, resident, startup = (os.path.abspath(path) for path in sys.argv[1:])
    times(startup, {'glibc': '', 'empty preload': empty, 'libcalloc': library})
    preloads = {'empty preload': resident, 'libcalloc': f'{library} {resident}'}
    memory([startup, 'small'], preloads)
    more = memory(['/bin/true'], preloads)
    print(f'/bin/true: {more:+.0f} KiB resident, allowed +{ALLOWED_KIB} KiB')
    return more > ALLOWED_KIB


if __name__ == '__main__':
    sys.exit(main())
