#!/usr/bin/env bash
# A Debian 12 on the hardened malloc beside one without: packages are installed in both, and programs run in both.
# Status, standard output, standard error and what is left in result/ must be the same, every process looked
# at must have the libraries in the one and not in the other, and the libraries must write no line that
# programs/exceptions does not explain.
#
# What is run is in programs/cases.sh. $cases: only those, separated by commas; $quick: only the quick ones; $keep:
# in the roots as an earlier run has left them, which saves the installation.
set -euo pipefail

: "${root:?} ${build:?}"
target=
here=$root/tests/system/programs
. "$root/tests/system/lib.sh"
. "$root/tools/packages/build.sh"
# The table of cases.
# shellcheck source=tests/system/programs/cases.sh
. "$here/cases.sh"

results=$system/programs
archives=$system/archives

leave_both() {
    for target in "$results/hardened/root" "$results/plain/root"; do
        leave_root
    done
}
trap leave_both EXIT

# --- what is run --------------------------------------------------------------------

chosen=() to_install=()
wanted=,${cases-},
for row in "${table[@]}"; do
    read -r name group packages <<<"$row"
    if [[ -n ${cases-} ]]; then
        [[ $wanted == *",$name,"* ]] || continue
        wanted=${wanted/",$name,"/,}
    else
        [[ -z ${quick-} || $group == quick ]] || continue
    fi
    chosen+=("$name")
    read -r -a list <<<"$packages"
    to_install+=("${list[@]}")
done
[[ ${wanted//,/} == '' ]] || {
    echo "programs: there is no case $wanted"
    echo '0 passed, 1 failed'
    exit 2
}
mapfile -t to_install < <(printf '%s\n' perl procps "${to_install[@]}" | sort -u)

# --- one case in one of the two -------------------------------------------------------

# What goes into a namespace with nothing but a loopback has to bring that up itself.
# shellcheck disable=SC2016 # perl's
loopback='use Socket; socket(S, AF_INET, SOCK_DGRAM, 0) or die; my $lo = pack("a16s", "lo", 0x41); ioctl(S, 0x8914, $lo) or die'

# one MODE NAME: leaves out, err, status and run/ in $results/MODE/NAME. A case has processes of its own, which
# end with it, and but for those of apt a network of its own.
one() {
    local mode=$1 name=$2 folder=$results/$1/$2 status=0
    local -a apart=(--pid --fork --kill-child --mount)
    target=$results/$mode/root
    [[ $name == apt-* ]] || apart+=(--net)
    rm -rf "$folder" "$target/srv/case"
    mkdir -p "$folder" "$target/srv/case/result"
    rm -rf "$target/srv/tests"
    cp -r "$root/tests" "$target/srv/tests"
    printf '%s\n' "${to_install[@]}" >"$target/srv/to_install"
    [[ $name != build || -e $target/srv/source ]] || source_tree "$target/srv/source"
    by=(timeout --foreground --kill-after=10 1800 unshare "${apart[@]}" "--mount-proc=$target/proc")
    # shellcheck disable=SC2016 # the other shell's
    inside bash -c 'cd /srv/case || exit; [[ $1 == apt-* ]] || perl -e "$2" || exit; exec bash /srv/tests/system/programs/cases.sh "$1"' \
        case "$name" "$loopback" >"$folder/out" 2>"$folder/err" </dev/null || status=$?
    by=()
    echo "$status" >"$folder/status"
    mv "$target/srv/case" "$folder/run"
}

# heard FOLDER: what the libraries and ld.so wrote about them, wherever it went.
heard() {
    grep -rahE 'libcalloc(-[a-z]+)?: |ERROR: ld\.so' "$1"/{out,err,run} 2>/dev/null | sort | uniq -c || true
}

# unexplained NAME: of lines from standard input, those that no exception is for.
unexplained() {
    local line name pattern cause
    while IFS= read -r line; do
        while IFS=$'\t' read -r name pattern cause; do
            [[ $name == "$1" && -n $cause && $line =~ $pattern ]] && continue 2
        done < <(grep -v '^#' "$here/exceptions")
        printf '%s\n' "$line"
    done
}

# verdict NAME: compares what both left.
verdict() {
    local name=$1 file line plain=$results/plain/$1 hardened=$results/hardened/$1 from="${2:-}"
    local why=
    : >"$results/difference"
    if [[ $(<"$plain/status") != 0 ]]; then
        why="it fails without the preload too, status $(<"$plain/status")"
        tail -n 15 "$plain/out" "$plain/err" >"$results/difference"
    elif [[ -e $plain/run/skipped ]]; then
        why="it was not run: $(<"$plain/run/skipped")"
    fi
    if [[ -z $why ]]; then
        for file in status out err run/result; do
            if ! diff -r "$plain/$file" "$hardened/$file" >"$results/difference" 2>&1; then
                why="not the same ${file#run/}"
                tail -n 5 "$hardened/err" >>"$results/difference"
                break
            fi
        done
    fi
    if [[ -z $why ]] && ! { grep -q yes "$hardened/run/loaded" && ! grep -v yes "$hardened/run/loaded" &&
        grep -q no "$plain/run/loaded" && ! grep -v no "$plain/run/loaded"; } >"$results/difference" 2>&1; then
        why='a process has not the libraries, or has them without the preload'
        diff "$plain/run/loaded" "$hardened/run/loaded" >>"$results/difference" 2>&1 || true
    fi
    line=$(heard "$hardened" | unexplained "$name")
    if [[ -n $line ]]; then
        why+="${why:+, and }the libraries wrote something"
        head -n 20 <<<"$line" >>"$results/difference"
    fi
    if [[ -z $why ]]; then
        say PASS "$name$from"
    else
        say FAIL "$name: $why"
        head -n 60 "$results/difference" | sed 's/^/    /'
    fi
}

# --- the two roots --------------------------------------------------------------------

prepare_root() {
    # What has been fetched once is not fetched again.
    mkdir -p "$archives"
    cp -ln "$archives"/*.deb "$target/var/cache/apt/archives/" 2>/dev/null || true
    mkdir -p "$target/srv"
    # Upgrades are those that came after the last point release.
    cat >"$target/etc/apt/sources.list.d/upgrades.list.off" <<'END'
deb http://deb.debian.org/debian bookworm-updates main
deb http://deb.debian.org/debian-security bookworm-security main
END
    cat >"$target/etc/apt/apt.conf.d/90tests" <<'END'
APT::Install-Recommends "false";
Dpkg::Use-Pty "false";
DPkg::Options {"--force-unsafe-io";};
// A machine whose clock is not right can run this, too.
Acquire::Check-Valid-Until "false";
Acquire::Check-Date "false";
END
}

packages_now || {
    echo '0 passed, 1 failed'
    exit 1
}
base programs ca-certificates
if [[ -z ${keep-} ]]; then
    rm -rf --one-file-system "$results"
    mkdir -p "$results"
    plain_root programs/plain/root programs
    prepare_root
    hardened_root programs/hardened/root programs
    prepare_root
else
    setup=(apt-install)
    for target in "$results/hardened/root" "$results/plain/root"; do
        mount_root
    done
fi

for name in "${setup[@]}" "${chosen[@]}"; do
    seconds=$SECONDS
    one hardened "$name"
    hardened_seconds=$((SECONDS - seconds)) seconds=$SECONDS
    # The second fetches nothing.
    cp -ln "$target/var/cache/apt/archives/"*.deb "$archives/" 2>/dev/null || true
    cp -ln "$archives"/*.deb "$results/plain/root/var/cache/apt/archives/" 2>/dev/null || true
    one plain "$name"
    verdict "$name" " ($hardened_seconds s, $((SECONDS - seconds)) s without)"
done

result
