/* 100,000 large blocks alive at a time. Guards that cost mappings may use up a small part of them only: the
 * program must never see ENOMEM for that. The argument says which guards there are: `protected`, `marked`. */
#include <calloc/secure.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCKS = 100000, SIZE = 200000 };
static unsigned char *blocks[BLOCKS];

static int fail(const char *what, size_t number)
{
    fprintf(stderr, "%s, block %zu\n", what, number);
    return 1;
}

static size_t mappings(void)
{
    size_t lines = 0;
    FILE *file = fopen("/proc/self/maps", "r");
    for (int c; file != NULL && (c = getc(file)) != EOF;)
        lines += c == '\n';
    if (file != NULL)
        fclose(file);
    return lines;
}

int main(int count, char **arguments)
{
    struct cal_secure_state state = {.size = sizeof state};
    for (size_t i = 0; i < BLOCKS; i++) {
        if ((blocks[i] = malloc(SIZE)) == NULL)
            return fail("no memory", i);
        blocks[i][SIZE - 1] = (unsigned char)i;
    }
    size_t lines = mappings();
    if (cal_secure_state(&state) != 0 || cal_secure_level() == CAL_SECURE_OFF)
        return fail("not hardened", 0);
    if (state.guards_protected > state.guards_budget)
        return fail("too many guards", state.guards_protected);
    if (count > 1 && strcmp(arguments[1], "protected") == 0 &&
        (state.guards_marked != 0 || state.guards_refused == 0))
        return fail("guards were to be refused", state.guards_refused);
    for (size_t i = 0; i < BLOCKS; i++) {
        if (blocks[i][SIZE - 1] != (unsigned char)i)
            return fail("changed", i);
        if (i % 3 != 0)
            continue;
        free(blocks[i]);
        if ((blocks[i] = malloc(SIZE)) == NULL)
            return fail("no memory again", i);
        blocks[i][SIZE - 1] = (unsigned char)i;
    }
    for (size_t i = 0; i < BLOCKS; i++)
        free(blocks[i]);
    if (cal_secure_validate() != 0)
        return fail("errors", 0);
    printf("%zu mappings, %zu guards marked, %zu protected of %zu, %zu refused\n", lines,
           state.guards_marked, state.guards_protected, state.guards_budget, state.guards_refused);
    return 0;
}
