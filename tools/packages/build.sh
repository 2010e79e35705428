# shellcheck shell=bash
# Building the Debian packages, for x, its checks and the tests of whole systems, which read this file.

# What x has set.
: "${root:?} ${build:?}"

# source_tree FOLDER: a copy of the sources, without what is built or ignored.
source_tree() {
    rm -rf "$1"
    mkdir -p "$1"
    if [[ -e $root/.git ]]; then
        # Also what is not committed yet; what was deleted is still listed.
        git -C "$root" ls-files -z --cached --others --exclude-standard |
            (cd "$root" && while IFS= read -r -d '' file; do
                [[ ! -e $file && ! -L $file ]] || printf '%s\0' "$file"
            done) | tar -C "$root" --null -T - -cf - | tar -C "$1" -xf -
    else
        tar -C "$root" --exclude=./build --exclude=./build-'*' -cf - . | tar -C "$1" -xf -
    fi
}

# original_archive TREE: what Debian calls upstream's archive, all of it but debian/, beside TREE.
original_archive() {
    local version source
    source=$(dpkg-parsechangelog -l "$1/debian/changelog" -S Source) &&
        version=$(dpkg-parsechangelog -l "$1/debian/changelog" -S Version) || return
    version=${version%-*}
    tar -C "$1" --exclude=./debian --sort=name --owner=0 --group=0 --numeric-owner \
        --mtime="@$(dpkg-parsechangelog -l "$1/debian/changelog" -S Timestamp)" \
        --transform "s,^\\.,$source-$version," \
        -cf "${1%/*}/${source}_$version.orig.tar.gz" -I 'gzip -n' .
}

# build_packages TREE FOLDER [OPTIONS]: dpkg-buildpackage in TREE, a copy of the sources that is left behind
# as it is built; what it makes goes to FOLDER, which is emptied of packages before. The options are
# dpkg-buildpackage's.
build_packages() {
    local tree=$1 folder=$2 file
    shift 2
    mkdir -p "$folder"
    rm -f "$folder"/*.{deb,dsc,changes,buildinfo} "$folder"/*.tar.* "${tree%/*}"/*.tar.*
    original_archive "$tree" || return
    (
        cd "$tree"
        # Whatever these have been set to for other purposes, Debian's are used.
        unset CFLAGS CXXFLAGS CPPFLAGS LDFLAGS
        DEB_BUILD_OPTIONS="parallel=$(nproc)${DEB_BUILD_OPTIONS:+ $DEB_BUILD_OPTIONS}" \
            dpkg-buildpackage --no-sign "$@"
    ) || return
    for file in "${tree%/*}"/*.{deb,dsc,changes,buildinfo} "${tree%/*}"/*.tar.*; do
        [[ ! -e $file ]] || mv -f -- "$file" "$folder/"
    done
}
