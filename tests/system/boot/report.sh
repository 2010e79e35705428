#!/bin/bash
# Runs in the machine that boot.sh starts: tells on the second serial port how the system is, a line for each
# thing, and turns it off.
set -u
export LC_ALL=C.UTF-8 HOME=/root
exec 3>/dev/ttyS1

tell() {
    printf '%s: %s\n' "$1" "$2" >&3
}

# libraries FILE: how many of ours are in a list of mappings
libraries() {
    grep -oE 'libcalloc(-secure)?\.so\.[0-9]+$' "$1" | sort -u | wc -l
}

tell init "$(cat /proc/1/comm)"
tell state "$(timeout 900 systemctl is-system-running --wait)"
tell failed "$(systemctl --failed --no-legend --plain | awk '{ print $1 }' | tr '\n' ' ' | sed 's/ $//')"
tell multi-user "$(systemctl is-active multi-user.target)"
for name in ssh cron postgresql redis-server nginx rsyslog dbus systemd-timesyncd; do
    tell "service $name" "$(systemctl is-active "$name")"
done

# Whoever is started from a timer.
systemd-run --quiet --wait --collect sh -c 'cp /proc/self/maps /run/maps-of-a-service' && [ "$(libraries /run/maps-of-a-service)" = 2 ] &&
    tell timer ran
# cron looks each minute.
echo '* * * * * root cp /proc/self/maps /run/maps-of-cron' >/etc/cron.d/report
ssh-keygen -q -t ed25519 -N '' -f /root/key
mkdir -p /root/.ssh
cp /root/key.pub /root/.ssh/authorized_keys
login() {
    ssh -F none -i /root/key -o BatchMode=yes -o StrictHostKeyChecking=no -o LogLevel=ERROR -o ConnectTimeout=300 root@127.0.0.1 "$@"
}
login cat /proc/self/maps >/run/maps-of-a-login 2>/run/login-errors || tell 'login' "$(cat /run/login-errors)"
tell 'libraries of a login' "$(libraries /run/maps-of-a-login)"

tell postgresql "$(cd /tmp && runuser -u postgres -- psql -XqAt -c 'create table t as select generate_series(1, 100) as i' \
    -c 'select sum(i) from t' 2>&1 | tr '\n' ' ' | sed 's/ $//')"
redis-cli set key value >/dev/null
tell redis "$(redis-cli get key)"
tell nginx "$(curl -s -o /dev/null -w '%{http_code}' http://127.0.0.1/)"
logger 'a line for the log'

for _ in $(seq 150); do
    [ -s /run/maps-of-cron ] && break
    sleep 1
done
rm /etc/cron.d/report
[ "$(libraries /run/maps-of-cron)" = 2 ] && tell cron ran

# Every process: threads of the kernel have no mappings. One that the initramfs has started, whose udevd may take its
# time to end, has a root without the libraries.
tell 'libraries of process 1' "$(libraries /proc/1/maps)"
number=0 without=
for folder in /proc/[0-9]*; do
    cat "$folder/maps" >/run/maps 2>/dev/null || continue
    [ -s /run/maps ] || continue
    if [ "$(libraries /run/maps)" != 2 ]; then
        about="$(cat "$folder/comm"), $(stat -c 'started %y' "$folder"), $(readlink "$folder/exe"), root $(readlink "$folder/root")"
        if ! [ "$folder/root" -ef / ]; then
            tell 'of another root' "$about"
            continue
        fi
        without="$without$about; "
    fi
    number=$((number + 1))
done
tell processes "$number"
tell 'without the libraries' "$without"
calloc-preload status --brief | while read -r line; do tell status "$line"; done

journalctl --sync
tell heard "$(journalctl -b -o cat | grep -aE 'libcalloc(-[a-z]+)?: |ERROR: ld\.so' | sort | uniq -c | head -n 20 | tr '\n' ';')"
tell signals "$(journalctl -b -o cat | grep -aE 'status=[0-9]+/(ABRT|SEGV|BUS|SYS|ILL|TRAP)|segfault|general protection|code=dumped' | head -n 10 | tr '\n' ';')"
tell complete yes
exec 3>&-
systemctl --no-block poweroff
