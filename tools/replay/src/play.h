/* Makes the calls of a script, each thread's in a thread of its own. */
#ifndef CAL_REPLAY_PLAY_H
#define CAL_REPLAY_PLAY_H

#include "measure.h"
#include "script.h"

enum cal__play_order {
    /* Each thread makes its calls in its order, and waits only for calls on the same block that come before. */
    CAL__PLAY_BLOCKS,
    /* All calls are in the order of the script, whatever thread makes them: the same each time, and slow. */
    CAL__PLAY_TOTAL,
};

enum cal__play_touch { CAL__PLAY_TOUCH_NOTHING, CAL__PLAY_TOUCH_PAGES, CAL__PLAY_TOUCH_ALL };

struct cal__play_options {
    enum cal__play_order order;
    enum cal__play_touch touch;    /* which bytes of a block are written to once it is there */
    void (*at_end)(void *context); /* called before what is left is freed; NULL: nothing */
    void *context;
};

struct cal__play_result {
    uint64_t wall, processor; /* ns */
    uint64_t failed;          /* calls that found no memory */
    uint64_t peak_resident;   /* bytes above what was there before; sampled */
    struct cal__sample end;
    uint64_t
        freed_resident; /* bytes that the allocator keeps when all blocks are freed after that */
    struct cal__samples samples;
};

/* 0, or a negative errno when threads or memory of its own are not to be had. */
int cal__play(const struct cal__script *script, const struct cal__play_options *options,
              struct cal__play_result *result);

#endif
