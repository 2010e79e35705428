#include <inttypes.h>
#include <stdlib.h>

#include <allocate.h>

#include "formats.h"

/* The separator, and what would end the line, are not part of a name. */
static void write_name(FILE *out, const char *name)
{
    for (; *name != '\0'; name++)
        fputc(*name == ';' ? ':' : (unsigned char)*name < ' ' ? ' ' : *name, out);
}

void cal__collapsed_write(FILE *out, const struct cal__view *view, enum cal__metric metric)
{
    size_t count, depth = 0, capacity = 0;
    uint32_t *top = cal__view_top(view, metric, &count), *stack = NULL;
    for (size_t i = 0; i < count; i++) {
        depth = 0;
        for (uint32_t node = view->sites[top[i]].node; node != 0; node = view->nodes[node].parent) {
            stack = cal__allocate_grow(stack, depth, &capacity, sizeof *stack);
            stack[depth++] = node;
        }
        if (depth == 0)
            fputs("[no stack]", out);
        while (depth > 0) {
            write_name(out, cal__view_function(view, stack[--depth]));
            if (depth > 0)
                fputc(';', out);
        }
        fprintf(out, " %" PRIu64 "\n", view->sites[top[i]].values[metric]);
    }
    free(stack);
    free(top);
}
