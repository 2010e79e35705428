#include "replace.h"

#include <common/file.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include "say.h"

enum { FILE_MAX = 1 << 20, TRIES = 600, PAUSE = 100 /* ms */, VALUE_MAX = 65536 };

static int complain(const char *what, const char *path, int error)
{
    const char *hint = "";
    if (error == -EROFS)
        hint = "; mount -o remount,rw / first";
    else if (error == -EPERM || error == -EACCES)
        hint = geteuid() != 0 ? "; this needs root" : "; see lsattr(1)";
    say("cannot %s %s: %s%s", what, path, strerror(-error), hint);
    return error;
}

static char *concatenate(const char *first, const char *second)
{
    struct text text = {.length = 0};
    text_string(&text, first);
    text_string(&text, second);
    return text.bytes;
}

/* The folder of a path, which has a '/'. */
static char *folder_of(const char *path)
{
    char *folder = duplicate(path), *slash = strrchr(folder, '/');
    slash[slash == folder] = '\0';
    return folder;
}

static int sync_folder(const char *folder)
{
    int descriptor = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (descriptor < 0)
        return complain("open", folder, -errno);
    /* Some file systems have nothing to sync in a folder. */
    int error = fsync(descriptor) != 0 && errno != EINVAL ? complain("sync", folder, -errno) : 0;
    close(descriptor);
    return error;
}

static int make_folder(const char *folder)
{
    if (mkdir(folder, 0755) != 0)
        return errno == EEXIST ? 0 : complain("make", folder, -errno);
    char *parent = folder_of(folder);
    int error = chmod(folder, 0755) != 0 ? complain("change the mode of", folder, -errno) : 0;
    if (error == 0)
        error = sync_folder(parent);
    free(parent);
    return error;
}

static int resolve(struct replacement *replacement, const char *path)
{
    struct stat status = {.st_mode = 0};
    replacement->exists = lstat(path, &status) == 0;
    replacement->path =
        replacement->exists && S_ISLNK(status.st_mode) ? realpath(path, NULL) : duplicate(path);
    if (replacement->path == NULL)
        return complain("follow the link", path, -errno);
    if (replacement->exists && stat(replacement->path, &status) == 0 && !S_ISREG(status.st_mode)) {
        say("%s is not a regular file", replacement->path);
        return -EINVAL;
    }
    replacement->folder = folder_of(replacement->path);
    replacement->new_path = concatenate(replacement->path, ".calloc-new");
    return 0;
}

/* Whether the descriptor still is the file of that name: another run may have moved it away while we
 * waited for the lock. */
static bool is_in_place(const struct replacement *replacement)
{
    struct stat opened = {.st_mode = 0}, named = {.st_mode = 0};
    return fstat(replacement->descriptor, &opened) == 0 &&
           lstat(replacement->new_path, &named) == 0 && opened.st_dev == named.st_dev &&
           opened.st_ino == named.st_ino && S_ISREG(named.st_mode);
}

static int open_new(struct replacement *replacement)
{
    replacement->descriptor =
        open(replacement->new_path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0600);
    return replacement->descriptor < 0 ? complain("write", replacement->new_path, -errno) : 0;
}

static int lock(struct replacement *replacement)
{
    for (int i = 0; i < TRIES; i++) {
        int error = open_new(replacement);
        if (error != 0)
            return error;
        if (flock(replacement->descriptor, LOCK_EX | LOCK_NB) == 0) {
            if (is_in_place(replacement))
                return 0;
        } else if (errno != EWOULDBLOCK && errno != EINTR) {
            return complain("lock", replacement->new_path, -errno);
        }
        close(replacement->descriptor);
        replacement->descriptor = -1;
        nanosleep(&(struct timespec){.tv_nsec = PAUSE * 1000000L}, NULL);
    }
    say("another calloc-preload is at work on %s", replacement->path);
    return -EBUSY;
}

static void end(struct replacement *replacement)
{
    if (replacement->descriptor >= 0)
        close(replacement->descriptor);
    free(replacement->path);
    free(replacement->folder);
    free(replacement->new_path);
    *replacement = (struct replacement){.descriptor = -1};
}

int replace_begin(struct replacement *replacement, const char *path)
{
    *replacement = (struct replacement){.descriptor = -1};
    int error = resolve(replacement, path);
    if (error == 0)
        error = make_folder(replacement->folder);
    if (error == 0)
        error = lock(replacement);
    if (error != 0)
        end(replacement);
    return error;
}

int replace_read(const struct replacement *replacement, struct text *text)
{
    text_clear(text);
    int error = file_read(replacement->path, FILE_MAX, text);
    if (error == -ENOENT)
        return 0;
    return error == 0 ? 0 : complain("read", replacement->path, error);
}

void replace_abandon(struct replacement *replacement)
{
    if (replacement->descriptor >= 0)
        unlink(replacement->new_path);
    end(replacement);
}

/* --- the new file --------------------------------------------------------------- */

static int write_all(int descriptor, const char *bytes, size_t length)
{
    while (length > 0) {
        ssize_t written = write(descriptor, bytes, length);
        if (written < 0 && errno != EINTR)
            return -errno;
        if (written > 0)
            bytes += written, length -= (size_t)written;
    }
    return 0;
}

/* Labels of a security module, above all. What the file system does not keep is not an error. */
static int copy_attribute(const char *path, const char *name, int descriptor)
{
    char value[VALUE_MAX];
    ssize_t size = getxattr(path, name, value, sizeof value);
    if (size < 0)
        return errno == ENODATA || errno == ENOTSUP ? 0 : -errno;
    return fsetxattr(descriptor, name, value, (size_t)size, 0) != 0 && errno != ENOTSUP ? -errno
                                                                                        : 0;
}

static int copy_attributes(const char *path, int descriptor)
{
    char names[VALUE_MAX];
    ssize_t size = listxattr(path, names, sizeof names);
    if (size < 0)
        return errno == ENOTSUP || errno == ENOSYS ? 0 : -errno;
    int error = 0;
    for (ssize_t i = 0; i < size && error == 0; i += (ssize_t)strlen(names + i) + 1)
        error = copy_attribute(path, names + i, descriptor);
    return error;
}

/* A new file belongs to root and can be read by all, whatever the umask. */
static int copy_status(const struct replacement *replacement)
{
    struct stat old = {.st_mode = 0644, .st_uid = geteuid(), .st_gid = getegid()};
    if (replacement->exists && stat(replacement->path, &old) != 0)
        return -errno;
    if (fchown(replacement->descriptor, old.st_uid, old.st_gid) != 0)
        return -errno;
    if (replacement->exists) {
        int error = copy_attributes(replacement->path, replacement->descriptor);
        if (error != 0)
            return error;
    }
    return fchmod(replacement->descriptor, old.st_mode & 07777) != 0 ? -errno : 0;
}

static int write_new(struct replacement *replacement, const struct text *text)
{
    int error = ftruncate(replacement->descriptor, 0) != 0 ? -errno : 0;
    if (error == 0)
        error = write_all(replacement->descriptor, text_get(text), text->length);
    if (error == 0)
        error = copy_status(replacement);
    if (error == 0 && fsync(replacement->descriptor) != 0)
        error = -errno;
    if (error == 0 && rename(replacement->new_path, replacement->path) != 0)
        error = -errno;
    return error == 0 ? 0 : complain("write", replacement->path, error);
}

static int remove_old(struct replacement *replacement)
{
    if (unlink(replacement->path) != 0 && errno != ENOENT)
        return complain("remove", replacement->path, -errno);
    unlink(replacement->new_path);
    return 0;
}

int replace_finish(struct replacement *replacement, const struct text *text)
{
    int error = text->length == 0 ? remove_old(replacement) : write_new(replacement, text);
    if (error != 0) {
        replace_abandon(replacement);
        return error;
    }
    error = sync_folder(replacement->folder);
    end(replacement);
    return error;
}
