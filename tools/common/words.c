#include "words.h"

#include <stddef.h>
#include <string.h>

const char *option_value(int count, char **words, int *i, const char *name)
{
    size_t length = strlen(name);
    if (strncmp(words[*i], name, length) != 0)
        return NULL;
    if (words[*i][length] == '=')
        return words[*i] + length + 1;
    return words[*i][length] == '\0' && *i + 1 < count ? words[++*i] : NULL;
}
