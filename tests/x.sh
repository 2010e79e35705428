#!/usr/bin/env bash
# x.sh X STATIC-PROGRAM: what the script of habits says of mistakes, and of programs that nothing can be
# preloaded into.
set -euo pipefail

x=$1 static=$2 failed=0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# says PATTERN ARGUMENT…: one line that matches, and status 2.
says() {
    local pattern=$1 status=0 said
    shift
    said=$("$x" "$@" 2>&1 >"$work/out") || status=$?
    # shellcheck disable=SC2053 # it is a pattern
    [[ $status == 2 && $said == $pattern && $said != *$'\n'* && ! -s $work/out ]] || {
        printf 'x %s: status %d, and said: %s\n' "$*" "$status" "$said"
        failed=1
    }
}

says 'x: there is no command "frob"; see ./x help' frob
says 'x: no command is named; see ./x help'
says 'x: run: no program is named; for example ./x run -- ls -l; see ./x help' run
says 'x: run: no program is named; for example *' run --
says 'x: check: there is no check "frob"; see ./x help' check frob
says 'x: deb: expected *; see ./x help' deb --frob
says 'x: system: there is no tests/system/frob.sh; see ./x help' system frob
[[ $("$x" help | head -n 1) == 'usage: ./x COMMAND [ARGUMENTS]' ]] || {
    echo 'x help prints no usage'
    failed=1
}

# The function alone: what calls it builds the library first.
eval "$(sed -n '/^is_static() {$/,/^}$/p' "$x")"
printf '#!%s\n' "$static" >"$work/script"
printf '#! /bin/sh -e\n' >"$work/other"
: >"$work/empty"
for program in "$static" "$work/script"; do
    is_static "$program" || {
        echo "$program is not taken for static"
        failed=1
    }
done
for program in "$(type -P bash)" "$work/other" "$work/empty" "$work/none" "$x"; do
    if is_static "$program" 2>"$work/said" || [[ -s $work/said ]]; then
        echo "$program is taken for static: $(<"$work/said")"
        failed=1
    fi
done
exit "$failed"
