/* Reading files. */
#ifndef TOOLS_FILE_H
#define TOOLS_FILE_H

#include <stdint.h>

#include "text.h"

/* Adds what is left of a descriptor to TEXT: 0, or a negative errno, -EFBIG where that is more than LIMIT
 * bytes. */
int file_take(int descriptor, size_t limit, struct text *text);

/* The same of a file. */
int file_read(const char *path, size_t limit, struct text *text);

/* The first line of a small file of the kernel, without its end; "" where it cannot be read. */
void file_line(const char *path, struct text *line);

/* The number that such a file holds; FALLBACK where it holds none. */
int64_t file_number(const char *path, int64_t fallback);

/* Where a symbolic link leads, ended with '\0': 0, or a negative errno, -ENAMETOOLONG where it does not
 * fit. */
int file_link(const char *path, char *buffer, size_t size);

/* Whether the folder of a file to be is there, and we may write into it: 0, or a negative errno. -EISDIR: the file
 * is a folder. */
int file_can_be_made(const char *path);

#endif
