#include "quick.h"

#include "quick_body.h"

const struct cal__quick cal__quick_any = {
    .allocated = allocated, .freeing = freeing, .holding = holding};

const struct cal__quick *cal__quick_best(void)
{
#ifdef __x86_64__
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2"))
        return &cal__quick_avx2;
#endif
    return &cal__quick_any;
}
