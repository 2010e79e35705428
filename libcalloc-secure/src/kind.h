/* How a block was asked for, and who may give it back. */
#ifndef CAL_KIND_H
#define CAL_KIND_H

#include <calloc/hooks.h>

#include "base.h"

/* In two bits, for records. Blocks of the native functions are everybody's, as <calloc/calloc.h> promises. */
enum cal__kind { CAL_KIND_MALLOC, CAL_KIND_NEW, CAL_KIND_NEW_ARRAY, CAL_KIND_ANY };

CAL_INLINE enum cal__kind cal__kind_of(const struct cal_call *call)
{
    switch (call->kind) {
    case CAL_CALL_MALLOC:
        return CAL_KIND_MALLOC;
    case CAL_CALL_NEW:
        return CAL_KIND_NEW;
    case CAL_CALL_NEW_ARRAY:
        return CAL_KIND_NEW_ARRAY;
    default:
        return CAL_KIND_ANY;
    }
}

CAL_INLINE bool cal__kinds_differ(enum cal__kind one, enum cal__kind other)
{
    return one != other && one != CAL_KIND_ANY && other != CAL_KIND_ANY;
}

#endif
