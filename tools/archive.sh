#!/bin/sh
# archive.sh OBJCOPY FOLDER NAME…: run by `meson install`: puts the code of the archives FOLDER/NAME.a into a section of its
# own. In a program that is linked with them that is the one thing by which libcalloc-track can tell the allocator's frames
# from the program's. A folder that is not absolute is below the prefix.
set -eu

objcopy=$1 folder=$2
shift 2
case $folder in
/*) folder=${DESTDIR-}$folder ;;
*) folder=$MESON_INSTALL_DESTDIR_PREFIX/$folder ;;
esac
for name; do
    "$objcopy" --enable-deterministic-archives \
        --rename-section .text=calloc_text --rename-section .text.unlikely=calloc_text \
        --rename-section .text.hot=calloc_text --rename-section .text.startup=calloc_text \
        --rename-section .text.exit=calloc_text "$folder/$name.a"
done
