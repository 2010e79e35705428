/* Open, and at most half full. A key that is removed leaves its entry behind until the next rehash. */
#include "table.h"

#include <stdbool.h>
#include <stdlib.h>

#include "allocate.h"

struct cal__table_entry {
    uint64_t key;
    uint32_t number;
    bool used;
};

static struct cal__table_entry *find(const struct cal__table *table, uint64_t key)
{
    uint64_t hash = (key ^ key >> 32) * 0x9e3779b97f4a7c15;
    size_t index = (size_t)(hash >> 20) & table->mask;
    while (table->entries[index].used && table->entries[index].key != key)
        index = (index + 1) & table->mask;
    return &table->entries[index];
}

static bool is_there(const struct cal__table_entry *entry)
{
    return entry->used && entry->number != CAL__TABLE_NOTHING;
}

static void rehash(struct cal__table *table)
{
    size_t alive = 0, slots = 64;
    struct cal__table old = *table;
    size_t count = old.entries != NULL ? old.mask + 1 : 0;
    for (size_t i = 0; i < count; i++)
        alive += is_there(&old.entries[i]);
    while (slots < alive * 4)
        slots *= 2;
    *table =
        (struct cal__table){cal__allocate_array(slots, sizeof *table->entries), slots - 1, alive};
    for (size_t i = 0; i < count; i++)
        if (is_there(&old.entries[i]))
            *find(table, old.entries[i].key) = old.entries[i];
    free(old.entries);
}

uint32_t *cal__table_at(struct cal__table *table, uint64_t key)
{
    if (table->entries == NULL || (table->used + 1) * 2 > table->mask)
        rehash(table);
    struct cal__table_entry *entry = find(table, key);
    if (!entry->used) {
        *entry = (struct cal__table_entry){key, CAL__TABLE_NOTHING, true};
        table->used++;
    }
    return &entry->number;
}

void cal__table_free(struct cal__table *table)
{
    free(table->entries);
    *table = (struct cal__table){0};
}
