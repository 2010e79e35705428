/* How much was live, over time: a bounded number of points, which lie the further apart the longer it is. */
#ifndef CAL_TRACK_TIMELINE_H
#define CAL_TRACK_TIMELINE_H

#include "base.h"
#include "format.h"

enum { CAL_MOMENTS_MAX = 1024 };

/* Adds a point if it is time for one. Waits for nobody. */
void cal__timeline_look(void);

/* The point of the time line for the moment of the call. */
void cal__timeline_now(struct cal__file_moment *moment);

/* Whether MARK is another than when it was last asked for. */
bool cal__timeline_saw_mark(uint64_t mark);

/* Copies what there is to MOMENTS, of CAL_MOMENTS_MAX; the count. */
size_t cal__timeline_copy(struct cal__file_moment *moments);

void cal__timeline_fork_prepare(void);
void cal__timeline_fork_done(bool in_child);

#endif
