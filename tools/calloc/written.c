#include "written.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct written_file {
    char *name;
    struct stat facts;
};

/* Calls VISIT with the rest of the name, behind the dot, of each file beside PATH. */
static void each(const char *path,
                 void (*visit)(const char *name, const char *rest, const struct stat *facts,
                               void *data),
                 void *data)
{
    struct text folder = {.length = 0};
    struct piece base = piece_base((struct piece){path, strlen(path)});
    text_bytes(&folder, path, strlen(path) - base.length);
    DIR *open = opendir(folder.length == 0 ? "." : text_get(&folder));
    const struct dirent *entry;
    struct stat facts = {.st_mode = 0};
    while (open != NULL && (entry = readdir(open)) != NULL)
        if (strncmp(entry->d_name, base.bytes, base.length) == 0 &&
            entry->d_name[base.length] == '.' &&
            fstatat(dirfd(open), entry->d_name, &facts, 0) == 0)
            visit(entry->d_name, entry->d_name + base.length + 1, &facts, data);
    if (open != NULL)
        closedir(open);
    text_free(&folder);
}

static void remember(const char *name, const char *rest, const struct stat *facts, void *data)
{
    (void)rest;
    struct written *written = data;
    written->before = reallocate(written->before, (written->count + 1) * sizeof *written->before);
    written->before[written->count++] = (struct written_file){duplicate(name), *facts};
}

void written_begin(struct written *written, const char *path)
{
    *written = (struct written){.count = 0};
    each(path, remember, written);
}

void written_free(struct written *written)
{
    for (size_t i = 0; i < written->count; i++)
        free(written->before[i].name);
    free(written->before);
    *written = (struct written){.count = 0};
}

/* A profile comes by a new file that is renamed, so it has another number; a trace is longer than an empty one,
 * or later. */
static bool is_new(const struct written *written, const char *name, const struct stat *facts)
{
    for (size_t i = 0; i < written->count; i++) {
        const struct stat *before = &written->before[i].facts;
        if (strcmp(written->before[i].name, name) == 0)
            return before->st_dev != facts->st_dev || before->st_ino != facts->st_ino ||
                   before->st_size != facts->st_size ||
                   before->st_mtim.tv_sec != facts->st_mtim.tv_sec ||
                   before->st_mtim.tv_nsec != facts->st_mtim.tv_nsec;
    }
    return true;
}

bool written_has(const struct written *written, const char *path)
{
    struct stat facts = {.st_mode = 0};
    return stat(path, &facts) == 0 &&
           is_new(written, piece_base((struct piece){path, strlen(path)}).bytes, &facts);
}

struct counting {
    const struct written *written;
    const char *end;
    struct stat mine;
    unsigned count;
    off_t most;
    char *largest; /* its name */
};

static void count(const char *name, const char *rest, const struct stat *facts, void *data)
{
    struct counting *counting = data;
    size_t digits = strspn(rest, "0123456789");
    if (digits == 0 || strcmp(rest + digits, counting->end) != 0 ||
        !is_new(counting->written, name, facts) ||
        (facts->st_ino == counting->mine.st_ino && facts->st_dev == counting->mine.st_dev))
        return;
    counting->count++;
    if (facts->st_size <= counting->most)
        return;
    counting->most = facts->st_size;
    free(counting->largest);
    counting->largest = duplicate(name);
}

unsigned written_others(const struct written *written, const char *path, const char *end,
                        const char *mine, struct text *largest)
{
    struct counting counting = {.written = written, .end = end};
    if (stat(mine, &counting.mine) == 0)
        counting.most = counting.mine.st_size;
    each(path, count, &counting);
    text_clear(largest);
    if (counting.largest != NULL)
        text_format(largest, "%.*s%s",
                    (int)(strlen(path) - piece_base((struct piece){path, strlen(path)}).length),
                    path, counting.largest);
    free(counting.largest);
    return counting.count;
}
