/* What memory may be read, from /proc/self/maps. */
#ifndef CAL_TRACK_MAPS_H
#define CAL_TRACK_MAPS_H

#include "base.h"

struct cal__map {
    uintptr_t start;
    uintptr_t end;
};

/* What is known of a piece of a mapping. */
struct cal__piece {
    uintptr_t start;
    uint64_t pages; /* bit N: the page there can be read */
};

enum { CAL_MAPS_PIECES = 4096 };

struct cal__maps {
    struct cal__map *maps; /* the readable ones, by address; neighbours are one */
    size_t count;
    size_t mapped;
    size_t last;                               /* where the last look-up was */
    struct cal__piece pieces[CAL_MAPS_PIECES]; /* one of those whose numbers end alike */
    bool blind;                                /* the kernel does not tell */
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
