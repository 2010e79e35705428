/* A script as it is put together, from events that name blocks by their addresses or numbers. */
#ifndef CAL_REPLAY_BUILDING_H
#define CAL_REPLAY_BUILDING_H

#include <stddef.h>

#include "script.h"

struct cal__building;

/* At most `limit` calls. */
struct cal__building *cal__building_new(uint64_t limit);
void cal__building_free(struct cal__building *building);

/* The number of a thread that a trace knows by `name`: new at the first time. */
uint32_t cal__building_thread(struct cal__building *building, uint64_t name);
/* The thread begins only now: without this, a thread is there from the start. */
void cal__building_thread_starts(struct cal__building *building, uint32_t thread);

/* The calls, in their order. `key` is the address, or number, that the trace names the block by. Calls that
 * are about no live block are ignored, and counted. */
void cal__building_allocate(struct cal__building *building, uint32_t thread, uint64_t key,
                            enum cal__call_kind kind, uint64_t alignment, uint64_t size);
void cal__building_free_block(struct cal__building *building, uint32_t thread, uint64_t key);
void cal__building_resize(struct cal__building *building, uint32_t thread, uint64_t key,
                          uint64_t new_key, uint64_t size);
void cal__building_ignore(struct cal__building *building);

/* Whether there were more calls than the limit. */
bool cal__building_full(const struct cal__building *building);

/* Writes the script into a file of memory. 0, or a negative errno. */
int cal__building_write(struct cal__building *building, const char *source, int descriptor);

#endif
