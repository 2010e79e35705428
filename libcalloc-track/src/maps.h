/* What memory may be read, from the kernel's list of mappings. */
#ifndef CAL_TRACK_MAPS_H
#define CAL_TRACK_MAPS_H

#include "base.h"

struct cal__map {
    uintptr_t start;
    uintptr_t end;
    size_t piece; /* the number of its first one */
};

/* What is known of 64 pages of a mapping. */
struct cal__piece {
    uint64_t pages; /* bit N: the page there can be read */
    bool known;
};

struct cal__maps {
    struct cal__map *maps; /* the readable ones, by address; neighbours are one */
    size_t count;
    size_t mapped;
    size_t last; /* where the last look-up was */
    struct cal__piece
        *pieces; /* NULL: no page of a mapping is a guard, or the kernel does not tell */
    size_t pieces_count;
};

/* False: no memory, or the file cannot be read. */
bool cal__maps_read(struct cal__maps *maps);
void cal__maps_free(struct cal__maps *maps);

/* The readable mapping that ADDRESS lies in, or NULL. */
const struct cal__map *cal__maps_find(struct cal__maps *maps, uintptr_t address);

/* How far one can read from START, an address in MAP, at most to END: a mapping may have pages that nobody can, guards of
 * madvise(2). START: not at all. */
uintptr_t cal__maps_readable(struct cal__maps *maps, const struct cal__map *map, uintptr_t start,
                             uintptr_t end);

#endif
