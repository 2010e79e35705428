#!/usr/bin/env bash
# staged.sh BUILD-FOLDER COMPONENT…: what `meson install` puts into a folder of its own can be linked and run
# from there.
set -euo pipefail

build=$1
shift
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
meson install -C "$build" --no-rebuild --destdir "$stage" >"$stage/log" 2>&1 || {
    cat "$stage/log"
    exit 1
}
folder=$(find "$stage" -name pkgconfig -type d)
export PKG_CONFIG_SYSROOT_DIR=$stage PKG_CONFIG_PATH=$folder LD_LIBRARY_PATH=${folder%/*}
# The sysroot is put before libseccomp's folder too, which the compiler finds without being told.
"$(dirname -- "${BASH_SOURCE[0]}")/link.sh" "$@"
