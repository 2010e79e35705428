#include "page.h"

void cal__page_list_push(struct cal__link *first, struct cal__page *page)
{
    struct cal__page *next = cal__link_get(first);
    if (next != NULL) {
        if (CAL_UNLIKELY(cal__page_previous(next) != NULL))
            cal__link_broken(next);
        cal__page_set_previous(next, page);
    }
    page->next = *first;
    cal__page_set_previous(page, NULL);
    cal__link_set(first, page);
}

void cal__page_list_append(struct cal__link *first, struct cal__link *last, struct cal__page *page)
{
    struct cal__page *previous = cal__link_get(last);
    struct cal__link *before = previous != NULL ? &previous->next : first;
    if (CAL_UNLIKELY(cal__link_get(before) != NULL))
        cal__link_broken(previous);
    cal__link_set(before, page);
    page->previous = *last;
    cal__page_set_next(page, NULL);
    cal__link_set(last, page);
}

void cal__page_list_remove(struct cal__link *first, struct cal__link *last, struct cal__page *page)
{
    struct cal__page *next = cal__page_next(page);
    struct cal__page *previous = cal__page_previous(page);
    struct cal__link *before = previous != NULL ? &previous->next : first;
    struct cal__link *behind = next != NULL ? &next->previous : last;
    if (CAL_UNLIKELY(cal__link_get(before) != page ||
                     (behind != NULL && cal__link_get(behind) != page)))
        cal__link_broken(page);
    *before = page->next;
    if (behind != NULL)
        *behind = page->previous;
    cal__page_set_next(page, NULL);
    cal__page_set_previous(page, NULL);
}
