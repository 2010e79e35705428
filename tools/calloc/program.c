#include "program.h"

#include <common/file.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "say.h"

enum { LINE = 256, DEPTH = 5 /* of scripts that interpret scripts; the kernel's limit */ };

/* 0, or the errno with which the kernel would refuse it. */
static int refusal(const char *path)
{
    struct stat status = {.st_mode = 0};
    if (stat(path, &status) != 0)
        return errno;
    if (!S_ISREG(status.st_mode))
        return S_ISDIR(status.st_mode) ? EISDIR : EACCES;
    return access(path, X_OK) != 0 ? errno : 0;
}

static bool is_missing(int error)
{
    return error == ENOENT || error == ENOTDIR;
}

/* In the folders of PATH: the first that can be executed, else the first that cannot. What is in a folder
 * that we may not enter is not there. */
static char *search(const char *name, int *error)
{
    const char *folders = getenv("PATH");
    char *found = NULL;
    *error = ENOENT;
    if (folders == NULL)
        folders = "/usr/local/bin:/usr/bin:/bin";
    for (;;) {
        size_t length = strcspn(folders, ":");
        struct text path = {.length = 0};
        text_format(&path, "%.*s%s%s", (int)length, folders, length == 0 ? "" : "/", name);
        int result = refusal(text_get(&path));
        if (result == 0 || (found == NULL && access(text_get(&path), F_OK) == 0)) {
            free(found);
            found = path.bytes;
            *error = result;
        } else {
            text_free(&path);
        }
        if (*error == 0 || folders[length] == '\0')
            return found;
        folders += length + 1;
    }
}

/* The interpreter that the first line names, if the file is a script. */
static char *interpreter_of(const char *path)
{
    struct text line = {.length = 0};
    file_line(path, &line);
    const char *from = text_get(&line);
    char *interpreter = NULL;
    if (strncmp(from, "#!", 2) == 0) {
        from += 2 + strspn(from + 2, " \t");
        size_t length = strcspn(from, " \t");
        if (length > 0 && length < LINE) {
            interpreter = duplicate(from);
            interpreter[length] = '\0';
        }
    }
    text_free(&line);
    return interpreter;
}

/* As execve(2) decides it: setuid and setgid to somebody else, or capabilities of the file where we are
 * not root. The mount may say otherwise. */
static bool gains_rights(const char *path)
{
    struct stat status = {.st_mode = 0};
    if (stat(path, &status) != 0)
        return false;
    return ((status.st_mode & S_ISUID) != 0 && status.st_uid != getuid()) ||
           ((status.st_mode & S_ISGID) != 0 && (status.st_mode & S_IXGRP) != 0 &&
            status.st_gid != getgid()) ||
           (getuid() != 0 && getxattr(path, "security.capability", NULL, 0) > 0);
}

static void look_at(struct program *program)
{
    program->image = duplicate(program->path);
    for (int i = 0; i < DEPTH; i++) {
        char *interpreter = interpreter_of(program->image);
        if (interpreter == NULL)
            break;
        free(program->image);
        program->image = interpreter;
    }
    program->error = elf_read_path(program->image, &program->facts);
    program->is_secure = gains_rights(program->image);
}

int program_find(const char *name, struct program *program)
{
    int error;
    *program = (struct program){.path = NULL};
    if (strchr(name, '/') != NULL) {
        program->path = duplicate(name);
        error = refusal(name);
    } else {
        program->path = *name == '\0' ? NULL : search(name, &error);
    }
    if (program->path == NULL || is_missing(error)) {
        say("there is no program '%s'", name);
        return NOT_FOUND;
    }
    if (error != 0) {
        say("'%s' cannot be executed: %s", program->path, strerror(error));
        return NOT_EXECUTABLE;
    }
    look_at(program);
    return DONE;
}

void program_free(struct program *program)
{
    free(program->path);
    free(program->image);
    *program = (struct program){.path = NULL};
}

const char *program_obstacle(const struct program *program, bool system)
{
    if (program->error != 0)
        return NULL;
    if (!elf_is_native(&program->facts))
        return "is for another kind of machine than the libraries, and keeps its malloc";
    if (*program->facts.interpreter == '\0')
        return "is statically linked: no library can be preloaded into it, and it keeps its malloc";
    if (strstr(program->facts.interpreter, "musl") != NULL)
        return "uses musl and not the C library of this system: the libraries may not load";
    if (program->is_secure && !system)
        return "runs with more rights than its user (setuid, setgid or capabilities): ld.so "
               "ignores "
               "what LD_PRELOAD names by a path, and it keeps its malloc; /etc/ld.so.preload "
               "counts "
               "(calloc-preload(8))";
    return NULL;
}
