/* A program that knows nothing of any malloc: only libc allocates. With an argument it writes beyond the end
 * of what libc allocated. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int count, char **arguments)
{
    /* 24 bytes with the zero at the end. */
    char *text = strdup("a text of 23 characters");
    if (text == NULL)
        return 1;
    if (count > 1 && strcmp(arguments[1], "overflow") == 0)
        *(volatile char *)(text + 24) = 'x';
    free(text);
    puts("plain");
    return 0;
}
