/* What the tests of pages.h share: children with settings of their own, in which the owner is registered with
 * the core, and whether memory can be touched. */
#ifndef CAL_SECURE_TEST_PAGES_SUPPORT_H
#define CAL_SECURE_TEST_PAGES_SUPPORT_H

#include "support.h"

#include <calloc/hooks.h>

#include "family.h"
#include "pages.h"

extern size_t page;

/* Items for the functions below. */
#define EMPTY     "secure.zero_size_faults=1,secure.own_pages=0"
#define OWN       "secure.own_pages=1,secure.kinds=1,secure.guard_protect_first=0"
#define PROTECTED "secure.own_pages=1,secure.kinds=1,secure.guard_protect_only=1"
#define FIRST     "secure.own_pages=1,secure.guard_protect_first=64"

/* Starts all that is under test with these items of CALLOC_OPTIONS, and registers it. Once in a process. */
void start(const char *options);

/* The same in a child, which then calls FUNCTION and must end as it is said, with nothing written. */
void passes_with(const char *options, void (*function)(void));
void dies_with(const char *options, void (*function)(void), int signal);
/* It must end by SIGABRT, or, where LOGS, by itself, with one line that starts with "libcalloc: ", WHAT and
 * " of " and the address that it gave to blame(). TEXT, if not NULL, has the line. */
enum { LINE_MAX_TEST = 2000 };
void reports_with(const char *options, void (*function)(void), const char *what, bool logs,
                  char *text);
void *blame(void *pointer);
/* Its status, and what it wrote. */
int watch_with(const char *options, void (*function)(void), char *text, size_t size);

/* Hides from the compiler where a pointer comes from. */
void *opaque(void *pointer);
/* Whether a byte can be read and written: asked of the kernel. */
bool can_touch(const void *address);
bool is_zero(const void *memory, size_t size);
/* True where every step costs much more: loops that only repeat are shortened. */
bool is_slow(void);
/* True where what is read while another thread writes it is an error, whatever is done with it. */
bool is_race_detector(void);

#endif
