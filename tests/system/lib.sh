# shellcheck shell=bash
# A Debian 12 of its own for each subject of ./x system: what tests/system/*.sh have in common.
#
# x runs each of them as root, in a mount namespace of its own, with what it has set:
: "${root:?} ${build:?}"
# The level of the hardening.
: "${level:=light}"

system=$build/system
passed=0 failed=0

say() {
    printf '%s %s\n' "$1" "$2"
    if [[ $1 == PASS ]]; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
}

# check WHAT COMMAND…: what the command writes is shown where it fails.
check() {
    local what=$1 output status=0
    shift
    output=$("$@" 2>&1) || status=$?
    if ((status == 0)); then
        say PASS "$what"
    else
        say FAIL "$what"
        printf '    status %d\n%s\n' "$status" "$output" | sed 's/^/    /'
    fi
}

# is WHAT EXPECTED ACTUAL
is() {
    if [[ $2 == "$3" ]]; then
        say PASS "$1"
    else
        say FAIL "$1"
        diff -u --label expected --label actual <(printf '%s\n' "$2") <(printf '%s\n' "$3") |
            sed 's/^/    /' || true
    fi
}

# The last line of every subject.
result() {
    echo "$passed passed, $failed failed"
    ((failed == 0 && passed > 0))
}

# base NAME PACKAGES…: an archive build/system/NAME.tar of a minimal Debian 12 with some packages, made once
# for each list of them.
base() {
    local archive=$system/$1.tar made="${*:2}"
    shift
    mkdir -p "$system"
    [[ -e $archive && -e $archive.packages && $(<"$archive.packages") == "$made" ]] && return
    rm -f "$archive.packages"
    echo "making a Debian 12 in ${archive#"$root/"} …" >&2
    # The lists stay: what a test installs from Debian needs no further update.
    mmdebstrap --quiet --variant=minbase --skip=cleanup/apt/lists ${1+"--include=$(IFS=,; echo "$*")"} \
        bookworm "$archive" >&2 || return
    echo "$made" >"$archive.packages"
}

# packages_now: these sources as packages in the folder $now, built once for each state of them. What is only
# tested or measured with does not go into packages.
now=$system/packages.now
packages_now() {
    mkdir -p "$system"
    (
        flock 8
        build_now 8>&-
    ) 8>"$system/.lock"
}

build_now() {
    local tree=$build/packages/system/source log=$build/log/system-packages-now state
    mkdir -p "$build/log"
    source_tree "$tree"
    state=$(tar -C "$tree" --exclude=./tests --exclude=./bench --exclude=./docs --exclude=./x --sort=name --mtime=@0 -cf - . | sha256sum)
    [[ ! -e $now/state || $(<"$now/state") != "$state" ]] || return 0
    rm -f "$now/state"
    echo 'building the packages …' >&2
    build_packages "$tree" "$now" -Pnocheck -b >"$log" 2>&1 || {
        tail -n 40 "$log"
        return 1
    }
    echo "$state" >"$now/state"
}

# plain_root NAME ARCHIVE: a new root with our packages, and no program that uses them.
plain_root() {
    new_root "$1" "$2"
    check 'our packages are in a repository' repository "$now"
    check 'libcalloc-preload is installed' apt install libcalloc-preload
}

# hardened_root NAME ARCHIVE: one in which every program has the core and the hardening.
hardened_root() {
    plain_root "$1" "$2"
    check "the hardened malloc is enabled, level $level" inside calloc-preload enable --level "$level" secure
    check 'a program has it' inside grep -q 'libcalloc-secure\.so' /proc/self/maps
    is 'the level is set' "level = $level" "$(grep '^level' "$target/etc/calloc/secure.conf")"
}

# new_root NAME ARCHIVE: the folder $target with what the archive holds, ready to be gone into.
new_root() {
    target=$system/$1
    leave_root
    rm -rf --one-file-system "$target"
    mkdir -p "$target"
    tar -C "$target" --numeric-owner --xattrs -xpf "$system/$2.tar"
    mount_root
    mkdir -p "$target/etc/apt/apt.conf.d"
    printf '#!/bin/sh\nexit 101\n' >"$target/usr/sbin/policy-rc.d"
    chmod 755 "$target/usr/sbin/policy-rc.d"
    # The network is this machine's.
    [[ ! -e /etc/resolv.conf ]] || cp --remove-destination -L /etc/resolv.conf "$target/etc/resolv.conf"
}

mount_root() {
    mount -t proc proc "$target/proc"
    mount --rbind /dev "$target/dev"
    mount --make-rslave "$target/dev" 2>/dev/null || true
}

leave_root() {
    local folder
    for folder in "$target/dev" "$target/proc"; do
        ! mountpoint -q "$folder" 2>/dev/null || umount -R -l "$folder"
    done
}

# inside COMMAND…: in $target, with nothing of this environment; by way of the command $by, if there is one.
by=()
inside() {
    "${by[@]}" env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 \
        DEBIAN_FRONTEND=noninteractive chroot "$target" "$@"
}

# repository FOLDER: apt in $target takes packages of ours from FOLDER, as from any repository.
repository() {
    local place=$target/srv/packages
    rm -rf "$place"
    mkdir -p "$place"
    cp "$1"/*.deb "$place/"
    (cd "$place" && apt-ftparchive packages . >Packages)
    echo 'deb [trusted=yes] file:/srv/packages ./' >"$target/etc/apt/sources.list.d/packages.list"
    inside apt-get -q update -o Dir::Etc::sourcelist=sources.list.d/packages.list \
        -o Dir::Etc::sourceparts=- -o APT::Get::List-Cleanup=0
}

# apt ARGUMENTS…: what apt-get writes is shown where it fails, or where a program could not load a library.
apt() {
    local status=0 log
    log=$(inside apt-get -q -y -o Dpkg::Use-Pty=0 --no-install-recommends "$@" 2>&1) || status=$?
    if ((status)) || [[ $log == *'cannot be preloaded'* || $log == *'error while loading'* ]]; then
        echo "$log"
        return 1
    fi
}
