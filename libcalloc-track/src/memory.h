/* Memory of the library's own, from mmap alone: nothing of it is ever in the heap that it watches. */
#ifndef CAL_TRACK_MEMORY_H
#define CAL_TRACK_MEMORY_H

#include "base.h"

/* The most that the library may have mapped at a time; what asks for more gets NULL. */
void cal__memory_limit(size_t bytes);

/* Between the two there is no limit: for what is soon given back, to tell what was recorded until it was reached. */
void cal__memory_exceed(void);
void cal__memory_comply(void);

/* Zeroed pages, or NULL. Touched only by whoever uses them. */
void *cal__memory_map(size_t length);
void cal__memory_unmap(void *address, size_t length);

/* Zeroed bytes that are never given back, aligned to 16, or to 64 from 64 bytes on; NULL when there are none. Thread-safe. */
void *cal__memory_take(size_t length);

/* Bytes that are mapped. */
size_t cal__memory_mapped(void);

void cal__memory_fork_prepare(void);
void cal__memory_fork_done(bool in_child);

#endif
