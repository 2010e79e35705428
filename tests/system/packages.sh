#!/usr/bin/env bash
# The packages on a Debian 12, installed by apt: in several combinations, upgraded, removed and purged. After
# each step /etc/ld.so.preload is byte for byte what it has to be.
# shellcheck disable=SC2016 # $LIB is for ld.so, ${Version} for dpkg, and $1 for perl
set -euo pipefail

: "${root:?} ${build:?}"
target=
. "$root/tests/system/lib.sh"
. "$root/tools/packages/build.sh"
trap 'leave_root' EXIT

# --- the packages, as they are and as of a next release ----------------------------

old=$system/packages.old new=$system/packages.new other=$system/packages.soname

# raised FILE: the version of a file, with the last number raised
raised() {
    local version
    version=$(<"$1")
    echo "${version%.*}.$((${version##*.} + 1))"
}

# raise TREE: all versions
raise() {
    local file version entry
    for file in "$1"/libcalloc*/VERSION "$1"/tools/VERSION; do
        version=$(raised "$file")
        echo "$version" >"$file"
    done
    version=$(dpkg-parsechangelog -l "$1/debian/changelog" -S Version)
    entry=$(printf '%s\n\n  * Next.\n\n -- %s  %s\n' "libcalloc ($((${version%%-*} + 1))-1) UNRELEASED; urgency=low" \
        "$(dpkg-parsechangelog -l "$1/debian/changelog" -S Maintainer)" "$(date -R -d @1800000000)")
    printf '%s\n\n%s\n' "$entry" "$(<"$1/debian/changelog")" >"$1/debian/changelog.new"
    mv "$1/debian/changelog.new" "$1/debian/changelog"
}

# next_release TREE: all versions raised, and the hardening needs a function that the core has only now. If it
# were unpacked before that core, no program could be started, dpkg neither.
next_release() {
    raise "$1"
    sed -i 's/^global:$/&\n    cal_next;/' "$1/libcalloc/libcalloc.map"
    echo " cal_next@LIBCALLOC_1 $(<"$1/libcalloc/VERSION")" >>"$1/debian/libcalloc1.symbols"
    echo 'CAL_EXPORT int cal_next(void);
CAL_EXPORT int cal_next(void) { return 1; }' >>"$1/libcalloc/src/native.c"
    echo 'extern int cal_next(void);
__attribute__((constructor)) static void needs_next(void) { cal_next(); }' >>"$1/libcalloc-secure/src/start.c"
}

# next_soname TREE: a release with the soname libcalloc.so.2, and with other ones of the add-ons that are linked to it
next_soname() {
    local name file
    for name in libcalloc libcalloc-secure libcalloc-track; do
        echo 2.0.0 >"$1/$name/VERSION"
        sed -i "s/\b${name}1\b/${name}2/g" "$1"/debian/control
        file=$1/debian/${name}2.symbols
        mv "$1/debian/${name}1.symbols" "$file"
        sed -i "1s/.*/$name.so.2 ${name}2 #MINVER#/; s/ 1\.0\.[0-9]*$/ 2.0.0/" "$file"
    done
    sed -i 's/libcalloc\.so\.1/libcalloc.so.2/' "$1"/*/DEPENDENCIES
}

build_all() {
    local tree=$build/packages/system/source
    source_tree "$tree"
    build_packages "$tree" "$old" -Pnocheck -b || return
    source_tree "$tree"
    next_release "$tree"
    build_packages "$tree" "$new" -Pnocheck -b || return
    source_tree "$tree"
    raise "$tree"
    raise "$tree"
    next_soname "$tree"
    build_packages "$tree" "$other" -Pnocheck -b
}

log=$build/log/system-packages-build
mkdir -p "$build/log"
build_all >"$log" 2>&1 || {
    tail -n 40 "$log"
    echo '0 passed, 1 failed'
    exit 1
}
base packages libseccomp-dev libc6-dev perl debconf-utils

# --- what is asked -----------------------------------------------------------------

# preload WHAT [EXPECTED]: the file, byte for byte; without EXPECTED there must be none.
preload() {
    local actual=none expected=none
    [[ ! -e $target/etc/ld.so.preload ]] || actual=$(od -An -c "$target/etc/ld.so.preload")
    (($# == 1)) || expected=$(printf %s "$2" | od -An -c)
    is "$1: /etc/ld.so.preload" "$expected" "$actual"
}

installed() {
    inside dpkg-query -W -f '${db:Status-Abbrev}${Package}\n' '*calloc*' 2>/dev/null | sed -n 's/^ii *//p' | sort |
        tr '\n' ' '
}

# everything SONAME: all packages, with the libraries of this soname
everything() {
    printf '%s ' calloc-tools libcalloc-dev libcalloc-preload libcalloc-sandbox-dev libcalloc-sandbox1 libcalloc-secure-common \
        libcalloc-secure-dev "libcalloc-secure$1" libcalloc-track-dev "libcalloc-track$1" "libcalloc$1"
}

# left: the packages that dpkg knows, but not as installed
left() {
    inside dpkg-query -W -f '${db:Status-Abbrev}${Package}\n' '*calloc*' 2>/dev/null |
        sed -n '/^ii\|^un/!p'
}

# hardened: the libraries of ours that a program started now has.
hardened() {
    inside perl -e 'open my $maps, "/proc/self/maps"; print join " ", sort keys %{{map { m{/(libcalloc[^/]*\.so\.\d+)$} ? ($1 => 1) : () } <$maps>}}'
}

# recorded WHAT: the recorder of the same release is beside the core, and what it finds is in its report.
recorded() {
    local profile=/srv/perl.profile
    rm -f "$target$profile"
    check "$1: a program is recorded" inside calloc record --quiet -o "$profile" -- perl -e \
        'my @list = map { "x" x $_ } 1 .. 20000; print scalar(@list), "\n"'
    check "$1: the report names its functions" inside sh -c "calloc report $profile | grep -q 'Perl_\|perl_run'"
}

# While apt works, programs are started all the time: none may miss a library. The file is the evidence.
watch_programs() {
    local stop=$target/tmp/stop
    rm -f "$stop" "$target/tmp/missed"
    inside sh -c 'while [ ! -e /tmp/stop ]; do /bin/true || echo "status $?"; n=$((n + 1)); done 2>>/tmp/missed >&2
        echo "$n" >/tmp/programs' &
    watcher=$!
}

end_watch() {
    : >"$target/tmp/stop"
    wait "$watcher"
    check "$1: $(<"$target/tmp/programs") programs were started meanwhile, and missed nothing" \
        test ! -s "$target/tmp/missed" -a "$(<"$target/tmp/programs")" -gt 50
    [[ ! -s $target/tmp/missed ]] || sort "$target/tmp/missed" | uniq -c | sed 's/^/    /'
}

core_line='/usr/$LIB/libcalloc.so.1'
secure_line='/usr/$LIB/libcalloc-secure.so.1'
both=$core_line$'\n'$secure_line$'\n'
core_file=/usr/lib/x86_64-linux-gnu/libcalloc.so.1

# --- combinations --------------------------------------------------------------------

new_root packages packages
check 'the repository is read' repository "$old"
libraries_dev='libcalloc-dev libcalloc-secure-dev libcalloc-sandbox-dev libcalloc-track-dev'

check 'the core alone' apt install libcalloc1
is 'the core brings nothing along' 'libcalloc1 ' "$(installed)"
preload 'the core alone'
check 'a program runs on it' inside env LD_PRELOAD=libcalloc.so.1 perl -e 1
check 'the core is removed' apt purge libcalloc1
is 'nothing is left' '' "$(installed)$(left)"

check 'the hardening' apt install libcalloc-secure1
is 'the hardening brings the core and its settings' 'libcalloc-secure-common libcalloc-secure1 libcalloc1 ' "$(installed)"
preload 'the hardening'
check 'the core goes, and the hardening with it' apt purge --autoremove libcalloc1
is 'nothing is left' '' "$(installed)$(left)"

check 'the recorder' apt install libcalloc-track1
is 'the recorder brings the core' 'libcalloc-track1 libcalloc1 ' "$(installed)"
preload 'the recorder'
check 'a program runs on it' inside env LD_PRELOAD='libcalloc.so.1 libcalloc-track.so.1' CALLOC_OPTIONS=track.path=/srv/profile \
    perl -e 'exit 0'
check 'and leaves a profile' test -s "$target/srv/profile"
check 'the hardening beside the recorder' apt install libcalloc-secure1
check 'a program runs on all three' inside env LD_PRELOAD='libcalloc.so.1 libcalloc-secure.so.1 libcalloc-track.so.1' \
    CALLOC_OPTIONS=track.path=/srv/profile2 perl -e 'exit 0'
check 'and leaves a profile' test -s "$target/srv/profile2"
check 'the core goes, and both with it' apt purge --autoremove libcalloc1
is 'nothing is left' '' "$(installed)$(left)"

# shellcheck disable=SC2086 # a list
check 'everything' apt install $libraries_dev calloc-tools libcalloc-preload
is 'everything is there' "$(everything 1)" "$(installed)"
preload 'everything, and no answer given'
recorded everything
check 'dpkg finds nothing to complain of' inside dpkg --verify

# --- enabled, upgraded, removed --------------------------------------------------------

mine=$'# mine\n'
printf %s "$mine" >"$target/etc/ld.so.preload"
check 'enable' inside calloc-preload enable
preload 'enabled beside a line of mine' "$both$mine"
is 'programs have both' 'libcalloc-secure.so.1 libcalloc.so.1' "$(hardened)"

check 'the repository has a next release' repository "$new"
core_version=$(dpkg-deb -f "$new"/libcalloc1_*.deb Version)
check 'its hardening needs its core before it is unpacked' \
    grep -qF "libcalloc1 (>= ${core_version%%+*})" <<<"$(dpkg-deb -f "$new"/libcalloc-secure1_*.deb Pre-Depends)"
check 'dpkg does not unpack it before the core' inside sh -c \
    '! dpkg --unpack /srv/packages/libcalloc-secure1_*.deb >/tmp/refused 2>&1 && grep -q "pre-dependency problem" /tmp/refused'
is 'programs have both' 'libcalloc-secure.so.1 libcalloc.so.1' "$(hardened)"
watch_programs
check 'upgrade' apt dist-upgrade
end_watch upgrade
is 'the next release is installed' "$core_version" \
    "$(inside dpkg-query -W -f '${Version}' libcalloc1)"
preload 'upgraded' "$both$mine"
is 'programs have both' 'libcalloc-secure.so.1 libcalloc.so.1' "$(hardened)"
recorded upgraded

# How dpkg replaces the libraries: by one rename over the old one, which never goes away.
calls=$system/packages.calls
by=(strace -f -qq -o "$calls" -e 'trace=/^(rename|unlink|link|symlink|truncate)')
check 'the package again' apt install --reinstall libcalloc-preload libcalloc1 libcalloc-secure1
by=()
is 'the libraries are replaced in one step' \
    'rename "libcalloc-secure.so.1.dpkg-new", "libcalloc-secure.so.1" rename "libcalloc.so.1.dpkg-new", "libcalloc.so.1" ' \
    "$(sed -nE 's/^[0-9]+ +//; s/\("[^"]*\/|, "[^"]*\//\n&/g; s/\n\("[^"]*\// "/; s/\n, "[^"]*\//, "/
        /^(rename|unlink|symlink|truncate)[a-z0-9]* .*"libcalloc(-secure)?\.so\.1"\) = 0$/{s/\) = 0$//p}' "$calls" | sort |
        tr '\n' ' ')"
preload 'installed again' "$both$mine"

# Another soname: its packages come beside the old ones, and then the names change.
check 'the repository has another soname' repository "$other"
two=${both//so.1/so.2}
watch_programs
check 'upgrade to another soname' apt dist-upgrade
end_watch 'upgrade to another soname'
preload 'upgraded to another soname' "$two$mine"
is 'programs have both' 'libcalloc-secure.so.2 libcalloc.so.2' "$(hardened)"
recorded 'upgraded to another soname'
watch_programs
check 'the old ones go' apt autoremove --purge
end_watch 'removal of the old ones'
preload 'the old ones are gone' "$two$mine"
is 'what is installed now' "$(everything 2)" "$(installed)"
recorded 'the old ones are gone'
check 'purge' apt purge '?name(calloc)'
preload 'purged' "$mine"
check 'the repository has the release before' repository "$new"
# shellcheck disable=SC2086 # a list
check 'everything' apt install $libraries_dev calloc-tools libcalloc-preload
check 'enable' inside calloc-preload enable
preload 'enabled again' "$both$mine"

watch_programs
check 'the core is removed, and all that needs it' apt remove libcalloc1
end_watch 'removal'
preload 'removed' "$mine"
is 'what does not need the core stays' 'libcalloc-sandbox-dev libcalloc-sandbox1 libcalloc-secure-common ' "$(installed)"

check 'the answer of before is kept' apt install libcalloc-preload
preload 'installed after it was removed' "$both$mine"
check 'disable' inside calloc-preload disable
preload 'disabled' "$mine"
check 'installed over it, disabled' apt install --reinstall libcalloc-preload
preload 'still disabled' "$mine"

# /etc/calloc/secure.conf is what the libraries of all sonames read, whoever wrote it: it belongs to
# libcalloc-secure-common, and stays until that is purged.
conf=$target/etc/calloc/secure.conf
check 'enable at a level' inside calloc-preload enable --level standard
preload 'enabled at a level' "$both$mine"
printf '\n# mine\n[/usr/bin/perl]\nenable = 0\n' >>"$conf"
settings=$(<"$conf")
check 'only the preload is purged' apt purge libcalloc-preload
preload 'the preload is purged' "$mine"
is 'the settings of the hardening stay with it' "$settings" "$(cat "$conf" 2>&1)"
check 'the hardening is removed' apt remove libcalloc1 libcalloc-secure-common
is 'what does not need them stays' 'libcalloc-sandbox-dev libcalloc-sandbox1 ' "$(installed)"
is 'the settings are left' 'rc libcalloc-secure-common' "$(left)"
is 'they are as they were' "$settings" "$(cat "$conf" 2>&1)"
check 'everything again' apt install libcalloc-preload
is 'they are as they were' "$settings" "$(cat "$conf" 2>&1)"
check 'enable' inside calloc-preload enable
preload 'enabled at the level of before' "$both$mine"
watch_programs
check 'purge' apt purge '?name(calloc)'
end_watch purge
preload 'purged' "$mine"
is 'nothing is left of the packages' '' "$(installed)$(left)"
is 'nothing is left of their files' '' "$(inside find /etc /usr /var/lib -xdev -name '*calloc*' -not -path '/var/lib/apt/*' 2>/dev/null | tr '\n' ' ')"
is 'nothing is left of their question' '' "$(inside debconf-show libcalloc-preload)"

# --- the question ----------------------------------------------------------------------

rm -f "$target/etc/ld.so.preload"
check 'an answer is given in advance' inside sh -c \
    'echo "libcalloc-preload libcalloc-preload/enable boolean true" | debconf-set-selections'
check 'installed with yes' apt install libcalloc-preload
preload 'enabled by the answer' "$both"
is 'programs have both' 'libcalloc-secure.so.1 libcalloc.so.1' "$(hardened)"
check 'the administrator disables it' inside calloc-preload disable
preload 'disabled by hand'
check 'configured anew' inside dpkg-reconfigure libcalloc-preload
preload 'what the administrator did counts'
# The question is asked with what is so; the editor is the frontend that needs no terminal.
answer() {
    inside env DEBIAN_FRONTEND=editor EDITOR="sed -i 's/^\(libcalloc-preload.enable\)=.*/\1=\"$1\"/'" \
        dpkg-reconfigure libcalloc-preload
}
check 'configured anew, with yes' answer yes
preload 'enabled by the answer' "$both"
check 'configured anew, with no' answer no
preload 'disabled by the answer'
check 'the administrator enables it' inside calloc-preload enable
check 'purged' apt purge libcalloc-preload
preload 'purged' 

# A line that is not this package's is not touched when it comes.
printf '%s\n' "$core_line" >"$target/etc/ld.so.preload"
check 'installed beside a line by hand' apt install libcalloc-preload
preload 'a line by hand' "$core_line"$'\n'

# Another malloc is there: enabling is refused, and the installation goes on.
check 'taken out' inside calloc-preload disable
check 'purged' apt purge libcalloc-preload
check 'an answer is given in advance' inside sh -c \
    'echo "libcalloc-preload libcalloc-preload/enable boolean true" | debconf-set-selections'
check 'another malloc' apt install libjemalloc2
jemalloc=$'/usr/lib/x86_64-linux-gnu/libjemalloc.so.2\n'
printf %s "$jemalloc" >"$target/etc/ld.so.preload"
check 'installed beside another malloc' apt install libcalloc-preload
preload 'the other malloc stays' "$jemalloc"
rm -f "$target/etc/ld.so.preload"

# --- a removal that does not happen ------------------------------------------------------

# script NAME ARGUMENTS…: a maintainer script, as dpkg calls it
script() {
    inside env DPKG_MAINTSCRIPT_PACKAGE=libcalloc-preload DPKG_MAINTSCRIPT_NAME="$1" \
        "/var/lib/dpkg/info/libcalloc-preload.$1" "${@:2}"
}
check 'enable' inside calloc-preload enable
check 'prerm remove' script prerm remove
preload 'about to be removed'
check 'postinst abort-remove' script postinst abort-remove
preload 'not removed' "$both"
check 'prerm upgrade' script prerm upgrade 9
preload 'about to be upgraded' "$both"
check 'postinst abort-upgrade' script postinst abort-upgrade 9
preload 'not upgraded' "$both"
check 'disable' inside calloc-preload disable
check 'prerm remove' script prerm remove
check 'postinst abort-remove' script postinst abort-remove
preload 'not removed, and it was disabled'

# --- the core goes by force -----------------------------------------------------------

check 'enable' inside calloc-preload enable
check 'the package goes first, however it is removed' inside dpkg --remove libcalloc-preload libcalloc-secure1 libcalloc1
preload 'removed by dpkg'

# --- its file is lost ------------------------------------------------------------------

# ld.so goes on without a library that the file names, but not without what one of them needs. The static program
# does.
check 'installed again' apt install libcalloc-preload
check 'enable' inside calloc-preload enable
mv "$target$core_file" "$target$core_file.lost"
check 'without the core nothing starts' eval '! inside /bin/true'
check 'it is disabled all the same' inside calloc-preload disable
preload 'disabled without the core'
check 'programs start' inside /bin/true
mv "$target$core_file.lost" "$target$core_file"

result
