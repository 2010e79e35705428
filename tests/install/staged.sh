#!/usr/bin/env bash
# staged.sh BUILD-FOLDER COMPONENT…: what `meson install` puts into a folder of its own can be linked and run
# from there.
set -euo pipefail

build=$1
shift
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
meson install -C "$build" --no-rebuild --destdir "$stage" >"$stage/log" 2>&1 || {
    cat "$stage/log"
    exit 1
}
folder=$(find "$stage" -name pkgconfig -type d)
export PKG_CONFIG_SYSROOT_DIR=$stage PKG_CONFIG_PATH=$folder LD_LIBRARY_PATH=${folder%/*}
# The sysroot is put before libseccomp's folder too, which the compiler finds without being told.
here=$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")
"$here/link.sh" "$@"

# In a program that is linked statically, with symbols or without, stacks end where the allocator is called.
cd -- "$stage"
# shellcheck disable=SC2046 # lists of flags
"${CC:-cc}" -g -O1 -fno-builtin -o static "$here/../../tools/tests/recorded.c" -static \
    $(pkg-config --static --cflags --libs libcalloc-track)
strip -o stripped static
for program in static stripped; do
    CALLOC_OPTIONS=track.quiet=1,track.path=$stage/$program.profile "./$program"
    "$build/tools/calloc" report --collapsed -m allocations "$program.profile" >"$program.stacks"
    # Where its code is, the name has no more than the program's.
    depths=$(sed -E 's/ [0-9]+$//; s/[^;]//g' "$program.stacks" | awk '{ print length }' | sort -n | tail -n 1)
    [[ $program == stripped ]] || most=$depths
    ((depths == most)) || {
        echo "the stacks of $program are of another depth: $depths instead of $most"
        exit 1
    }
done
for stack in 'main;leak_some 7' 'main;keep_one 1' 'main;use_much 1000'; do
    grep -q ";$stack\$" static.stacks || {
        echo "no stack ends with $stack:"
        cat static.stacks
        exit 1
    }
done
! grep -E '(^|;)(cal__|malloc)' static.stacks || exit 1
