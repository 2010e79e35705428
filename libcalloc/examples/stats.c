/* How much a data structure really takes. */
#include <calloc/calloc.h>
#include <stdio.h>

enum { NODES = 10000 };

struct node {
    struct node *next;
    char name[30];
};

static struct cal_statistics now(void)
{
    struct cal_statistics statistics = {.size = sizeof statistics};
    cal_stats(&statistics);
    return statistics;
}

int main(void)
{
    struct cal_statistics before = now();
    struct node *list = NULL;
    for (int i = 0; i < NODES; i++) {
        struct node *node = cal_allocate(sizeof *node);
        if (node == NULL)
            return 1;
        node->next = list;
        list = node;
    }
    struct cal_statistics after = now();
    printf("%zu nodes of %zu bytes take %zu bytes\n",
           after.active_allocations - before.active_allocations, sizeof *list,
           after.active_bytes - before.active_bytes);

    while (list != NULL) {
        struct node *next = list->next;
        cal_deallocate(list);
        list = next;
    }
    printf("fragmentation %.1f %%\n", 100 * cal_fragmentation());
    printf("%s went back to the kernel\n", cal_trim() ? "memory" : "nothing");
    return now().deallocations - before.deallocations >= NODES ? 0 : 1;
}
