/* What test-processes loads and unloads: memory in its constructor, in thread-local variables, and
 * freed in its destructor. */
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

int plugin_check(void);

static char *made_by_constructor;
/* Of all threads that have the library loaded. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char *grown;
/* Large, so that the dynamic linker allocates it when a thread touches it first. */
static __thread char local[5000];

__attribute__((constructor)) static void make(void)
{
    made_by_constructor = strdup("made by the constructor");
    grown = malloc(10);
}

static bool grow(void)
{
    pthread_mutex_lock(&lock);
    char *larger = realloc(grown, 100000);
    if (larger != NULL) {
        grown = larger;
        memset(grown, 1, 100000);
    }
    pthread_mutex_unlock(&lock);
    return larger != NULL;
}

int plugin_check(void)
{
    if (!grow() || made_by_constructor == NULL)
        return 1;
    memset(local, 1, sizeof local);
    return strcmp(made_by_constructor, "made by the constructor");
}

__attribute__((destructor)) static void unmake(void)
{
    free(made_by_constructor);
    free(grown);
}
