/* A user's program that is hardened by being linked: it calls one function of the library, allocates, and
 * ends with a line when told to write beyond a block. */
#include <calloc/secure.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int count, char **arguments)
{
    struct cal_secure_state state = {.size = sizeof state};
    if (cal_secure_state(&state) != 0 || state.own_malloc != NULL)
        return 1;
    volatile size_t length = 24;
    volatile char *block = malloc(length);
    if (block == NULL || cal_secure_object_size((const void *)block) != 24) {
        fprintf(stderr, "a block of 24 bytes is not of 24 bytes\n");
        return 1;
    }
    if (count > 1 && strcmp(arguments[1], "overflow") == 0)
        block[length] = 1;
    free((void *)block);
    printf("level %d\n", (int)cal_secure_level());
    return 0;
}
