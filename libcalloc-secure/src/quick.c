#include "quick.h"

#ifdef __x86_64__
#    include <sys/platform/x86.h>
#endif

#include "quick_body.h"

const struct cal__quick cal__quick_any = {
    .allocated = allocated, .freeing = freeing, .holding = holding};

const struct cal__quick *cal__quick_best(void)
{
    /* As ld.so has found it out. To ask the processor takes a virtual machine some microseconds, which all processes
     * would pay at their start, and gcc's own question another page. */
#ifdef __x86_64__
    if (CPU_FEATURE_ACTIVE(AVX2))
        return &cal__quick_avx2;
#endif
    return &cal__quick_any;
}
