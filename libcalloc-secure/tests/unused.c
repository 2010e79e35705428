/* A program that never allocates is hardened, and no memory for blocks was mapped for it; then it allocates, and is told of
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
    size_t before = mapped();
    /* What the core knows of its heap, at most: the first segment has a MiB. */
    if (before >= (size_t)1 << 20)
        return FAIL("memory for blocks is mapped before anything is allocated");
    unsigned char *volatile block = malloc(41);
    if (block == NULL || mapped() < before + ((size_t)1 << 20))
        return FAIL("its malloc is another");
    block[41] ^= 1;
    free(block);
    return FAIL("nothing was said");
}
