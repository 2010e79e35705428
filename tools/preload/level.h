/* The level of libcalloc-secure for all programs, in /etc/calloc/secure.conf. */
#ifndef PRELOAD_LEVEL_H
#define PRELOAD_LEVEL_H

#include <common/text.h>

/* TEXT, the contents of that file, with the level set before its first section; the rest as it is. False,
 * with a line said, where the file would then say something else for all programs. */
bool level_set(struct piece text, const char *level, struct text *result);

/* Whether it is one; else says so. */
bool level_is_known(const char *level);

#endif
