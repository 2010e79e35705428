#!/usr/bin/env bash
# lifetimes.sh LIBCALLOC LINKED PLAIN LIBRARY: allocation in constructors, destructors, atexit
# handlers, destructors of thread-local objects and after the allocator's own end, in a program
# that is linked with it, under a preload, and with a library before and after it.
set -euo pipefail

library=$1 linked=$2 plain=$3 companion=$4
failed=0

# expect NAME EXPECTED COMMAND…
expect() {
    local name=$1 expected=$2 status=0 output
    shift 2
    output=$("$@" 2>&1) || status=$?
    if ((status == 0)) && [[ $output == "$expected" ]]; then
        echo "PASS $name"
    else
        printf 'FAIL %s: status %d, and wrote\n%s\n' "$name" "$status" "$output"
        failed=1
    fi
}

program='program: first constructor
program: constructor
program: main
program: destructor of a thread-local object
program: atexit handler
program: destructor
program: last destructor'
begin='library: first constructor
library: constructor'
end='library: destructor
library: last destructor'

expect linked "$program" "$linked"
expect preloaded "$program" env LD_PRELOAD="$library" "$plain"
for order in "$library $companion" "$companion $library"; do
    expect "with a library: ${order//*\//}" "$begin"$'\n'"$program"$'\n'"$end" \
        env LD_PRELOAD="$order" "$plain"
done

# One of the two orders must have had the library's destructors run after the allocator's, which
# prints the statistics; else this was no test of what comes after its end.
after=0
for order in "$library $companion" "$companion $library"; do
    output=$(CALLOC_OPTIONS=statistics=1 LD_PRELOAD=$order "$plain" 2>&1)
    if [[ $output == *'libcalloc statistics'*'library: last destructor' ]]; then
        after=1
    fi
done
if ((after)); then
    echo 'PASS after the end of the allocator'
else
    echo 'FAIL no destructor ran after the end of the allocator'
    failed=1
fi
exit "$failed"
