#!/usr/bin/env bash
# programs.sh LIBCALLOC [--long] [NAME…]: real programs, unmodified, once as they are and once with
# the allocator preloaded. Status, standard output, standard error and what they leave in result/
# must be the same. All of them, or only the named ones; --long adds what takes minutes.
#
# Each program is a function here, run in an empty folder of its own. What differs from run to run
# (times, process ids, speeds) they take out themselves.
# shellcheck disable=SC2317 # the functions are called by the names in the table
set -euo pipefail

library=$(readlink -f -- "$1")
shift
script=$(readlink -f -- "${BASH_SOURCE[0]}")
here=${script%/*}/programs
table=(bash coreutils find sort xz gcc g++ git sqlite perl ruby java redis python
    python-malloc)
long_table=(python-suite)
export LC_ALL=C.UTF-8 TZ=UTC

missing() {
    echo "package $1 is not installed" >skipped
    exit 0
}

# needs PACKAGE COMMAND: a program that is not there is reported as skipped.
needs() {
    type -P -- "$2" >/dev/null || missing "$1"
}

run_bash() {
    bash "$here/words.sh"
    bash -c 'f() { (($1 == 0)) || f $(($1 - 1)); }; f 800; echo "${BASH_VERSINFO[0]}"'
    bash -c 'for i in {1..200}; do : "$(echo "$i" | tr 0-9 a-j)"; done; echo done'
}

run_coreutils() {
    seq 300000 >numbers
    tac numbers | shuf --random-source=numbers | sha256sum
    seq 100000 | factor | tail -n 3
    seq 30000 | split -l 1000 - part. && cat part.* | md5sum
    du -a /usr/share/doc | wc -l
    seq 5000 | sed -E 's/(.)(.)/\2\1/;s/^/x/' | awk '{ s = s $0 } END { print length(s) }'
    tar -cf - --sort=name --mtime=@0 part.* | gzip -n | sha256sum
    date -d @1700000000 +%c
    grep -rc 'the' /usr/share/common-licenses | sort
}

run_find() {
    find /usr/lib /usr/share -xdev -name '*.[ch]*' -size +1 -printf '%p %s\n' 2>/dev/null |
        sort | sha256sum
    find /usr/share/doc -type f -exec md5sum {} + | sort | sha256sum
}

run_sort() {
    awk 'BEGIN { srand(7); for (i = 0; i < 150000; i++) print int(rand() * 1e9), rand() }' >numbers
    sort --parallel=4 -S 20M -n numbers | sha256sum
    sort --parallel=2 -k2,2g -u numbers | sha256sum
    sort -R --random-source=numbers numbers | wc -l
}

run_xz() {
    needs xz-utils xz
    awk 'BEGIN { srand(3); for (i = 0; i < 400000; i++) print int(rand() * 5000) }' >text
    # Blocks of 1 MiB, so that both threads have some.
    xz -T2 -6 --block-size=1MiB -k text
    sha256sum text.xz
    xz -T2 -dc text.xz | cmp - text
    xz -lv text.xz | grep -c CRC64
}

run_gcc() {
    needs gcc gcc
    awk -f "$here/large.awk" -v functions=200 >large.c
    gcc -std=c17 -O2 -g -c large.c -o result/large.o
    gcc -std=c17 -O0 -S large.c -o result/large.s
    gcc -std=c17 -O2 large.c -DMAIN -flto=2 -o large
    ./large
}

run_g++() {
    needs g++ g++
    g++ -std=c++17 -O1 -g -c "$here/templates.cpp" -o result/templates.o
    g++ result/templates.o -o templates
    ./templates
}

run_git() {
    needs git git
    export GIT_CONFIG_NOSYSTEM=1 HOME=$PWD GIT_AUTHOR_DATE='1700000000 +0000' \
        GIT_COMMITTER_DATE='1700000000 +0000'
    git config --global user.name somebody
    git config --global user.email somebody@example.invalid
    git init -q -b main repository
    (
        cd repository
        for commit in {1..12}; do
            for file in {1..25}; do
                seq "$commit" $((commit * file % 97)) 3000 >"file$file"
            done
            git add -A
            git commit -q -m "commit $commit"
        done
        git branch side HEAD~5
        git checkout -q side
        echo side >aside
        git add aside
        git commit -q -m side
        git merge -q -m merged main
        git -c pack.threads=2 gc -q --aggressive --prune=now
        git fsck --full --strict
        git log --stat --format=%H | sha256sum
        git blame file3 | sha256sum
    )
    git clone -q --no-local repository clone
    git -C clone fsck --full
    git -C clone rev-parse HEAD
    git -C clone grep -c 99 | sha256sum
    git -C clone repack -adfq --threads=2
    git -C clone archive HEAD | sha256sum
}

run_sqlite() {
    needs sqlite3 sqlite3
    sqlite3 :memory: <"$here/queries.sql"
    sqlite3 file.db <"$here/queries.sql"
    sqlite3 file.db 'pragma integrity_check' .dump | sha256sum
}

run_perl() {
    needs perl perl
    perl "$here/words.pl"
}

run_ruby() {
    needs ruby ruby
    ruby "$here/threads.rb"
}

run_java() {
    needs openjdk-17-jre-headless java
    # The crash log would otherwise be left in the folder of the tests.
    java -Xmx256m -XX:ErrorFile="$PWD/crash" "$here/Threads.java"
}

run_redis() {
    needs redis-server redis-server
    needs redis-tools redis-benchmark
    bash "$here/redis.sh"
}

python_tests() {
    [[ -d /usr/lib/python3.11/test/test_json ]] || missing libpython3.11-testsuite
    # What is left are the names of the tests that failed and the result.
    local status=0
    /usr/bin/python3 -m test "$@" >log 2>&1 || status=$?
    sed -nE '/tests? failed/,/^$/p; /tests? OK|Tests result/p; /^libcalloc/p' log
    return "$status"
}

run_python() {
    /usr/bin/python3 -c 'import json; print(len(json.dumps(list(range(10**6)))))'
    python_tests test_json test_dict test_bytes test_zlib test_array test_struct
    /usr/bin/python3 "$here/pools.py"
}

# Each object a block of its own, instead of Python's pools.
run_python-malloc() {
    export PYTHONMALLOC=malloc
    python_tests test_dict test_list test_set test_re test_unicode test_deque test_functools
    /usr/bin/python3 "$here/pools.py"
}

run_python-suite() {
    export PYTHONMALLOC=malloc
    python_tests -j2 test_json test_dict test_list test_set test_re test_bytes test_unicode \
        test_threading test_gc test_zlib test_pickle test_subprocess test_deque test_bz2 \
        test_lzma test_collections test_array test_memoryview test_itertools test_exceptions \
        test_weakref test_thread test_fork1 test_struct test_string test_ast test_generators \
        test_functools test_heapq test_xml_etree test_mmap test_io test_decimal \
        test_concurrent_futures test_multiprocessing_fork test_asyncio test_ctypes
}

# --- the two runs ----------------------------------------------------------------

# A shell of its own for each run: where it is preloaded it is one of the programs, too, and
# a command that fails ends it.
if [[ ${1-} == --inside ]]; then
    # Seen from a program that this shell starts: that is how the others are started.
    status=0
    grep -qF -- "$library" /proc/self/maps || status=$?
    if [[ $3 != plain ]] && ((status)); then
        echo "$library is not preloaded"
        exit 99
    fi
    "run_$2"
    exit
fi
# Of the caller's session; libraries that Meson set the path for are not the programs' concern.
unset LD_LIBRARY_PATH LD_PRELOAD CALLOC_OPTIONS MALLOC_PERTURB_

# one NAME plain|preloaded: leaves out, err, status and run/ in $work/NAME/MODE. Both run in a folder
# of one name, which may appear in what they write.
one() {
    local folder=$work/$1/$2 status=0
    local -a with=(env)
    mkdir -p "$folder" "$work/run/result"
    [[ $2 == plain ]] || with+=("LD_PRELOAD=$library")
    (cd "$work/run" && exec "${with[@]}" bash "$script" "$library" --inside "$1" "$2") \
        >"$folder/out" 2>"$folder/err" </dev/null || status=$?
    echo "$status" >"$folder/status"
    mv "$work/run" "$folder/run"
}

both() {
    local name=$1 file plain=$work/$1/plain preloaded=$work/$1/preloaded
    one "$name" plain
    if [[ -e $plain/run/skipped ]]; then
        skipped=$((skipped + 1))
        echo "SKIP $name: $(<"$plain/run/skipped")"
        return
    fi
    # A program that fails as it is shows nothing.
    if [[ $(<"$plain/status") != 0 ]]; then
        echo "FAIL $name: without the allocator it fails too, status $(<"$plain/status")"
        tail -n 20 "$plain/out" "$plain/err"
        failed=$((failed + 1))
        return
    fi
    one "$name" preloaded
    for file in status out err run/result; do
        if ! diff -r "$plain/$file" "$preloaded/$file" >"$work/difference" 2>&1; then
            echo "FAIL $name: not the same ${file#run/}"
            head -n 40 "$work/difference"
            failed=$((failed + 1))
            return
        fi
    done
    # Also where both runs would have it: nothing of ours may be heard.
    if grep -r '^libcalloc:' "$preloaded/out" "$preloaded/err"; then
        echo "FAIL $name: the allocator complains"
        failed=$((failed + 1))
        return
    fi
    echo "PASS $name"
    rm -rf "${work:?}/$name"
}

if [[ ${1-} == --long ]]; then
    table+=("${long_table[@]}")
    shift
fi
(($#)) || set -- "${table[@]}"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0
skipped=0
for name; do
    both "$name"
done
echo "$# programs, $failed failed, $skipped skipped"
((failed == 0)) || exit 1
# There is one verdict for all: a part that was not run must not look as if it had passed.
((skipped == 0)) || exit 77
