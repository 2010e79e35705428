#!/usr/bin/env bash
# secure_mode.sh PROGRAM: the environment's options are ignored, without a word, by a program that
# is set-uid, and are not by the same program when it is not.
set -euo pipefail

program=$1

skip() {
    echo "skipped: $*"
    exit 77
}

fail() {
    echo "FAIL $*"
    exit 1
}

((EUID == 0)) || skip 'only root can make a program set-uid of somebody else'
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
chmod 755 "$folder"
cp "$program" "$folder/ordinary"
cp "$program" "$folder/secure"
chown nobody "$folder/secure"
chmod 4755 "$folder/secure"
secure=$("$folder/secure") || fail 'without options: it does not run'
[[ $secure == secure ]] || skip "$folder is mounted so that set-uid has no effect"

# One that has a visible effect, two that are warned about, and one of an add-on that says so.
for options in statistics=1 nonsense=1 nobody.level=1 arena.level=1; do
    output=$(CALLOC_OPTIONS=$options "$folder/ordinary" 2>&1)
    [[ $output == *libcalloc* && $output == *ordinary* ]] ||
        fail "$options has no effect in an ordinary program, so this test shows nothing: $output"
    output=$(CALLOC_OPTIONS=$options "$folder/secure" 2>&1)
    [[ $output == secure ]] || fail "$options has an effect in a set-uid program: $output"
    echo "PASS $options"
done
