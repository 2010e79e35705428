/* What the hardening has made of this process. */
#include <calloc/secure.h>
#include <stdio.h>
#include <stdlib.h>

int main(void)
{
    void *volatile block = malloc(1000000);
    free(block);
    struct cal_secure_state state = {.size = sizeof state};
    if (cal_secure_state(&state) != 0)
        return 1;
    printf("malloc of %s\n", state.own_malloc == NULL ? "libcalloc" : state.own_malloc);
    printf("%zu KiB of addresses wait\n", state.waiting_bytes / 1024);
    printf("%zu guards, %zu of them took mappings, of which %zu are allowed\n",
           state.guards_marked + state.guards_protected, state.guards_protected,
           state.guards_budget);
    return 0;
}
