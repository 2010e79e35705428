# shellcheck shell=bash
# The checks of ./x check, which reads this file: the function check_NAME prints
# nothing but what is wrong, and says by its status whether anything is.

# In the order in which they run: the quick ones first.
# shellcheck disable=SC2034 # x goes through them
all_checks=(format cppcheck analyzer layers headers symbols manuals dependencies instructions packages abi asan ubsan tsan msan memcheck)

# What x has set.
: "${root:?} ${build:?} ${release:?} ${checks:?}"

check_format() {
    local file status=0
    while IFS= read -r -d '' file; do
        clang-format "$file" |
            diff -u --label "$file" --label "$file formatted" "$file" - || status=1
    done < <(sources)
    ((status == 0)) || echo 'apply it with ./x fmt'
    return "$status"
}

check_cppcheck() {
    local -a include=()
    local folder
    for folder in "$root"/libcalloc*/{include,src}; do
        [[ ! -d $folder ]] || include+=(-I "$folder")
    done
    cppcheck --quiet --std=c11 --enable=warning,portability,performance --inline-suppr \
        --error-exitcode=1 -j 2 "${include[@]}" -I "$root/tools" -I "$release/tools" \
        "$root"/libcalloc*/src "$root"/tools/{common,calloc,preload}
}

# Without optimisation, which takes out what the analyzer is to find, such as an unchecked malloc;
# and with another name for malloc, which is not the one that the analyzer knows all about.
check_analyzer() {
    configure analyzer -Dbuildtype=debug -Dwerror=true -Dc_args=-fanalyzer \
        -Dfamily_prefix=cal_test_ -Dtests=false || return
    local -a targets=()
    mapfile -t targets < <(library_targets analyzer)
    ((${#targets[@]})) || return
    compile analyzer -k 0 "${targets[@]}" tools/calloc tools/calloc-preload
}

check_layers() {
    local -a tools=("$root"/tools/*/LAYERS)
    python3 "$checks/layers.py" "$root"/libcalloc*/src "${tools[@]%/LAYERS}"
}

check_headers() {
    "$checks/headers.sh" "$root"/libcalloc*
}

# components COMMAND…: the command for each component folder and its built library.
components() {
    local folder name status=0
    for folder in "$root"/libcalloc*/; do
        folder=${folder%/}
        name=${folder##*/}
        "$@" "$folder" "$release/$name/$name.so" || status=1
    done
    return "$status"
}

check_symbols() {
    components python3 "$checks/symbols.py"
}

# As installed: with the links of pages, the headers and the pkg-config files.
check_manuals() {
    local stage=$build/stage
    rm -rf "$stage"
    quietly "$build/log/stage" meson install -C "$release" --no-rebuild --destdir "$stage" &&
        python3 "$checks/manuals.py" "$stage" "$root"/libcalloc*/
}

check_dependencies() {
    components "$checks/dependencies.sh"
}

# Counts, not times: callgrind gives the same on any machine, but for what memcpy and memset do.
check_instructions() {
    python3 "$root/bench/instructions.py" --check
}

# The packages are built without tests, looked through, and unpacked where programs are linked with them and run.
check_packages() {
    local work=$build/packages/check status=0 file library
    local -a libraries=() names=()
    mapfile -t names < <(basename -a "$root"/libcalloc*/)
    # shellcheck source=tools/packages/build.sh
    . "$root/tools/packages/build.sh"
    one_at_a_time packages deb || return
    source_tree "$work/source" &&
        quietly "$build/log/packages" build_packages "$work/source" "$work/debs" -Pnocheck || return
    lintian --pedantic --display-info --fail-on error,warning,info,pedantic "$work"/debs/*.changes || status=1
    python3 "$checks/packages.py" "$work/debs" "$work/source" || status=1
    rm -rf "$work/root"
    for file in "$work"/debs/*.deb; do
        dpkg-deb -x "$file" "$work/root" || return
    done
    libraries=("$work"/root/usr/lib/*/libcalloc.so.1 "$work"/root/usr/lib/*/libcalloc-secure.so.1)
    library=${libraries[0]}
    [[ $(LD_PRELOAD="${libraries[*]}" CALLOC_OPTIONS=secure.level=standard perl -e \
        'print "preloaded\n" if grep { /libcalloc-secure/ } do { open my $f, "/proc/self/maps"; <$f> }' 2>&1) == \
        preloaded ]] || {
        echo 'perl does not run with the unpacked libraries preloaded'
        status=1
    }
    quietly "$build/log/packages-link" env PKG_CONFIG_SYSROOT_DIR="$work/root" \
        PKG_CONFIG_PATH="${library%/*}/pkgconfig" LD_LIBRARY_PATH="${library%/*}" \
        "$root/tests/install/link.sh" "${names[@]}" || status=1
    # Debian's flags for hardened programs may cost nothing on the paths that are counted.
    quietly "$build/log/packages-instructions" python3 "$root/bench/instructions.py" \
        --record "$work/release.json" &&
        quietly "$build/log/packages-instructions" python3 "$root/bench/instructions.py" \
            --check "$work/release.json" --peer "libcalloc=$library" || status=1
    return "$status"
}

check_abi() {
    compare_interfaces
}

# suite_unit NAME MESON-TEST-OPTIONS: the unit tests of build/NAME, without the suite no-NAME.
suite_unit() {
    local name=$1
    shift
    meson_test "$name" --suite unit --no-suite "no-$name" "$@"
}

# sanitizer NAME B_SANITIZE [MESON OPTIONS]: under a sanitizer that has a malloc of its
# own, the library names its family cal_test_malloc and so on.
sanitizer() {
    local name=$1 kind=$2
    local -a fixed=()
    shift 2
    configure "$name" -Dbuildtype=debugoptimized -Db_lundef=false -Db_sanitize="$kind" "$@" &&
        compile "$name" || return
    # Random addresses may fall where TSan and MSan want their shadow.
    ! setarch -R true 2>/dev/null || fixed=(--wrapper 'setarch -R')
    suite_unit "$name" -t 5 "${fixed[@]}"
}

check_asan() {
    ASAN_OPTIONS=allocator_may_return_null=1${ASAN_OPTIONS:+:$ASAN_OPTIONS} \
        sanitizer asan address -Dfamily_prefix=cal_test_
}

# UBSan has no malloc of its own: here the tests run on the real names.
check_ubsan() {
    UBSAN_OPTIONS=print_stacktrace=1${UBSAN_OPTIONS:+:$UBSAN_OPTIONS} \
        sanitizer ubsan undefined -Dc_args=-fno-sanitize-recover=all \
        -Dcpp_args=-fno-sanitize-recover=all
}

check_tsan() {
    TSAN_OPTIONS=allocator_may_return_null=1${TSAN_OPTIONS:+:$TSAN_OPTIONS} \
        sanitizer tsan thread -Dfamily_prefix=cal_test_
}

check_msan() {
    MSAN_OPTIONS=allocator_may_return_null=1${MSAN_OPTIONS:+:$MSAN_OPTIONS} \
        CC=clang CXX=clang++ sanitizer msan memory -Dfamily_prefix=cal_test_
}

check_memcheck() {
    local logs=$build/valgrind/memcheck status=0
    configure valgrind -Dbuildtype=debugoptimized && compile valgrind || return
    rm -rf "$logs"
    mkdir -p "$logs"
    # One log for each process: what a test prints stays its own, and no child is overlooked.
    suite_unit valgrind -t 20 --wrapper "valgrind --error-exitcode=99 --leak-check=no \
        --soname-synonyms=somalloc=nouserintercepts --log-file='$logs/%p'" || status=1
    mapfile -t logs < <(grep -rlE 'ERROR SUMMARY: [1-9]' "$logs")
    ((${#logs[@]} == 0)) || cat "${logs[@]}"
    return $((status || ${#logs[@]}))
}
