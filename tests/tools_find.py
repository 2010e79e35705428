#!/usr/bin/env python3
"""tools_find.py memcheck LIBCALLOC VICTIM | asan VICTIM

The tool must name the kind of each error of victim.c, and the function that made it; and find
nothing in a program without an error.
"""
import os
import re
import shutil
import subprocess
import sys

# error: what memcheck says first, and what it says of the address
MEMCHECK = {
    'overflow_by_one': (r'Invalid write of size 1', r'0 bytes after a block of size 24 alloc'),
    'overflow_read_large': (r'Invalid read of size 1', r'0 bytes after a block of size 300,001 a'),
    'underflow_by_one': (r'Invalid write of size 1', r'1 bytes before a block of size 64 alloc'),
    'overflow_after_shrinking': (r'Invalid write of size 1', r'0 bytes after a block of size 500'),
    'use_after_free': (r'Invalid read of size 1', r"8 bytes inside a block of size 40 free'd"),
    'use_after_free_large': (r'Invalid read of size 1',
                             r"4,096 bytes inside a block of size 2,097,152 free'd"),
    'use_after_realloc': (r'Invalid write of size 1',
                          r"0 bytes inside a block of size 100 free'd"),
    'leak': (r'77 bytes in 1 blocks are definitely lost', None),
    'leak_large': (r'3,000,001 bytes in 1 blocks are definitely lost', None),
    'uninitialised_read': (r'Conditional jump or move depends on uninitialised value', None),
    'uninitialised_after_reuse':
        (r'Conditional jump or move depends on uninitialised value', None),
    'invalid_free': (r'libcalloc: invalid free of 0x', None),
    'double_free': (r'libcalloc: double free of 0x|Invalid free\(\)', None),
}

ASAN = {
    'overflow_by_one': r'use-after-poison|heap-buffer-overflow',
    'overflow_read_large': r'use-after-poison|heap-buffer-overflow',
    'underflow_by_one': r'use-after-poison|heap-buffer-overflow',
    'overflow_after_shrinking': r'use-after-poison|heap-buffer-overflow',
    'use_after_free': r'use-after-poison|heap-use-after-free',
    # Unmapped, or kept for re-use and poisoned.
    'use_after_free_large': r'use-after-poison|heap-use-after-free|SEGV on unknown address',
    'use_after_realloc': r'use-after-poison|heap-use-after-free',
    'invalid_free': r'libcalloc: invalid free of 0x',
    'double_free': r'libcalloc: double free of 0x',
}

failures = 0


def verdict(name, good, output):
    global failures
    print('PASS' if good else 'FAIL', name)
    if not good:
        failures += 1
        print(output)


def run(command, **environment):
    process = subprocess.run(command, env={**os.environ, **environment}, text=True,
                             errors='replace', stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return process.returncode, process.stdout


def memcheck(library, victim):
    if shutil.which('valgrind') is None:
        print('skipped: there is no valgrind')
        sys.exit(77)
    valgrind = ['valgrind', '--soname-synonyms=somalloc=nouserintercepts', '--leak-check=full',
                '--error-exitcode=99', '--num-callers=30', victim]
    for name in 'clean', 'clean_threads':
        status, output = run(valgrind + [name], LD_PRELOAD=library)
        verdict(name, status == 0 and 'ERROR SUMMARY: 0 errors' in output and
                'definitely lost: 0 bytes' in output.replace('All heap blocks were freed',
                                                             'definitely lost: 0 bytes'), output)
    for name, (kind, address) in MEMCHECK.items():
        status, output = run(valgrind + [name], LD_PRELOAD=library)
        where = re.search(kind, output)
        rest = output[where.start():] if where else ''
        # The user's function and line, within that report.
        report = re.split(r'==\d+== \n', rest)[0] if address or 'leak' in name else rest
        good = (where is not None and status != 0 and
                re.search(rf': {name} \(victim\.c:\d+\)', report) is not None and
                (address is None or re.search(address, report) is not None))
        verdict(name, good, output)


def asan(victim):
    status, output = run([victim, 'clean'])
    verdict('clean', status == 0 and output == '', output)
    status, output = run([victim, 'clean_threads'])
    verdict('clean_threads', status == 0 and output == '', output)
    for name, kind in ASAN.items():
        status, output = run([victim, name], ASAN_OPTIONS='handle_abort=1')
        verdict(name, status != 0 and re.search(kind, output) is not None and
                re.search(rf' in {name} ', output) is not None, output)


if __name__ == '__main__':
    {'memcheck': memcheck, 'asan': asan}[sys.argv[1]](*sys.argv[2:])
    sys.exit(failures != 0)
