/* Compiled with -mavx2 on x86-64, where that exists; nothing else may be in this file. */
#include "quick_body.h"

const struct cal__quick cal__quick_avx2 = {
    .allocated = allocated, .freeing = freeing, .holding = holding};
