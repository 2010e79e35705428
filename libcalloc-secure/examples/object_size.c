/* A copy that never writes beyond the block it copies to. */
#include <calloc/secure.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* How many bytes were copied. */
static size_t copy_into(char *to, const char *text)
{
    size_t room = cal_secure_object_size(to), length = strlen(text) + 1;
    if (length > room)
        length = room;
    memcpy(to, text, length);
    to[length - 1] = '\0';
    return length;
}

int main(void)
{
    char *block = malloc(10);
    if (block == NULL)
        return 1;
    if (cal_secure_level() != CAL_SECURE_OFF)
        printf("%zu bytes: ", copy_into(block + 2, "a long text"));
    else
        copy_into(strcpy(block, "") + 2, "short");
    printf("%s\n", block + 2);
    free(block);
    return 0;
}
