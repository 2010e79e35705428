#!/bin/sh
# Whether the places of a sampled block's line are what addr2line makes of them: places.sh CORE SECURE STATIC PROGRAM…
# STATIC has the libraries in it, and so no places.
set -u

preloads="$1 $2" static=$3
shift 3
failed=0
export CALLOC_OPTIONS=secure.sample=1,secure.guard_protect_first=0

fail() {
    echo "$@"
    failed=1
}

# is_in FUNCTION TITLE PROGRAM LINE: whether a place in the list behind TITLE is in it.
is_in() {
    list=${4##*", $2 at "}
    list=${list%%, freed at *}
    file=${3##*/}
    for place in $(echo "$list" | tr -d ','); do
        [ "${place%+*}" = "$file" ] || continue
        # A return address is behind the call.
        function=$(addr2line -f -e "$3" "$(printf '0x%x' $((${place##*+} - 1)))" | head -n 1)
        [ "$function" != "$1" ] || return 0
    done
    return 1
}

# look PROGRAM COMMAND…
look() {
    program=$1
    shift
    said=$(LD_PRELOAD=$preloads "$@" 2>&1) || fail "$program: ended with $?, said: $said"
    [ -z "$said" ] || fail "$program: said: $said"
    said=$(LD_PRELOAD=$preloads "$@" again 2>&1) && fail "$program: two frees passed"
    case $said in
    'libcalloc: double free of 0x'*) ;;
    *) fail "$program: said: $said" ;;
    esac
    is_in allocate_here allocated "$program" "$said" || fail "$program: not allocated there: $said"
    is_in free_here freed "$program" "$said" || fail "$program: not freed there: $said"
}

for program in "$@"; do
    look "$program" "$program"
done

# Its unwinder is not ready at its start, and holds a lock when it frees at its end.
said=$("$static" 2>&1) || fail "static: ended with $?"
[ -z "$said" ] || fail "static: said: $said"
said=$("$static" again 2>&1) && fail 'static: two frees passed'
case $said in
'libcalloc: double free of 0x'*' at '*) fail "static: said: $said" ;;
'libcalloc: double free of 0x'*) ;;
*) fail "static: said: $said" ;;
esac

# By its loader.
loader=$(readelf -l "$1" | sed -n 's/.*interpreter: \(.*\)]/\1/p')
look "$1" "$loader" "$1"

# Started by another name.
program=$(realpath "$1")
folder=$(mktemp -d)
trap 'rm -r "$folder"' EXIT
ln -s "$program" "$folder/by-another-name"
look "$program" "$folder/by-another-name"
printf '#!%s\n' "$program" >"$folder/script"
chmod +x "$folder/script"
said=$(LD_PRELOAD=$preloads "$folder/script" 2>&1) && fail 'script: two frees passed'
is_in free_here freed "$program" "$said" || fail "script: not freed there: $said"
exit $failed
