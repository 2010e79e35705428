/* What the settings came to, which every function of the hooks reads: in pages of its own, that are
 * read-only once the process has started. */
#ifndef CAL_HARDENED_H
#define CAL_HARDENED_H

#include <calloc/hooks.h>

#include "base.h"
#include "random.h"
#include "settings.h"

struct cal__hardened_state {
    struct cal__settings settings;
    bool active;            /* the hooks are registered */
    bool addresses_limited; /* by RLIMIT_AS, when the process started */
    uint32_t page;          /* bytes of the kernel's: guards have as many */
    bool wide_vectors;      /* the processor has AVX2 */
    /* Free memory reads as zeros: all that was ever freed was made so. */
    bool clean;
    uint64_t secret;        /* for what is written down, see record.h; 0 with `metadata` off */
    struct cal_owner owner; /* that of pages.h */
    const char *own_malloc; /* the file whose malloc the program uses instead of ours, or NULL */
    bool shadowed;          /* and that is libc's: the core was loaded behind it */
};

/* The smallest page that a kernel has, in which is counted what need not be exact. */
enum { CAL_HARDENED_PAGE = 4096 };

extern union cal__hardened_pages {
    struct cal__hardened_state value;
    char pages[CAL_HARDENED_PAGE];
} cal__hardened_pages __attribute__((visibility("hidden")));

#define cal__hardened (cal__hardened_pages.value)

/* A page that nobody uses, to try on what the kernel does with pages. */
extern char cal__hardened_unused[CAL_HARDENED_PAGE] __attribute__((visibility("hidden")));

_Static_assert(sizeof(union cal__hardened_pages) == CAL_HARDENED_PAGE, "one page");

/* Nobody writes them any more. */
void cal__hardened_seal(void);

/* Random numbers of the calling thread. */
struct cal__random *cal__hardened_random(void);

/* Ends the thread's: it may draw again. */
void cal__hardened_end_random(void);

#endif
