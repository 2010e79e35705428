#!/usr/bin/env bash
# programs.sh LIBRARY… [-- NAME…]: real programs that enter a seccomp filter of their own, once as they are
# and once with the libraries preloaded and the caller's CALLOC_OPTIONS. Status, standard output and standard
# error must be the same, and the filter must have been there. All of them, or only the named ones.
#
# Each program is a function here, run in an empty folder of its own; `confined` starts what is preloaded,
# and nothing else is. The file `sandbox` that it leaves says where the filter was seen.
# shellcheck disable=SC2317 # the functions are called by the names in the table
set -euo pipefail

script=$(readlink -f -- "${BASH_SOURCE[0]}")
repository=$(readlink -f -- "${script%/*}/../..")
table=(sshd man file)
export LC_ALL=C.UTF-8 TZ=UTC

missing() {
    echo "$*" >skipped
    exit 0
}

# --- sshd -----------------------------------------------------------------------

# A port that is free now; another may take it before sshd does, which then says so.
free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

sshd= # its process
made= # the folder that was not there

# start_sshd: on a port of 127.0.0.1, in $port, with the files of this folder.
start_sshd() {
    local _
    for _ in {1..5}; do
        port=$(free_port)
        : >log
        # Not by the function: that would be a shell in between, and its id.
        "${with[@]}" /usr/sbin/sshd -D -f "$PWD/config" -E "$PWD/log" -p "$port" 2>sshd-errors &
        sshd=$!
        until grep -q '^Server listening on' log; do
            kill -0 "$sshd" 2>/dev/null || break
            sleep 0.02
        done
        ! kill -0 "$sshd" 2>/dev/null || return 0
        wait "$sshd" || true
        grep -q 'Address already in use' log || break
    done
    cat log sshd-errors >&2
    return 1
}

# login ALGORITHM-OF-KEX KEY COMMAND…
login() {
    ssh -F none -p "$port" -i "$2" -o KexAlgorithms="$1" -o UserKnownHostsFile="$PWD/known" \
        -o StrictHostKeyChecking=yes -o IdentitiesOnly=yes -o BatchMode=yes -o RekeyLimit=1M \
        -o LogLevel=ERROR -o Compression="${compression-no}" 127.0.0.1 "${@:3}"
}

end_sshd() {
    [[ -z $sshd ]] || kill "$sshd" 2>/dev/null || true
    [[ -z $made ]] || rmdir "$made" || true
}

run_sshd() {
    local kex type
    [[ -x /usr/sbin/sshd ]] || missing 'package openssh-server is not installed'
    type -P ssh >/dev/null || missing 'package openssh-client is not installed'
    # sshd wants this folder for its child, and its packages make it when the service starts.
    if ((EUID == 0)) && [[ ! -d /run/sshd ]]; then
        mkdir -m 755 /run/sshd
        made=/run/sshd
    fi
    trap end_sshd EXIT
    for type in ed25519 rsa ecdsa; do
        ssh-keygen -q -t "$type" -N '' -C somebody -f "host-$type"
        ssh-keygen -q -t "$type" -N '' -C somebody -f "user-$type"
        cat "user-$type.pub" >>authorized
    done
    sed 's/^/* /' host-*.pub >known
    cat >config <<END
ListenAddress 127.0.0.1
HostKey $PWD/host-ed25519
HostKey $PWD/host-rsa
HostKey $PWD/host-ecdsa
AuthorizedKeysFile $PWD/authorized
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
StrictModes no
UsePAM no
PidFile none
LogLevel DEBUG3
END
    start_sshd
    head -c 3000000 /dev/zero | tr '\0' x >numbers
    seq 300000 >>numbers
    for kex in sntrup761x25519-sha512@openssh.com curve25519-sha256 ecdh-sha2-nistp521 \
        diffie-hellman-group-exchange-sha256 diffie-hellman-group16-sha512; do
        # shellcheck disable=SC2016 # the other shell's
        login "$kex" user-ed25519 'echo logged in with "$0"' "$kex"
    done
    login curve25519-sha256 user-rsa 'cat | sha256sum' <numbers
    compression=yes login ecdh-sha2-nistp256 user-ecdsa "cat $PWD/numbers" | sha256sum
    # Nobody's key, which is refused inside the filter, too.
    ssh-keygen -q -t ed25519 -N '' -C nobody -f stranger
    login curve25519-sha256 stranger echo in 2>&1 | sed 's/^[^@]*@//' || true
    # The process that this command has as its parent is sshd's, forked for the login.
    # shellcheck disable=SC2016
    login curve25519-sha256 user-ed25519 'cat /proc/$PPID/maps' >session-maps
    kill "$sshd"
    wait "$sshd" || true
    sshd=
    cat sshd-errors
    grep -c '^Accepted publickey' log
    # In the child that talks with the network before the user is known.
    grep -E 'attaching seccomp filter program' log | sort | uniq -c >sandbox || true
    grep -iE 'terminated by signal|bad system call|libcalloc' log || true
    all_mapped session-maps
}

# --- man ------------------------------------------------------------------------

run_man() {
    local page
    type -P man >/dev/null || missing 'package man-db is not installed'
    # groff 1.22.4 hands to delete[] what malloc made, and dies of it where that is looked at.
    [[ $options != *secure.* ]] || with_options "$options,secure.kinds=0"
    unset MAN_DISABLE_SECCOMP MANOPT MANPATH MANROFFOPT
    export MANPAGER=cat MANWIDTH=80 HOME=$PWD
    cat >tables.1 <<'END'
'\" t
.TH TABLES 1
.SH NAME
tables \- boxes
.SH TABLE
.TS
allbox;
c c
l n.
NAME	NUMBER
one	1
two	2.25
T{
A cell of some words, which are to be filled over more than one line, by and by.
T}	3
.TE
END
    # Packed ones are unpacked inside a filter, too.
    for page in "$repository"/libcalloc/man/*.[1-9] tables.1; do
        gzip -nc "$page" >"${page##*/}.gz"
        confined man -l "./${page##*/}.gz" | sha256sum
    done
    confined man -l ./tables.1
    confined man -Tps -l ./tables.1 | grep -vE '^%%(CreationDate|Creator)' | sha256sum
    confined man -d -l ./tables.1.gz 2>&1 >/dev/null | grep '^loading seccomp filter' | sort |
        uniq -c >sandbox || true
}

# --- file -----------------------------------------------------------------------

run_file() {
    local list
    type -P file >/dev/null || missing 'package file is not installed'
    mapfile -t list < <(find /usr/bin /usr/lib/x86_64-linux-gnu /usr/share/doc /usr/share/zoneinfo \
        "$repository/docs" "$repository/bench" -xdev -type f 2>/dev/null | sort | awk 'NR % 25 == 0')
    confined file -- "${list[@]}" | sha256sum
    confined file -k --mime -- "${list[@]::200}" | sha256sum
    tar -C "$repository" -cf - --sort=name --mtime=@0 docs | gzip -n >docs.tar.gz
    confined file docs.tar.gz
    confined file -S -z docs.tar.gz
    confined file - <"$repository/x"
    # Debian's is built without.
    if ldd "$(type -P file)" | grep -q libseccomp; then
        echo 'file is linked with libseccomp' >sandbox
    else
        echo 'none: this build of file has no filter' >sandbox
    fi
}

# --- the two runs ----------------------------------------------------------------

libraries=()
while (($#)) && [[ $1 != -- && $1 != --inside ]]; do
    libraries+=("$(readlink -f -- "$1")")
    shift
done
((${#libraries[@]})) || {
    echo "usage: programs.sh LIBRARY… [-- NAME…]" >&2
    exit 2
}

# all_mapped FILE: what was preloaded is in this list of mappings.
all_mapped() {
    local library
    [[ $mode == preloaded ]] || return 0
    for library in "${libraries[@]}"; do
        grep -qF -- "$library" "$1" || {
            echo "$library is not preloaded"
            return 1
        }
    done
}

confined() {
    "${with[@]}" "$@"
}

# with_options TEXT: what is confined from now on has these options.
with_options() {
    [[ $mode != preloaded ]] || with=(env "LD_PRELOAD=${libraries[*]}" "CALLOC_OPTIONS=$1")
}

if [[ ${1-} == --inside ]]; then
    mode=$3
    with=(env)
    options=${CALLOC_OPTIONS-}
    unset CALLOC_OPTIONS
    with_options "$options"
    if [[ $mode == preloaded ]]; then
        confined cat /proc/self/maps >maps
        all_mapped maps || exit 99
    fi
    "run_$2"
    exit
fi
# Libraries that Meson set the path for are not the programs' concern.
unset LD_LIBRARY_PATH LD_PRELOAD MALLOC_PERTURB_

# one NAME plain|preloaded: leaves out, err, status and run/ in $work/NAME/MODE. Both run in a folder of one
# name, which may appear in what they write.
one() {
    local folder=$work/$1/$2 status=0
    mkdir -p "$folder" "$work/run"
    (cd "$work/run" && exec bash "$script" "${libraries[@]}" --inside "$1" "$2") \
        >"$folder/out" 2>"$folder/err" </dev/null || status=$?
    echo "$status" >"$folder/status"
    mv "$work/run" "$folder/run"
}

both() {
    local name=$1 file plain=$work/$1/plain preloaded=$work/$1/preloaded
    one "$name" plain
    if [[ -e $plain/run/skipped ]]; then
        skipped=$((skipped + 1))
        echo "SKIP $name: $(<"$plain/run/skipped")"
        return
    fi
    # A program that fails as it is, or without its filter, shows nothing.
    if [[ $(<"$plain/status") != 0 || ! -s $plain/run/sandbox ]]; then
        echo "FAIL $name: without the allocator it fails too, or has no filter; status $(<"$plain/status")"
        tail -n 20 "$plain/out" "$plain/err"
        failed=$((failed + 1))
        return
    fi
    one "$name" preloaded
    for file in status out err run/sandbox; do
        if ! diff "$plain/$file" "$preloaded/$file" >"$work/difference" 2>&1; then
            echo "FAIL $name: not the same ${file#run/}"
            head -n 40 "$work/difference" "$preloaded/err"
            failed=$((failed + 1))
            return
        fi
    done
    if grep -r '^libcalloc:' "$preloaded/out" "$preloaded/err"; then
        echo "FAIL $name: the allocator complains"
        failed=$((failed + 1))
        return
    fi
    echo "PASS $name ($(sed 's/^ *//' "$preloaded/run/sandbox"))"
    [[ -n ${KEEP-} ]] || rm -rf "${work:?}/$name"
}

[[ ${1-} != -- ]] || shift
(($#)) || set -- "${table[@]}"
work=$(mktemp -d)
[[ -n ${KEEP-} ]] || trap 'rm -rf "$work"' EXIT
failed=0
skipped=0
for name; do
    both "$name"
done
echo "$# programs, $failed failed, $skipped skipped"
((failed == 0)) || exit 1
# There is one verdict for all: a part that was not run must not look as if it had passed.
((skipped == 0)) || exit 77
