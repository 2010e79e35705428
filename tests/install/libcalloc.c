/* A user's program on the core: its blocks, and those that libc allocates for it, are libcalloc's. */
#include <calloc/calloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int main(void)
{
    struct cal_statistics before = {.size = sizeof before}, after = {.size = sizeof after};
    if (cal_stats(&before) != 0)
        return 1;
    /* The program itself does not mention malloc: only libc does. */
    char *text = strdup(cal_version());
    if (text == NULL || cal_stats(&after) != 0)
        return 1;
    if (after.allocations != before.allocations + 1) {
        fprintf(stderr, "libc's strdup did not allocate here\n");
        return 1;
    }
    /* fork takes libc's locks of its own malloc: linked statically, that is in the program too. */
    pid_t child = fork();
    if (child == 0) {
        void *block = cal_allocate_aligned(100, 4096);
        cal_deallocate(block);
        _exit(block == NULL);
    }
    printf("libcalloc %s\n", text);
    free(text);
    return child < 0;
}
