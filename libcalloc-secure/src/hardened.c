#include "hardened.h"

#include <errno.h>
#include <sys/auxv.h>
#include <sys/mman.h>

union cal__hardened_pages cal__hardened_pages __attribute__((aligned(CAL_HARDENED_PAGE)));
char cal__hardened_unused[CAL_HARDENED_PAGE] __attribute__((aligned(CAL_HARDENED_PAGE)));

/* In the thread's static block, so that nothing is allocated for it. */
static __thread struct cal__random stream __attribute__((tls_model("initial-exec")));

void cal__hardened_seal(void)
{
    int saved = errno;
    /* On machines with larger pages other data would be sealed with it. */
    if (getauxval(AT_PAGESZ) == CAL_HARDENED_PAGE)
        mprotect(&cal__hardened_pages, sizeof cal__hardened_pages, PROT_READ);
    errno = saved;
}

struct cal__random *cal__hardened_random(void)
{
    return &stream;
}

void cal__hardened_end_random(void)
{
    cal__random_end(&stream);
}
