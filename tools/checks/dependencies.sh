#!/usr/bin/env bash
# The core needs the C library alone: dependencies.sh COMPONENT-FOLDER LIBRARY
# An add-on may name more in its file DEPENDENCIES, one soname on each line.
set -euo pipefail

folder=$1 library=$2 status=0
allowed=(libc.so.6 'ld-linux*.so.*' 'ld64.so.*')
if [[ -f $folder/DEPENDENCIES ]]; then
    mapfile -t -O "${#allowed[@]}" allowed <"$folder/DEPENDENCIES"
fi

dynamic=$(LC_ALL=C readelf -d "$library")
mapfile -t needed < <(sed -nE 's/.*\(NEEDED\).*\[(.*)\]/\1/p' <<<"$dynamic")
if ((${#needed[@]} == 0)); then
    echo "$library needs no library at all: is it the right file?"
    status=1
fi
for soname in "${needed[@]}"; do
    for pattern in "${allowed[@]}"; do
        # shellcheck disable=SC2053 # it is a pattern
        [[ $soname != $pattern ]] || continue 2
    done
    echo "$library needs $soname"
    status=1
done
if grep -E '\((TEXTREL|RPATH|RUNPATH)\)' <<<"$dynamic"; then
    echo "$library has text relocations or a search path of its own"
    status=1
fi
exit "$status"
