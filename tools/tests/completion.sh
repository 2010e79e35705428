#!/usr/bin/env bash
# What the shell completes: completion.sh CALLOC CALLOC-PRELOAD FOLDER-OF-THE-COMPLETIONS
set -euo pipefail

calloc=$1 preload=$2 status=0
export LC_ALL=C
# shellcheck source=/dev/null
. "$3/calloc"
# shellcheck source=/dev/null
. "$3/calloc-preload"
# It works only where a completion runs.
compopt() { :; }

# completes FUNCTION PROGRAM EXPECTED WORD…: of the last word; the first is the program's name.
completes() {
    local function=$1 program=$2 expected=$3 found
    shift 3
    COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=()
    "$function" "$program"
    found="${COMPREPLY[*]}"
    # shellcheck disable=SC2053 # it is a pattern
    [[ $found == $expected ]] || {
        echo "$*: completed as: $found"
        status=1
    }
}

of_calloc() { completes _calloc "$calloc" "$@"; }
of_preload() { completes _calloc_preload "$preload" "$@"; }

of_calloc 'run' calloc ru
of_calloc '*run*doctor*help*' calloc ''
of_calloc '--level' calloc run --le
of_calloc 'paranoid' calloc run --level p
of_calloc 'standard' calloc run --level = st
of_calloc 'light standard paranoid' calloc run --level =
of_calloc 'retain=' calloc run --option reta
of_calloc 'secure.level=' calloc run --option secure.lev
of_calloc 'track.sample=' calloc run --option track.sam
of_calloc 'core' calloc run --with co
of_calloc '*/etc/passwd*' calloc run --level light cat /etc/passw
of_calloc '*/etc/passwd*' calloc run -- cat --level /etc/passw
of_calloc '*bash*' calloc run bas
of_calloc '--all --json' calloc doctor --
of_calloc '--collapsed' calloc report --col
of_calloc '--no-symbols' calloc report --no
of_calloc 'temporaries' calloc report --metric te
of_calloc '*/etc/passwd*' calloc report --html /etc/passw
of_calloc 'trace' calloc record --mode tr
of_calloc '*/etc/passwd*' calloc record -o /etc/passw
of_calloc '*/etc/passwd*' calloc record --mode all cat /etc/passw
of_calloc 'total' calloc replay --order t
of_preload 'enable' calloc-preload en
of_preload 'disable' calloc-preload di
of_preload 'light' calloc-preload enable --level l
of_preload 'secure' calloc-preload enable se
of_preload 'core secure' calloc-preload enable ''
of_preload '--root --brief' calloc-preload status --
of_preload '--root --package' calloc-preload disable --
of_preload '/etc/*' calloc-preload verify --root /et*/
exit "$status"
