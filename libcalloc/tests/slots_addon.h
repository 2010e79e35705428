/* An add-on for tests that plays the role slots: it hands out random slots, has a canary behind each block
 * and remembers what was asked for, keeps freed blocks for a while and looks whether they were written
 * to, and protects the space around large blocks. */
#ifndef CAL_TEST_SLOTS_ADDON_H
#define CAL_TEST_SLOTS_ADDON_H

#include <calloc/hooks.h>

/* What it does differently when a test asks for it. */
struct slots_addon {
    _Atomic size_t
        keep_max;          /* blocks of up to so many bytes are kept when they are freed; 0: none */
    _Atomic bool ignore;   /* errors are ignored, and the last calls noted */
    _Atomic bool tolerate; /* errors are ignored */
    _Atomic bool withhold; /* the first slot of each slab opened is never handed out */
    _Atomic bool refuse_open; /* no slab is opened */
    _Atomic bool
        stay_shut; /* slabs that are closed fault, as if the kernel had refused anything else */
    _Atomic bool in_place; /* blocks are resized in their slot */
    _Atomic bool hold;     /* the next choose() takes a slot for itself, `held` */

    /* What it saw. */
    _Atomic size_t opened, closed, shut, reopened, allocated, freed, kept, released, resized;
    _Atomic size_t errors[CAL_ERROR_INVALID_POINTER + 1];
    const void *_Atomic error_address;
    void *_Atomic held;
};
extern struct slots_addon slots_addon;

/* The requests of the last allocation and of the last free. */
extern struct cal_call slots_last_allocated, slots_last_freeing;

extern const struct cal_hooks slots_hooks;

/* Large blocks are used again with their slabs open. To be said before the registration. */
void slots_let_rest(void);

/* Lets go of all blocks that are kept. */
void slots_release_kept(void);

#endif
