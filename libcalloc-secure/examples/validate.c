/* A server that looks at its heap between two requests. */
#include <calloc/secure.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void serve(size_t number)
{
    char *answer = malloc(64);
    if (answer == NULL)
        return;
    snprintf(answer, 64, "answer %zu", number);
    puts(answer);
    free(answer);
}

int main(void)
{
    for (size_t i = 0; i < 3; i++) {
        serve(i);
        if (cal_secure_validate() != 0)
            return 1;
    }
    return 0;
}
