#!/usr/bin/env bash
# What the hardened malloc for every program costs a whole Debian 12: the time that a fixed set of packages takes
# to be installed, and 10,000 times /bin/true, with and without in turn. The figures are for reading; that both did the
# same, with and without the libraries, is what is tested.
#
# $rounds: how often each, 5 if it is not set. A machine that does something else at the same time makes the figures
# worthless; the spread between the rounds is printed for that.
set -euo pipefail

: "${root:?} ${build:?}"
target=
. "$root/tests/system/lib.sh"
. "$root/tools/packages/build.sh"
trap 'leave_root' EXIT
rounds=${rounds:-5}
results=$system/cost
packages=(perl python3 man-db file cron ucf xml-core sgml-base libgdk-pixbuf2.0-bin shared-mime-info fontconfig
    fonts-dejavu-core ssl-cert openssl dictionaries-common)

packages_now || {
    echo '0 passed, 1 failed'
    exit 1
}
base programs ca-certificates
mkdir -p "$results"
rm -f "$results"/*.times

# --- the root, with everything fetched -------------------------------------------------

hardened_root cost/root programs
printf 'DPkg::Options {"--force-unsafe-io";};\n' >"$target/etc/apt/apt.conf.d/90tests"
check 'the packages are fetched' apt install --download-only "${packages[@]}"
check 'the preload is taken out' inside calloc-preload disable
# Each installation starts from here. It is in memory where that is large enough: a disk's times are not the allocator's.
leave_root
tar -C "$target" --numeric-owner --xattrs --one-file-system -cpf "$results/start.tar" .
rm -rf --one-file-system "$target"
[[ ! -d /dev/shm ]] || (($(df --output=avail -m /dev/shm | tail -n 1) < 2500)) || {
    mkdir -p "$target"
    mount -t tmpfs -o size=2500m cost "$target"
}

# timed FILE COMMAND…: its seconds become a line of FILE.
timed() {
    local file=$1 from=${EPOCHREALTIME//[!0-9]/} to
    shift
    "$@" || return
    to=${EPOCHREALTIME//[!0-9]/}
    awk -v microseconds=$((to - from)) 'BEGIN { printf "%.3f\n", microseconds / 1e6 }' >>"$file"
}

# empty_target: new_root makes it anew; what is mounted there stays.
empty_target() {
    leave_root
    find "$target" -xdev -mindepth 1 -delete
}

fill_target() {
    empty_target
    tar -C "$target" --numeric-owner --xattrs -xpf "$results/start.tar"
    mount_root
    [[ $1 != hardened ]] || inside calloc-preload enable --level "$level" secure >/dev/null
}

libraries() {
    inside grep -oE 'libcalloc(-secure)?\.so\.[0-9]+$' /proc/self/maps | sort -u | wc -l
}

# The loop is the shell's own, which forks; that of perl starts without.
ten_thousand() {
    # shellcheck disable=SC2016 # the other shell's
    inside bash -c 'for ((i = 0; i < 10000; i++)); do /bin/true; done'
}

# --- in turn -----------------------------------------------------------------------------

mkdir -p "$target"
# Once for nothing: what the kernel keeps of files is the same for all that follow.
fill_target plain
apt install --no-download "${packages[@]}" >/dev/null
for ((round = 1; round <= rounds; round++)); do
    modes=(plain hardened)
    ((round % 2)) || modes=(hardened plain)
    for mode in "${modes[@]}"; do
        fill_target "$mode"
        is "round $round, $mode: libraries of a program" "$([[ $mode == plain ]] && echo 0 || echo 2)" "$(libraries)"
        timed "$results/installation-$mode.times" apt install --no-download "${packages[@]}" ||
            say FAIL "round $round, $mode: the installation"
        timed "$results/true-$mode.times" ten_thousand || say FAIL "round $round, $mode: 10,000 /bin/true"
        # shellcheck disable=SC2016 # dpkg's
        inside dpkg-query -W -f '${Package} ${Version} ${db:Status-Status}\n' >"$results/installed-$mode"
    done
    is "round $round: the same is installed" "$(<"$results/installed-plain")" "$(<"$results/installed-hardened")"
done
leave_root

# --- the figures ---------------------------------------------------------------------------

# figures NAME WHAT: medians, least and most, and the median of the ratios of each round.
figures() {
    paste "$results/$1-plain.times" "$results/$1-hardened.times" | awk -v what="$2" '
        function sort(a, n,   i, j, t) {
            for (i = 2; i <= n; i++) for (j = i; j > 1 && a[j - 1] > a[j]; j--) { t = a[j]; a[j] = a[j - 1]; a[j - 1] = t }
        }
        function median(a, n) { return n % 2 ? a[(n + 1) / 2] : (a[n / 2] + a[n / 2 + 1]) / 2 }
        { plain[NR] = $1; hardened[NR] = $2; ratio[NR] = $2 / $1 }
        END {
            sort(plain, NR); sort(hardened, NR); sort(ratio, NR)
            printf "%s: glibc %.2f s (%.2f to %.2f), hardened %.2f s (%.2f to %.2f), ratio %.3f (%.3f to %.3f), %d rounds\n",
                what, median(plain, NR), plain[1], plain[NR], median(hardened, NR), hardened[1], hardened[NR],
                median(ratio, NR), ratio[1], ratio[NR], NR
        }'
}
figures installation "installation of ${#packages[@]} packages and what they need"
figures true '10,000 times /bin/true, forked by bash'
result
