/* A table from numbers of 64 bits, such as addresses, to numbers of 32. */
#ifndef CAL_PROFILE_TABLE_H
#define CAL_PROFILE_TABLE_H

#include <stddef.h>
#include <stdint.h>

#define CAL__TABLE_NOTHING UINT32_MAX

struct cal__table_entry;

/* All zeros: empty. */
struct cal__table {
    struct cal__table_entry *entries;
    size_t mask, used;
};

/* The place of a key's number, which is CAL__TABLE_NOTHING where there was none; setting it to that removes the
 * key. Valid until the next call. */
uint32_t *cal__table_at(struct cal__table *table, uint64_t key);

void cal__table_free(struct cal__table *table);

#endif
