/* What stays with the process after a large block was freed. Compare
 *     ./options
 *     CALLOC_OPTIONS=retain=0 ./options */
#include <calloc/calloc.h>
#include <stdio.h>
#include <string.h>

int main(void)
{
    size_t size = (size_t)32 << 20;
    void *block = cal_allocate(size);
    if (block == NULL)
        return 1;
    memset(block, 1, size);
    cal_deallocate(block);

    struct cal_statistics statistics = {.size = sizeof statistics};
    if (cal_stats(&statistics) != 0)
        return 1;
    printf("%zu KiB kept for re-use\n", statistics.retained_bytes / 1024);
    return 0;
}
