#!/usr/bin/env bash
# link.sh COMPONENT…: compiles and runs a user's programs against the pkg-config file of each component,
# with the shared library, with the archive in place of it, and with everything linked statically.
#
# PKG_CONFIG_PATH and the like say where it is installed; by default where Debian's packages are.
# The last line is `N passed, N failed`.
set -euo pipefail

here=$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
passed=0 failed=0
# A profiler writes where the program runs.
cd -- "$work"

say() {
    printf '%s %s: %s\n' "$1" "$component" "$2"
    if [[ $1 == PASS ]]; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        cat -- "$work/log"
    fi
}

# ends EXPECTED PATTERN COMMAND…: the command's status, and what it writes.
ends() {
    local expected=$1 pattern=$2 status=0
    shift 2
    # bash itself would tell of a signal.
    { "$@" >"$work/log" 2>&1; } 2>"$work/bash" || status=$?
    [[ $status == "$expected" && $(<"$work/log") =~ $pattern ]] && return
    printf 'status %d, expected %d, and output that matches %s\n' "$status" "$expected" "$pattern" \
        >>"$work/log"
    return 1
}

# what it is to write, by the name of the program; others, anything
declare -A output=(
    [libcalloc]='^libcalloc [0-9.]+$'
    [libcalloc-secure]='^level 1$'
    [libcalloc-sandbox]='^locked$'
    [libcalloc-track]='recorded 1, stacks known'
    [operators]='^caught$'
    # and the table of statistics, which shows whose malloc it is
    [plain]=$'libcalloc statistics of.*\nplain$'
)

declare -A statistics=([plain]=CALLOC_OPTIONS=statistics=1)

# program HOW SOURCE FLAGS…
program() {
    local how=$1 source=$2 name=${2%.*} compiler=${CC:-cc}
    shift 2
    [[ $source != *.cpp ]] || compiler=${CXX:-c++}
    if ! "$compiler" -O2 -Wall -Wextra -Werror -o "$work/program" "$here/$source" "$@" >"$work/log" 2>&1; then
        say FAIL "$source, $how: does not link with $*"
        return
    fi
    if grep -v "Using 'dlopen' in statically linked" "$work/log" | grep -i 'warning'; then
        say FAIL "$source, $how: links with a warning"
        return
    fi
    case $how in
    static*) ! LC_ALL=C readelf -d "$work/program" 2>&1 | grep NEEDED >"$work/log" ;;
    archive) ! LC_ALL=C readelf -d "$work/program" | grep "\[$component\." >"$work/log" ;;
    *) LC_ALL=C readelf -d "$work/program" >"$work/log" && grep -q "\[$component\." "$work/log" ;;
    esac || {
        say FAIL "$source, $how: needs the wrong libraries"
        return
    }
    # shellcheck disable=SC2086 # none, or one
    ends 0 "${output[$name]-}" env ${statistics[$name]-} "$work/program" || {
        say FAIL "$source, $how: runs"
        return
    }
    [[ $component != libcalloc-secure ]] ||
        ends 134 'libcalloc: overflow of .* byte 24,' "$work/program" overflow || {
        say FAIL "$source, $how: finds an overflow"
        return
    }
    say PASS "$source, $how"
}

for component; do
    [[ -f $here/$component.c ]] || {
        echo "no program for $component: tests/install/$component.c is missing" >"$work/log"
        say FAIL 'is tested'
        continue
    }
    # shellcheck disable=SC2015 # that is what is meant
    shared=$(pkg-config --cflags --libs "$component") &&
        static=$(pkg-config --static --cflags --libs "$component") || {
        echo "pkg-config does not know $component" >"$work/log"
        say FAIL 'has a pkg-config file'
        continue
    }
    sources=("$component.c")
    [[ $component != libcalloc ]] || sources+=(operators.cpp)
    # The sandbox does not bring the allocator along.
    [[ $component == libcalloc-sandbox ]] || sources+=(plain.c)
    # shellcheck disable=SC2046,SC2086 # lists of flags
    for source in "${sources[@]}"; do
        program shared "$source" $shared
        # What distributions give by default, and what would drop a library that nothing is called of.
        [[ $component == libcalloc-sandbox ]] ||
            program 'shared, as needed' "$source" -Wl,--as-needed $shared
        program archive "$source" $(sed -E 's/-l(calloc[a-z-]*)/-l:lib\1.a/g' <<<"$static")
        program static "$source" -static $static
        program 'static, position-independent' "$source" -static-pie $static
    done
done
echo "$passed passed, $failed failed"
((failed == 0 && passed > 0))
