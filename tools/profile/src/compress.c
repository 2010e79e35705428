#include "compress.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include <libcalloc-track/src/format.h>

#include "allocate.h"
#include "sections.h"

/* Smaller payloads are not worth a frame of their own. */
enum { LEAST = 256, LEVEL = 3 };

struct job {
    FILE *from, *to;
    const volatile sig_atomic_t *stop;
    ZSTD_CCtx *context;
    unsigned char *payload, *frame;
    size_t payload_capacity, frame_capacity;
};

static void make_room(unsigned char **bytes, size_t *capacity, size_t length)
{
    if (*capacity < length) {
        *bytes = cal__allocate_resize(*bytes, length);
        *capacity = length;
    }
}

/* Errors of streams are looked at in the end. */
static void put(struct job *job, const void *bytes, size_t length)
{
    fwrite(bytes, 1, length, job->to);
}

static void copy_rest(struct job *job)
{
    char bytes[16384];
    size_t got;
    while (*job->stop == 0 && (got = fread(bytes, 1, sizeof bytes, job->from)) != 0)
        put(job, bytes, got);
}

static bool is_section(const struct cal__file_section *section)
{
    return section->mark == CAL_SECTION_MARK && section->length <= CAL_SECTION_MAX &&
           crc32_z(0, (const unsigned char *)section,
                   offsetof(struct cal__file_section, header_crc)) == section->header_crc;
}

static void put_section(struct job *job, struct cal__file_section section)
{
    size_t length = (size_t)section.length;
    const unsigned char *bytes = job->payload;
    bool good = crc32_z(0, job->payload, length) == section.payload_crc;
    if (good && section.flags == 0 && length >= LEAST) {
        make_room(&job->frame, &job->frame_capacity, ZSTD_compressBound(length));
        size_t made = ZSTD_compressCCtx(job->context, job->frame, job->frame_capacity, job->payload,
                                        length, LEVEL);
        if (!ZSTD_isError(made) && made < length) {
            bytes = job->frame;
            length = made;
            section.flags = CAL_SECTION_ZSTD;
            section.length = made;
            section.payload_crc = (uint32_t)crc32_z(0, job->frame, made);
            section.header_crc = (uint32_t)crc32_z(0, (const unsigned char *)&section,
                                                   offsetof(struct cal__file_section, header_crc));
        }
    }
    put(job, &section, sizeof section);
    put(job, bytes, length);
}

/* All behind the file's header. */
static void put_sections(struct job *job)
{
    struct cal__file_section section;
    while (*job->stop == 0) {
        size_t got = fread(&section, 1, sizeof section, job->from);
        if (got < sizeof section || !is_section(&section)) {
            put(job, &section, got);
            copy_rest(job);
            return;
        }
        size_t length = (size_t)section.length;
        make_room(&job->payload, &job->payload_capacity, length != 0 ? length : 1);
        size_t taken = fread(job->payload, 1, length, job->from);
        if (taken < length) {
            put(job, &section, sizeof section);
            put(job, job->payload, taken);
            return;
        }
        put_section(job, section);
    }
}

/* NULL, or why the file is none to be compressed. */
static char *put_header(struct job *job)
{
    struct cal__file_header header;
    uint32_t kind;
    char *why = NULL;
    struct cal__sections *sections = cal__sections_open(job->from, &kind, &why);
    uint64_t length = sections == NULL ? 0 : cal__sections_position(sections);
    cal__sections_close(sections);
    if (sections == NULL)
        return why;
    rewind(job->from);
    for (uint64_t done = 0; done < length;) {
        size_t step = length - done < sizeof header ? (size_t)(length - done) : sizeof header;
        if (fread(&header, 1, step, job->from) != step)
            break;
        put(job, &header, step);
        done += step;
    }
    return NULL;
}

/* 0 or an errno. */
static int close_file(FILE *file, bool written)
{
    int error = (written && fflush(file) != 0) || ferror(file) ? errno : 0;
    if (fclose(file) != 0 && error == 0)
        error = errno;
    return error;
}

static char *compress_to(const char *path, const char *copy, int descriptor,
                         const struct stat *facts, const volatile sig_atomic_t *stop)
{
    struct job job = {.from = fopen(path, "rbe"), .to = fdopen(descriptor, "wb"), .stop = stop};
    if (job.from == NULL || job.to == NULL || fchmod(descriptor, facts->st_mode & 07777) != 0) {
        char *why = cal__allocate_format("cannot be compressed: %s", strerror(errno));
        if (job.from != NULL)
            fclose(job.from);
        if (job.to != NULL)
            fclose(job.to);
        else
            close(descriptor);
        return why;
    }
    job.context = ZSTD_createCCtx();
    char *why = job.context == NULL ? cal__allocate_format("cannot be compressed: no memory")
                                    : put_header(&job);
    if (why == NULL)
        put_sections(&job);
    ZSTD_freeCCtx(job.context);
    free(job.payload);
    free(job.frame);
    int error = close_file(job.from, false), to_error = close_file(job.to, true);
    error = error != 0 ? error : to_error;
    if (why == NULL && *stop != 0)
        why = cal__allocate_format("stays as it is: compressing it was interrupted");
    if (why == NULL && (error != 0 || (rename(copy, path) != 0 && (error = errno) != 0)))
        why = cal__allocate_format("cannot be compressed: %s", strerror(error));
    return why;
}

char *cal__compress(const char *path, const volatile sig_atomic_t *stop, uint64_t *before,
                    uint64_t *after)
{
    struct stat facts, copied;
    if (stat(path, &facts) != 0)
        return cal__allocate_format("cannot be compressed: %s", strerror(errno));
    if (!S_ISREG(facts.st_mode))
        return cal__allocate_format("cannot be compressed: it is no regular file");
    char *copy = cal__allocate_format("%s.XXXXXX", path);
    int descriptor = mkostemp(copy, O_CLOEXEC);
    char *why = descriptor < 0 ? cal__allocate_format("cannot be compressed: %s", strerror(errno))
                               : compress_to(path, copy, descriptor, &facts, stop);
    if (why != NULL && descriptor >= 0)
        unlink(copy);
    free(copy);
    *before = (uint64_t)facts.st_size;
    *after = stat(path, &copied) == 0 ? (uint64_t)copied.st_size : *before;
    return why;
}
