#!/usr/bin/env bash
# The manual pages and completions of the tools: pages.sh CALLOC CALLOC-PRELOAD FOLDER-OF-THE-PAGES
# The pages are in good form; every command and option that the programs tell of stands in its page.
set -euo pipefail

calloc=$1 preload=$2 pages=$3 status=0

wrong() {
    printf '%s\n' "$*"
    status=1
}

# What a machine has not installed, or not listed, is not the page's fault.
for page in "$pages"/*.[1-8]; do
    found=$(mandoc -T lint -W style "$page" 2>&1 |
        grep -vE 'referenced manual not found|outdated mandoc.db' || true)
    [[ -z $found ]] || wrong "$found"
done

# options PAGE HELP: each --option of the help stands in the page.
options() {
    local page=$1 option count=0
    for option in $(grep -oE -- '--[a-z]+(-[a-z]+)*' <<<"$2" | sort -u); do
        count=$((count + 1))
        grep -qE -- "Fl ${option#-}( |\$)" "$page" || wrong "$page: does not tell of $option"
    done
    ((count)) || wrong "$page: the program tells of no option"
}

commands=0
while read -r command; do
    commands=$((commands + 1))
    page=$pages/calloc-$command.1
    [[ -f $page ]] || { wrong "$page: missing"; continue; }
    grep -qx "\.It Cm $command" "$pages/calloc.1" || wrong "calloc.1: does not tell of $command"
    options "$page" "$("$calloc" help "$command")"
done < <("$calloc" help | sed -nE 's/^  ([a-z]+) .*/\1/p')
((commands >= 2)) || wrong 'calloc help tells of no commands'

help=$("$preload" --help)
options "$pages/calloc-preload.8" "$help"
commands=0
while read -r command; do
    commands=$((commands + 1))
    grep -qx "\.It Cm $command" "$pages/calloc-preload.8" || wrong "calloc-preload.8: does not tell of $command"
done < <(sed -nE 's/^  ([a-z]+) .*/\1/p' <<<"$help")
! glued=$(grep -E '\][a-z]' <<<"$help") || wrong "calloc-preload --help: no blank in: $glued"
((commands >= 5)) || wrong 'calloc-preload --help tells of too few commands'
exit "$status"
