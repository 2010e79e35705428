#!/usr/bin/env bash
# A Debian 12 on the hardened malloc as a virtual machine: Debian's kernel, initramfs and systemd, with services, all
# of them under the preload. It has to come up with nothing failed, serve, and shut down.
#
# The machine is emulated, and so needs nothing of the one that it runs on; of the processor that qemu makes up,
# two string instructions are left out which one emulated thread is very slow at.
set -euo pipefail

: "${root:?} ${build:?}"
target=
here=$root/tests/system/boot
. "$root/tests/system/lib.sh"
. "$root/tools/packages/build.sh"
trap 'leave_root' EXIT

services=(ssh cron postgresql redis-server nginx rsyslog dbus systemd-timesyncd)
machine=$system/qemu

give_up() {
    echo "FAIL $*"
    echo "$passed passed, $((failed + 1)) failed"
    exit 1
}

# qemu of Debian 12's backports, in a root of its own: nothing comes onto the system that this runs on.
qemu_root() {
    local archive=$system/qemu.tar
    if [[ ! -e $archive.made ]]; then
        echo "making a Debian 12 with qemu in ${archive#"$root/"} …" >&2
        mmdebstrap --quiet --variant=minbase --aptopt='APT::Default-Release "bookworm-backports"' \
            --include=qemu-system-x86 bookworm "$archive" 'deb http://deb.debian.org/debian bookworm main' \
            'deb http://deb.debian.org/debian bookworm-backports main' >&2 || return
        : >"$archive.made"
    fi
    rm -rf --one-file-system "$machine"
    mkdir -p "$machine"
    tar -C "$machine" -xpf "$archive"
}

packages_now || give_up 'building the packages'
qemu_root || give_up 'qemu'
base boot linux-image-amd64 initramfs-tools systemd-sysv systemd-timesyncd udev dbus procps iproute2 kmod openssh-server \
    openssh-client cron postgresql redis-server redis-tools nginx rsyslog curl libpam-systemd login e2fsprogs
hardened_root boot boot

# --- what the machine has -------------------------------------------------------------

rm "$target/usr/sbin/policy-rc.d"
echo hardened >"$target/etc/hostname"
printf '127.0.0.1 localhost hardened\n' >"$target/etc/hosts"
printf '/dev/vda / ext4 errors=remount-ro 0 1\n' >"$target/etc/fstab"
: >"$target/etc/machine-id"
cp "$here/report.sh" "$target/usr/local/sbin/report"
cp "$here/report.service" "$target/etc/systemd/system/"
mkdir -p "$target/etc/systemd/system.conf.d" "$target/etc/systemd/journald.conf.d"
# Emulated, it is some ten times slower than a machine.
printf '[Manager]\nDefaultTimeoutStartSec=15min\nDefaultTimeoutStopSec=10min\nDefaultDeviceTimeoutSec=15min\n' \
    >"$target/etc/systemd/system.conf.d/slow.conf"
printf '[Journal]\nStorage=persistent\nRateLimitBurst=0\n' >"$target/etc/systemd/journald.conf.d/all.conf"
check 'the report is a service' inside systemctl enable report.service
check 'an initramfs is made under the preload' inside update-initramfs -u -k all
leave_root

kernel=$(echo "$target"/boot/vmlinuz-*) initramfs=$(echo "$target"/boot/initrd.img-*)
# Not 'cp': the files may be large, and the folder of the machine is made anew.
ln -f "$kernel" "$machine/kernel"
ln -f "$initramfs" "$machine/initramfs"
used=$(du -sm --apparent-size "$target" | cut -f 1)
check 'a disk is made' mke2fs -q -t ext4 -L root -d "$target" "$machine/disk" "$((used * 13 / 10 + 400))M"

# --- it runs -----------------------------------------------------------------------------

# run_machine LOG: until it is off. What its first serial port says is in LOG, that of the second in LOG.report.
run_machine() {
    local status=0 seconds=$SECONDS
    timeout --foreground --kill-after=10 2400 chroot "$machine" qemu-system-x86_64 \
        -accel tcg,thread=single -cpu max,-erms,-fsrm -m 1536 -no-reboot -display none -nodefaults \
        -kernel kernel -initrd initramfs -drive file=disk,if=virtio,format=raw,cache=unsafe \
        -object rng-random,id=random,filename=/dev/urandom -device virtio-rng-pci,rng=random \
        -serial file:console -serial file:report \
        -append 'root=/dev/vda rw console=ttyS0 net.ifnames=0 panic=1 systemd.show_status=1 loglevel=4' \
        >"$1.qemu" 2>&1 </dev/null || status=$?
    seconds_of_machine=$((SECONDS - seconds))
    tr -d '\r' <"$machine/console" | sed 's/\x1b\[[0-9;?]*[a-zA-Z]//g' >"$1"
    tr -d '\r' <"$machine/report" >"$1.report"
    return "$status"
}

mkdir -p "$machine/dev" "$machine/tmp"
mknod -m 666 "$machine/dev/urandom" c 1 9 2>/dev/null || [[ -c $machine/dev/urandom ]]
log=$build/log/system-boot-console status=0
echo 'the machine runs …' >&2
run_machine "$log" || status=$?
is 'it turned itself off' 0 "$status"
echo "it ran for $seconds_of_machine s"

# told NAME: what the report of the machine says of one thing
told() {
    sed -n "s/^$1: //p" "$log.report"
}

is 'the report is complete' 'yes' "$(told complete)"
if [[ $(told complete) != yes ]]; then
    tail -n 40 "$log" "$log.report" "$log.qemu"
fi
is 'systemd is process 1' systemd "$(told init)"
is 'it is up' running "$(told state)"
is 'no unit failed' '' "$(told failed)"
is 'it reached multi-user' active "$(told multi-user)"
for name in "${services[@]}"; do
    is "$name runs" active "$(told "service $name")"
done
is 'process 1 has the libraries' 2 "$(told 'libraries of process 1')"
is 'a login by ssh has the libraries' 2 "$(told 'libraries of a login')"
is 'every process has the libraries' '' "$(told 'without the libraries')"
[[ -z $(told 'of another root') ]] || echo "not looked at, as it is none of this root's: $(told 'of another root')"
# systemd's five, and those of the services.
check "there are $(told processes) processes" test "$(told processes)" -ge 18
is 'postgresql answers' 5050 "$(told postgresql)"
is 'redis answers' value "$(told redis)"
is 'nginx answers' 200 "$(told nginx)"
is 'a timer of systemd ran' ran "$(told timer)"
is 'cron ran' ran "$(told cron)"
is 'the libraries wrote nothing to the journal' '' "$(told heard)"
is 'nothing was killed by a signal' '' "$(told signals)"
is 'the libraries wrote nothing to the console' '' \
    "$(grep -aE 'libcalloc(-[a-z]+)?: |ERROR: ld\.so' "$log" || true)"
is 'every unit was stopped in order' '' "$(grep -aE 'Failed|FAILED|timed out|SIGKILL' "$log" || true)"
check 'the kernel turned it off' grep -aq 'Power down' "$log"
result
