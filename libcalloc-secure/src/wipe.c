#include "wipe.h"

#include <calloc/secure.h>

CAL_EXPORT void cal_secure_wipe(void *memory, size_t size)
{
    cal__wipe(memory, size);
}
