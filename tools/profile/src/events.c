#include "events.h"

#include <string.h>

#include <libcalloc-track/src/format.h>

struct cursor {
    const unsigned char *at, *end;
    bool broken;
};

static uint64_t varint(struct cursor *cursor)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 70; shift += 7) {
        if (cursor->at == cursor->end)
            break;
        unsigned char byte = *cursor->at++;
        if (shift == 63 && byte > 1)
            break; /* more than 64 bits */
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80))
            return value;
    }
    cursor->broken = true;
    return 0;
}

static uint64_t difference(struct cursor *cursor)
{
    uint64_t code = varint(cursor);
    return code >> 1 ^ (0 - (code & 1));
}

const char *cal__events_decode(const struct cal__section *section, cal__events_take *take,
                               void *context)
{
    struct cal__file_events head;
    if (section->length < sizeof head)
        return "is too short for events";
    memcpy(&head, section->payload, sizeof head);
    struct cursor cursor = {section->payload + sizeof head, section->payload + section->length,
                            false};
    struct cal__event event = {.ticks = head.ticks, .thread = head.thread};
    uint64_t address = 0, site = 0;
    while (cursor.at < cursor.end) {
        uint64_t first = varint(&cursor);
        event.ticks += first >> 3;
        event.kind = first & 7;
        event.size = 0;
        if (event.kind > CAL_EVENT_END)
            return "has events of a kind that is not known here";
        if (event.kind <= CAL_EVENT_RESIZE)
            event.address = address += difference(&cursor) * 16;
        if (event.kind == CAL_EVENT_ALLOCATE || event.kind == CAL_EVENT_RESIZE)
            event.size = varint(&cursor);
        if (event.kind == CAL_EVENT_ALLOCATE)
            event.site = (uint32_t)(site += difference(&cursor));
        if (cursor.broken)
            return "ends within an event";
        take(context, &event);
    }
    return NULL;
}
