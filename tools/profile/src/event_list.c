#include "event_list.h"

#include <inttypes.h>
#include <stdlib.h>

#include "allocate.h"

static void take_event(void *context, const struct cal__event *event)
{
    struct cal__event_list *list = context;
    if (list->count >= list->limit) {
        list->full = true;
        return;
    }
    list->all = cal__allocate_grow(list->all, list->count, &list->capacity, sizeof *list->all);
    list->all[list->count] = *event;
    list->all[list->count].number = (uint32_t)list->count;
    list->count++;
}

void cal__event_list_take(void *context, const struct cal__profile *profile,
                          const struct cal__section *section)
{
    struct cal__event_list *list = context;
    (void)profile;
    const char *wrong = cal__events_decode(section, take_event, list);
    if (wrong != NULL && list->wrong == NULL)
        list->wrong = cal__allocate_format("A part of the file (events, at byte %" PRIu64 ") %s.",
                                           section->offset, wrong);
}

static int by_ticks(const void *left, const void *right)
{
    const struct cal__event *a = left, *b = right;
    if (a->ticks != b->ticks)
        return a->ticks < b->ticks ? -1 : 1;
    return a->number < b->number ? -1 : a->number > b->number;
}

void cal__event_list_sort(struct cal__event_list *list)
{
    if (list->count > 0)
        qsort(list->all, list->count, sizeof *list->all, by_ticks);
}

void cal__event_list_free(struct cal__event_list *list)
{
    free(list->all);
    free(list->wrong);
    *list = (struct cal__event_list){0};
}
