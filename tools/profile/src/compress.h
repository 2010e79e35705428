/* Makes a trace smaller once it has been written: its writer is in the process that is watched, and has no time. */
#ifndef CAL_PROFILE_COMPRESS_H
#define CAL_PROFILE_COMPRESS_H

#include <signal.h>
#include <stdint.h>

/* Puts a copy of the file at PATH in its place, in which each section that becomes smaller by it is a zstd frame. What is
 * broken or cut short is kept as it is. NULL, and the bytes of both; or the reason in new memory, in words that
 * continue a sentence on the file, and the file is what it was. Not 0 in *STOP, which a signal handler may set: the reason
 * is that it was interrupted. */
char *cal__compress(const char *path, const volatile sig_atomic_t *stop, uint64_t *before,
                    uint64_t *after);

#endif
