#!/usr/bin/env bash
# Every public header stands alone: headers.sh COMPONENT-FOLDER…
# Each is compiled by itself, as C11 and as C++17 (.hpp only as C++17), without a warning.
set -euo pipefail

status=0 headers=0
include=()
for folder; do
    include+=(-I "$folder/include")
done

alone() {
    local compiler=$1 language=$2 standard=$3
    # Twice, so that a missing include guard shows.
    printf '#include <%s>\n' "$header" "$header" | "$compiler" -x "$language" "-std=$standard" -Wall -Wextra \
        -Werror -pedantic -Wmissing-declarations "${include[@]}" -fsyntax-only - || {
        printf '%s does not compile alone as %s\n' "$header" "$standard"
        status=1
    }
}

for folder; do
    for header in "$folder"/include/*/*; do
        [[ -f $header ]] || continue
        headers=$((headers + 1))
        language=${header##*.}
        header=${header#"$folder/include/"}
        case $language in
        h)
            alone gcc c c11
            alone g++ c++ c++17
            ;;
        hpp) alone g++ c++ c++17 ;;
        esac
    done
done
if ((headers == 0)); then
    echo 'no public header found'
    status=1
fi
exit "$status"
