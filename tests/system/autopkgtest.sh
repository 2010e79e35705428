#!/usr/bin/env bash
# The tests of debian/tests, as Debian runs them on the built packages: autopkgtest, in a Debian 12 of its own.
set -euo pipefail

: "${root:?} ${build:?}"
target=
. "$root/tests/system/lib.sh"
. "$root/tools/packages/build.sh"
trap 'leave_root' EXIT

tree=$build/packages/autopkgtest/source packages=$system/autopkgtest.packages log=$build/log/autopkgtest-build
mkdir -p "$build/log"
{
    source_tree "$tree" && build_packages "$tree" "$packages" -Pnocheck
} >"$log" 2>&1 || {
    tail -n 40 "$log"
    echo '0 passed, 1 failed'
    exit 1
}
base autopkgtest dpkg-dev g++ gcc libseccomp-dev perl pkg-config python3
new_root autopkgtest autopkgtest

# What each test of debian/tests/control came to; without these lines nothing has run.
summary=$system/autopkgtest.summary status=0
rm -f "$summary"
autopkgtest --no-built-binaries --summary-file "$summary" "$packages"/*.deb "$packages"/*.dsc -- \
    chroot "$target" >"$build/log/autopkgtest" 2>&1 || status=$?
while read -r name; do
    verdict=$(awk -v name="$name" '$1 == name {print $2}' "$summary" 2>/dev/null || true)
    is "$name" PASS "$verdict"
done < <(sed -n 's/^Tests: //p' "$root/debian/tests/control")
is 'status of autopkgtest' 0 "$status"
((failed == 0)) || tail -n 100 "$build/log/autopkgtest"
result
