#include "process.h"

#include <dirent.h>
#include <elf.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "file.h"

enum { LIMIT = 64 << 20, KERNEL_THREAD = 0x200000 /* PF_KTHREAD */ };

static const char deleted_mark[] = " (deleted)";

static void path_of(char path[64], pid_t id, const char *what)
{
    snprintf(path, 64, "/proc/%" PRIdMAX "/%s", (intmax_t)id, what);
}

static int read_of(pid_t id, const char *what, struct text *text)
{
    char path[64];
    path_of(path, id, what);
    return file_read(path, LIMIT, text);
}

/* Seconds since 1970 at which the system was started. */
static int64_t boot_time(void)
{
    static int64_t known;
    struct text text = {.length = 0};
    if (known == 0 && file_read("/proc/stat", LIMIT, &text) == 0) {
        const char *line = strstr(text_get(&text), "\nbtime ");
        known = line == NULL ? 0 : strtoll(line + 7, NULL, 10);
    }
    text_free(&text);
    return known;
}

/* pid (command) state ppid pgrp session tty tpgid flags … starttime: proc(5). The command may hold
 * anything, also ')'. */
static int read_stat(struct process *process)
{
    struct text text = {.length = 0};
    int error = read_of(process->id, "stat", &text);
    const char *open = strchr(text_get(&text), '('), *close = strrchr(text_get(&text), ')');
    if (error == 0 && (open == NULL || close == NULL || close < open))
        error = -EBADMSG;
    if (error == 0) {
        size_t length = (size_t)(close - open - 1), i;
        for (i = 0; i < length && i + 1 < sizeof process->command; i++)
            process->command[i] = open[1 + i] >= ' ' && open[1 + i] <= '~' ? open[1 + i] : '?';
        process->command[i] = '\0';
        char state = '\0';
        unsigned long flags = 0;
        unsigned long long start = 0;
        int fields = sscanf(close + 1,
                            " %c %*d %*d %*d %*d %*d %lu %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d "
                            "%*d %*d %llu",
                            &state, &flags, &start);
        if (fields != 3)
            error = -EBADMSG;
        process->is_kernel = (flags & KERNEL_THREAD) != 0;
        process->is_ending = state == 'Z' || state == 'X';
        process->started =
            boot_time() + (int64_t)(start / (unsigned long long)sysconf(_SC_CLK_TCK));
    }
    text_free(&text);
    return error == -ENOENT ? -ESRCH : error;
}

static bool is_listed(const struct text *files, struct piece path)
{
    const char *from = text_get(files), *end = from + files->length;
    while (from < end) {
        size_t length = strcspn(from, "\n");
        if (length == path.length && memcmp(from, path.bytes, length) == 0)
            return true;
        from += length + 1;
    }
    return false;
}

/* address perms offset device inode path */
static int read_maps(struct process *process)
{
    struct text text = {.length = 0};
    int error = read_of(process->id, "maps", &text);
    const char *line = text_get(&text), *end = line + text.length;
    while (error == 0 && line < end) {
        size_t length = strcspn(line, "\n");
        const char *rights = memchr(line, ' ', length), *path = memchr(line, '/', length);
        struct piece file = {path, path == NULL ? 0 : length - (size_t)(path - line)};
        if (rights != NULL && path != NULL && path - rights > 4 && rights[3] == 'x' &&
            !is_listed(&process->files, file)) {
            text_bytes(&process->files, file.bytes, file.length);
            text_string(&process->files, "\n");
        }
        line += length + 1;
    }
    text_free(&text);
    return error;
}

static void read_auxiliary(struct process *process)
{
    struct text text = {.length = 0};
    if (read_of(process->id, "auxv", &text) == 0) {
        for (size_t i = 0; i + sizeof(Elf64_auxv_t) <= text.length; i += sizeof(Elf64_auxv_t)) {
            Elf64_auxv_t entry;
            memcpy(&entry, text.bytes + i, sizeof entry);
            if (entry.a_type == AT_SECURE)
                process->is_secure = entry.a_un.a_val != 0;
        }
    }
    text_free(&text);
}

/* Whether a link of /proc leads somewhere else for the process than for us. */
static bool differs(pid_t id, const char *what)
{
    char path[64], own[64];
    struct stat there = {.st_mode = 0}, here = {.st_mode = 0};
    path_of(path, id, what);
    snprintf(own, sizeof own, "/proc/self/%s", what);
    return stat(path, &there) == 0 && stat(own, &here) == 0 &&
           (there.st_dev != here.st_dev || there.st_ino != here.st_ino);
}

int process_read(pid_t id, struct process *process)
{
    *process = (struct process){.id = id};
    int error = read_stat(process);
    if (error != 0 || process->is_kernel || process->is_ending)
        return error;
    char path[64];
    path_of(path, id, "exe");
    process->is_readable =
        file_link(path, process->program, sizeof process->program) == 0 && read_maps(process) == 0;
    read_auxiliary(process);
    process->other_root = differs(id, "root") || differs(id, "ns/mnt");
    process->other_container = differs(id, "ns/pid");
    return 0;
}

void process_free(struct process *process)
{
    text_free(&process->files);
}

bool process_next_file(const struct process *process, size_t *from, struct piece *file,
                       bool *deleted)
{
    if (*from >= process->files.length)
        return false;
    const char *bytes = process->files.bytes + *from;
    *file = (struct piece){bytes, strcspn(bytes, "\n")};
    *from += file->length + 1;
    size_t mark = sizeof deleted_mark - 1;
    *deleted = file->length > mark && memcmp(bytes + file->length - mark, deleted_mark, mark) == 0;
    if (*deleted)
        file->length -= mark;
    return true;
}

bool process_variable(pid_t id, const char *name, struct text *value)
{
    struct text text = {.length = 0};
    size_t length = strlen(name);
    bool found = false;
    text_clear(value);
    if (read_of(id, "environ", &text) == 0) {
        for (size_t i = 0; i < text.length && !found; i += strlen(text.bytes + i) + 1) {
            const char *entry = text.bytes + i;
            found = strncmp(entry, name, length) == 0 && entry[length] == '=';
            if (found)
                text_string(value, entry + length + 1);
        }
    }
    text_free(&text);
    return found;
}

static int compare(const void *a, const void *b)
{
    pid_t first = *(const pid_t *)a, second = *(const pid_t *)b;
    return (first > second) - (first < second);
}

int process_each(void (*visit)(pid_t id, void *data), void *data)
{
    DIR *folder = opendir("/proc");
    if (folder == NULL)
        return -errno;
    pid_t *ids = NULL;
    size_t count = 0, room = 0;
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        char *end;
        long id = strtol(entry->d_name, &end, 10);
        if (id <= 0 || *end != '\0')
            continue;
        if (count == room)
            ids = reallocate(ids, (room = room == 0 ? 256 : room * 2) * sizeof *ids);
        ids[count++] = (pid_t)id;
    }
    closedir(folder);
    if (count != 0)
        qsort(ids, count, sizeof *ids, compare);
    for (size_t i = 0; i < count; i++)
        visit(ids[i], data);
    free(ids);
    return 0;
}
