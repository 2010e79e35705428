/* An open hash table of numbers, at most half full. */
#include "strings.h"

#include <stdlib.h>
#include <string.h>

#include <allocate.h>

struct cal__strings {
    char **texts;
    size_t count, capacity;
    uint32_t *slots; /* number + 1, or 0 */
    size_t mask;
};

static uint64_t hash(const char *bytes, size_t length)
{
    uint64_t value = 0xcbf29ce484222325;
    for (size_t i = 0; i < length; i++)
        value = (value ^ (unsigned char)bytes[i]) * 0x100000001b3;
    return value ^ value >> 29;
}

/* The slot that holds these bytes, or the empty one where they belong. */
static uint32_t *find(const struct cal__strings *strings, const char *bytes, size_t length)
{
    size_t index = hash(bytes, length) & strings->mask;
    while (strings->slots[index] != 0) {
        const char *text = strings->texts[strings->slots[index] - 1];
        if (strncmp(text, bytes, length) == 0 && text[length] == '\0')
            break;
        index = (index + 1) & strings->mask;
    }
    return &strings->slots[index];
}

static void rehash(struct cal__strings *strings, size_t slots)
{
    free(strings->slots);
    strings->slots = cal__allocate_array(slots, sizeof *strings->slots);
    strings->mask = slots - 1;
    for (size_t i = 0; i < strings->count; i++)
        *find(strings, strings->texts[i], strlen(strings->texts[i])) = (uint32_t)i + 1;
}

struct cal__strings *cal__strings_new(void)
{
    struct cal__strings *strings = cal__allocate_array(1, sizeof *strings);
    rehash(strings, 64);
    cal__strings_add(strings, "");
    return strings;
}

void cal__strings_free(struct cal__strings *strings)
{
    if (strings == NULL)
        return;
    for (size_t i = 0; i < strings->count; i++)
        free(strings->texts[i]);
    free(strings->texts);
    free(strings->slots);
    free(strings);
}

uint32_t cal__strings_add_bytes(struct cal__strings *strings, const char *bytes, size_t length)
{
    /* A string ends at its first NUL, also where a file says that it is longer. */
    length = strnlen(bytes, length);
    uint32_t *slot = find(strings, bytes, length);
    if (*slot != 0)
        return *slot - 1;
    strings->texts =
        cal__allocate_grow(strings->texts, strings->count, &strings->capacity, sizeof(char *));
    strings->texts[strings->count] = cal__allocate_string(bytes, length);
    uint32_t number = (uint32_t)strings->count++;
    *slot = number + 1;
    if (strings->count * 2 > strings->mask)
        rehash(strings, (strings->mask + 1) * 2);
    return number;
}

uint32_t cal__strings_add(struct cal__strings *strings, const char *text)
{
    return cal__strings_add_bytes(strings, text, strlen(text));
}

const char *cal__strings_get(const struct cal__strings *strings, uint32_t number)
{
    return strings->texts[number];
}

uint32_t cal__strings_count(const struct cal__strings *strings)
{
    return (uint32_t)strings->count;
}
