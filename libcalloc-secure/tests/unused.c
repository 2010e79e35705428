/* A program that never allocates is hardened, and no memory was mapped for it; then it allocates, and is told of
 * what it does wrong. */
#include <calloc/calloc.h>
#include <calloc/secure.h>
#include <stdlib.h>
#include <unistd.h>

static size_t mapped(void)
{
    struct cal_statistics stats = {.size = sizeof stats};
    cal_stats(&stats);
    return stats.os_memory_mapped_peak;
}

static int fail(const char *why, size_t length)
{
    return write(STDOUT_FILENO, why, length) < 0 ? 2 : 1;
}

#define FAIL(why) fail(why "\n", sizeof why)

int main(void)
{
    if (cal_secure_level() != CAL_SECURE_LIGHT)
        return FAIL("it is not hardened");
    if (mapped() != 0)
        return FAIL("memory is mapped before anything is allocated");
    unsigned char *volatile block = malloc(41);
    if (block == NULL || mapped() == 0)
        return FAIL("its malloc is another");
    block[41] ^= 1;
    free(block);
    return FAIL("nothing was said");
}
