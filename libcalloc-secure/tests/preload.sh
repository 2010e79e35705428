#!/bin/sh
# How the library gets into a process: preload.sh CORE SECURE LATE OWN_MALLOC UNUSED
set -u

core=$1 secure=$2 late=$3 own=$4 unused=$5
failed=0
unset CALLOC_OPTIONS

# check NAME STATUS STDERR-PATTERN COMMAND…: the pattern is of case, '' is nothing at all.
check() {
    name=$1 status=$2 pattern=$3
    shift 3
    said=$("$@" 2>&1 >/dev/null)
    got=$?
    # shellcheck disable=SC2254 # it is a pattern
    case $said in
    $pattern) matches=true ;;
    *) matches=false ;;
    esac
    if [ $got -ne "$status" ] || ! $matches; then
        echo "$name: ended with $got, said: $said"
        failed=1
    fi
}

not='libcalloc: this process is not hardened: its malloc is that of /*libc*; preload libcalloc.so.1 too, or link with it before libc'
error='libcalloc: overflow of 0x*, byte 41, block of * bytes, requested 41, thread *'

check 'both' 0 '' env LD_PRELOAD="$core $secure" ls /
check 'in the other order' 0 '' env LD_PRELOAD="$secure $core" ls /
check 'without the core' 0 "$not" env LD_PRELOAD="$secure" ls /
check 'off, without the core' 0 '' env LD_PRELOAD="$secure" CALLOC_OPTIONS=secure.enable=0 ls /
check 'the core alone, told of a level' 0 '*secure.level*' \
    env LD_PRELOAD="$core" CALLOC_OPTIONS=secure.level=light ls /

check 'late' 0 '' env LD_PRELOAD="$core" "$late" "$secure" 1
check 'late, with an error' 134 "$error" env LD_PRELOAD="$core" "$late" "$secure" 1 error
# The core says that nobody takes them yet when it starts.
check 'late, standard, with an error' 134 "libcalloc: no add-on is loaded yet that takes 'secure.level=standard' in CALLOC_OPTIONS (*)
$error" \
    env LD_PRELOAD="$core" CALLOC_OPTIONS=secure.level=standard "$late" "$secure" 2 error
check 'late, off' 0 "*yet*'secure.enable=0' in CALLOC_OPTIONS (*)" env LD_PRELOAD="$core" CALLOC_OPTIONS=secure.enable=0 "$late" "$secure" 0
check 'late, without the core' 0 "$not" "$late" "$secure" 0
check 'not late' 134 "$error" env LD_PRELOAD="$core $secure" "$late" "$secure" 1 error

check 'nothing allocated' 134 "$error" "$unused"

check 'own malloc' 0 '' env LD_PRELOAD="$core $secure" "$own"
[ "$(LD_PRELOAD="$core $secure" "$own")" = 'its own' ] || {
    echo 'own malloc: not noticed'
    failed=1
}

exit $failed
