/* Memory for the allocator's own structures: never given back, so that a stale pointer to one can
 * always be read. Zeroed, aligned to 128 bytes. */
#ifndef CAL_METADATA_H
#define CAL_METADATA_H

#include "base.h"

/* NULL when out of memory. Thread-safe. */
void *cal__metadata_allocate(size_t size);
/* The same for much at once, in a mapping of its own, which cal__metadata_bytes() does not count. Its address is a
 * multiple of the kernel's page. */
void *cal__metadata_map(size_t size);
/* Bytes handed out so far. */
size_t cal__metadata_bytes(void);

/* For fork. */
void cal__metadata_lock(void);
void cal__metadata_unlock(bool in_child);

#endif
