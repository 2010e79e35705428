#include "capture.h"

#include <line.h>

static struct text *captured;

/* The core's message.h and the add-on's line.h cannot be included by one file. */
void __real_cal__warn(const char *first, const char *second);
void __wrap_cal__warn(const char *first, const char *second);
void __real_cal__line_write(struct cal__line *line, int descriptor);
void __wrap_cal__line_write(struct cal__line *line, int descriptor);

void capture_lines(struct text *lines)
{
    captured = lines;
}

static void add(struct piece line)
{
    static const char prefix[] = "libcalloc: ";
    if (piece_begins(line, prefix)) {
        line.bytes += sizeof prefix - 1;
        line.length -= sizeof prefix - 1;
    }
    text_bytes(captured, line.bytes, line.length);
    text_bytes(captured, "\n", 1);
}

bool capture_line(struct piece line)
{
    if (captured == NULL)
        return false;
    add(line);
    return true;
}

void __wrap_cal__warn(const char *first, const char *second)
{
    if (captured == NULL) {
        __real_cal__warn(first, second);
        return;
    }
    text_format(captured, "%s%s%s\n", first, second == NULL ? "" : " ",
                second == NULL ? "" : second);
}

void __wrap_cal__line_write(struct cal__line *line, int descriptor)
{
    if (!capture_line((struct piece){line->bytes, line->length}))
        __real_cal__line_write(line, descriptor);
}
