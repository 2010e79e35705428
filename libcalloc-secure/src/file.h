/* Reading small files while the process starts. Straight system calls: libc's functions are what other
 * preloaded libraries replace with ones that allocate, and are cancellation points. */
#ifndef CAL_FILE_H
#define CAL_FILE_H

#include "base.h"

/* Not an errno: the file belongs to somebody else than root, or others may write it. */
enum { CAL_FILE_UNTRUSTED = -4096 };

/* Opens a file for reading: a descriptor, or a negative errno. With TRUSTED, for what decides on security,
 * it must be a regular file (-EINVAL), no symbolic link (-ELOOP), and belong to root alone
 * (CAL_FILE_UNTRUSTED). errno is not meaningful after it. */
int cal__file_open(const char *path, bool trusted);

/* Reads up to SIZE bytes, fewer only where the file ends: how many, or a negative errno. errno is not meaningful
 * after it. */
long cal__file_read(int descriptor, char *buffer, size_t size);

/* Reads a file to its end, and closes it: how many bytes, or a negative errno, -EFBIG where they are more
 * than SIZE. errno is not meaningful after it. */
long cal__file_take(int descriptor, char *buffer, size_t size);

void cal__file_close(int descriptor);

/* Where the symbolic link PATH leads to, ended with '\0': the length, or 0 with an empty string where
 * it cannot be read or does not fit. */
size_t cal__file_link(const char *path, char *buffer, size_t size);

#endif
