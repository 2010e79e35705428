/* What memory may be read, from /proc/self/maps. */
#ifndef CAL_TRACK_MAPS_H
#define CAL_TRACK_MAPS_H

#include "base.h"

struct cal__map {
    uintptr_t start;
    uintptr_t end;
};

struct cal__maps {
    struct cal__map *maps; /* the readable ones, by address; neighbours are one */
    size_t count;
    size_t mapped;
    size_t last; /* where the last look-up was */
};

/* False: no memory, or the file cannot be read. */
bool cal__maps_read(struct cal__maps *maps);
void cal__maps_free(struct cal__maps *maps);

/* The readable mapping that ADDRESS lies in, or NULL. */
const struct cal__map *cal__maps_find(struct cal__maps *maps, uintptr_t address);

#endif
