/* Owners: add-ons that serve requests from address ranges of their own.
 *
 * A range is a page of CAL_PAGE_RANGE; what is asked about an address in it goes to the functions of
 * its owner, with the state that the range was mapped with. */
#ifndef CAL_OWNER_H
#define CAL_OWNER_H

#include <calloc/hooks.h>

#include "page.h"

/* True when nothing is missing that must be there. */
bool cal__owner_is_complete(const struct cal_owner *owner);

/* Adds an owner to those that are asked, at the end; takes it out. Under the lock of the registry of
 * hooks. An owner that claims nothing is not asked. */
void cal__owner_add(const struct cal_owner *owner);
void cal__owner_remove(const struct cal_owner *owner);

/* True when there is any to be asked. */
bool cal__owner_claims(void);
/* No owner is to be asked for more bytes than this. */
size_t cal__owner_largest(void);
/* The block of the first that claims the request, or NULL. */
void *cal__owner_claim(const struct cal_call *call);

/* About a range. */
bool cal__owner_free(const struct cal__page *page, void *block, const struct cal_call *call);
/* SIZE_MAX: BLOCK is none. */
size_t cal__owner_usable(const struct cal__page *page, const void *block);
bool cal__owner_resize(const struct cal__page *page, void *block, size_t bytes);
struct cal_range_counts cal__owner_counts(const struct cal__page *page);
bool cal__owner_walk(const struct cal__page *page,
                     bool (*visit)(void *block, size_t usable, void *argument), void *argument);

/* What was handed out from ranges that are no more. */
struct cal_range_counts cal__owner_past(void);

#endif
