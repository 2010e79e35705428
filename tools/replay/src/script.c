#include "script.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "import.h"

enum { GOOD = 0, FAILED = 1, BROKEN = 3 };

static const char messages[] = "calloc replay";

static int read_into(const char *path, uint64_t limit, int descriptor)
{
    struct cal__import import = {.name = path, .messages = messages, .limit = limit};
    import.file = fopen(path, "rbe");
    if (import.file == NULL) {
        cal__import_say(&import, "cannot be opened: %s", strerror(errno));
        return FAILED;
    }
    import.building = cal__building_new(limit);
    bool good = cal__import(&import);
    if (good && (import.full || cal__building_full(import.building))) {
        cal__import_say(&import, "has more than %" PRIu64 " calls: --limit N reads more", limit);
        import.broken = true;
    }
    int error = good ? cal__building_write(import.building, import.source, descriptor) : 0;
    if (error != 0)
        cal__import_say(&import, "does not fit into memory: %s", strerror(-error));
    fclose(import.file);
    cal__building_free(import.building);
    return !good || error != 0 ? FAILED : import.broken ? BROKEN : GOOD;
}

const struct cal__script *cal__script_read(const char *path, uint64_t limit, bool *broken)
{
    int status;
    struct stat facts;
    int descriptor = memfd_create("calloc-replay", MFD_CLOEXEC);
    pid_t child = descriptor < 0 ? -1 : fork();
    if (child < 0) {
        fprintf(stderr, "%s: %s\n", messages, strerror(errno));
        if (descriptor >= 0)
            close(descriptor);
        return NULL;
    }
    /* Without what libraries do at exit, which are those of the replay. */
    if (child == 0)
        _exit(read_into(path, limit, descriptor));
    while (waitpid(child, &status, 0) < 0)
        if (errno != EINTR) {
            fprintf(stderr, "%s: %s\n", messages, strerror(errno));
            close(descriptor);
            return NULL;
        }
    if (!WIFEXITED(status))
        fprintf(stderr, "%s: reading \"%s\" was ended by signal %d (%s)\n", messages, path,
                WTERMSIG(status), strsignal(WTERMSIG(status)));
    bool good = WIFEXITED(status) && (WEXITSTATUS(status) == GOOD || WEXITSTATUS(status) == BROKEN);
    const struct cal__script *script = NULL;
    if (good && fstat(descriptor, &facts) == 0 && facts.st_size >= (off_t)sizeof *script) {
        void *memory =
            mmap(NULL, (size_t)facts.st_size, PROT_READ, MAP_SHARED | MAP_POPULATE, descriptor, 0);
        if (memory != MAP_FAILED)
            script = memory;
        else
            fprintf(stderr, "%s: the calls of \"%s\" do not fit into memory: %s\n", messages, path,
                    strerror(errno));
    }
    close(descriptor);
    if (script != NULL && WEXITSTATUS(status) == BROKEN)
        *broken = true;
    return script;
}
