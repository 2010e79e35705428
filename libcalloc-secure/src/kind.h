/* How a block was asked for, and who may give it back. */
#ifndef CAL_KIND_H
#define CAL_KIND_H

#include <calloc/hooks.h>

#include "base.h"

/* In two bits, for records. Blocks of the native functions are everybody's, as <calloc/calloc.h> promises. */
enum cal__kind { CAL_KIND_MALLOC, CAL_KIND_NEW, CAL_KIND_NEW_ARRAY, CAL_KIND_ANY };

_Static_assert(CAL_KIND_MALLOC + 1 == CAL_CALL_MALLOC && CAL_KIND_NEW + 1 == CAL_CALL_NEW &&
                   CAL_KIND_NEW_ARRAY + 1 == CAL_CALL_NEW_ARRAY &&
                   CAL_KIND_ANY + 1 == CAL_CALL_NATIVE,
               "one is the other less one");

CAL_INLINE enum cal__kind cal__kind_of(enum cal_call_kind kind)
{
    return (enum cal__kind)(((unsigned)kind - CAL_CALL_MALLOC) & 3);
}

CAL_INLINE bool cal__kinds_differ(enum cal__kind one, enum cal__kind other)
{
    return one != other && one != CAL_KIND_ANY && other != CAL_KIND_ANY;
}

#endif
