/* Tells whose malloc this process has, and what the allocator holds. */
#include <calloc/calloc.h>
#include <stdio.h>
#include <stdlib.h>

static size_t allocations(void)
{
    struct cal_statistics statistics = {.size = sizeof statistics};
    return cal_stats(&statistics) == 0 ? statistics.allocations : 0;
}

int main(void)
{
    size_t before = allocations();
    void *volatile block = malloc(100);
    size_t after = allocations();
    free(block);
    printf("libcalloc %s is loaded; malloc is %s\n", cal_version(),
           after == before + 1 ? "its own" : "another allocator's");
    return 0;
}
