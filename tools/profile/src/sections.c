#include "sections.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#include <libcalloc-track/src/format.h>

#include "allocate.h"

struct cal__sections {
    FILE *file;
    uint64_t position;
    unsigned char *payload, *content; /* as in the file, and decompressed */
    size_t payload_capacity, content_capacity;
    char *why;     /* of a section */
    char *stopped; /* of the file */
    bool done;
};

static bool good_crc(const void *bytes, size_t length, uint32_t crc)
{
#ifdef FUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION
    /* What comes behind the check is to be fuzzed. */
    (void)bytes, (void)length, (void)crc;
    return true;
#else
    return crc32_z(0, bytes, length) == crc;
#endif
}

/* How many of `length` bytes there were. */
static size_t take(struct cal__sections *sections, void *bytes, size_t length)
{
    size_t got = fread(bytes, 1, length, sections->file);
    sections->position += got;
    return got;
}

/* Why there is less than was to be read. */
static char *shortage(const struct cal__sections *sections)
{
    return ferror(sections->file)
               ? cal__allocate_format("cannot be read after %" PRIu64 " bytes: %s",
                                      sections->position, strerror(errno))
               : cal__allocate_format("was cut short after %" PRIu64 " bytes", sections->position);
}

/* A section is at most 64 MiB, but may say so without there being that much: memory comes as bytes do. */
static size_t take_payload(struct cal__sections *sections, size_t length)
{
    size_t got = 0;
    while (got < length) {
        size_t step = got < 65536 ? 65536 : got;
        if (step > length - got)
            step = length - got;
        if (sections->payload_capacity < got + step) {
            sections->payload = cal__allocate_resize(sections->payload, got + step);
            sections->payload_capacity = got + step;
        }
        size_t taken = take(sections, sections->payload + got, step);
        got += taken;
        if (taken < step)
            break;
    }
    return got;
}

struct cal__sections *cal__sections_open(FILE *file, uint32_t *kind, char **why)
{
    struct cal__file_header header;
    struct cal__sections *sections = cal__allocate_array(1, sizeof *sections);
    sections->file = file;
    *why = NULL;
    size_t got = take(sections, &header, sizeof header);
    if (ferror(file))
        *why = cal__allocate_format("cannot be read: %s", strerror(errno));
    else if (got == 0)
        *why = cal__allocate_format("is empty");
    else if (got < sizeof header.magic ||
             memcmp(header.magic, CAL_FILE_MAGIC, sizeof header.magic) != 0)
        *why = cal__allocate_format("is not a profile or trace of libcalloc-track");
    else if (got < sizeof header)
        *why = shortage(sections);
    else if (!good_crc(&header, offsetof(struct cal__file_header, crc), header.crc))
        *why = cal__allocate_format("is broken: the check sum of its header is wrong");
    else if (header.major != CAL_FILE_MAJOR)
        *why = cal__allocate_format("is of format version %u, and this program reads version %u",
                                    header.major, CAL_FILE_MAJOR);
    else if (header.kind != CAL_FILE_PROFILE && header.kind != CAL_FILE_TRACE)
        *why =
            cal__allocate_format("is of a kind (%u) that this program does not know", header.kind);
    else if (header.header_size < sizeof header)
        *why = cal__allocate_format("is broken: its header cannot be so short");
    /* A longer header has fields that are not known here. */
    for (uint64_t skip = sizeof header; *why == NULL && skip < header.header_size; skip++) {
        unsigned char byte;
        if (take(sections, &byte, 1) == 0)
            *why = shortage(sections);
    }
    if (*why != NULL) {
        cal__sections_close(sections);
        return NULL;
    }
    *kind = header.kind;
    return sections;
}

void cal__sections_close(struct cal__sections *sections)
{
    if (sections == NULL)
        return;
    free(sections->payload);
    free(sections->content);
    free(sections->why);
    free(sections->stopped);
    free(sections);
}

static bool stop(struct cal__sections *sections, char *why)
{
    sections->done = true;
    sections->stopped = why;
    return false;
}

/* What is wrong with the payload that was read, or NULL; decompresses it. */
static char *open_payload(struct cal__sections *sections, const struct cal__file_section *header,
                          struct cal__section *section)
{
    const unsigned char *bytes = sections->payload;
    size_t length = (size_t)header->length;
    if (!good_crc(bytes, length, header->payload_crc))
        return cal__allocate_format("its check sum is wrong");
    if (header->flags & ~CAL_SECTION_ZSTD)
        return cal__allocate_format("it is coded in a way that is not known here");
    if (header->flags & CAL_SECTION_ZSTD) {
        unsigned long long size = ZSTD_getFrameContentSize(bytes, length);
        if (size == ZSTD_CONTENTSIZE_UNKNOWN || size == ZSTD_CONTENTSIZE_ERROR ||
            size > CAL_SECTION_MAX)
            return cal__allocate_format("its compressed data are broken");
        if (sections->content_capacity < size) {
            sections->content = cal__allocate_resize(sections->content, (size_t)size);
            sections->content_capacity = (size_t)size;
        }
        size_t got = ZSTD_decompress(sections->content, (size_t)size, bytes, length);
        if (ZSTD_isError(got) || got != size)
            return cal__allocate_format("its compressed data are broken: %s",
                                        ZSTD_getErrorName(got));
        bytes = sections->content;
        length = got;
    }
    /* Not by a product, which may be too large. */
    if (header->record_size != 0 &&
        (length % header->record_size != 0 || length / header->record_size != header->count))
        return cal__allocate_format("its size is not that of its records");
    section->payload = bytes != NULL ? bytes : (const unsigned char *)"";
    section->length = length;
    return NULL;
}

bool cal__sections_next(struct cal__sections *sections, struct cal__section *section)
{
    struct cal__file_section header;
    if (sections->done)
        return false;
    uint64_t offset = sections->position;
    if (take(sections, &header, sizeof header) < sizeof header)
        return stop(sections, shortage(sections));
    if (header.mark != CAL_SECTION_MARK || header.length > CAL_SECTION_MAX ||
        !good_crc(&header, offsetof(struct cal__file_section, header_crc), header.header_crc))
        return stop(sections, cal__allocate_format("is broken from byte %" PRIu64 " on", offset));
    if (header.type == CAL_SECTION_END) {
        sections->done = true;
        return false;
    }
    if (take_payload(sections, (size_t)header.length) < header.length)
        return stop(sections, shortage(sections));
    *section = (struct cal__section){
        .type = header.type,
        .record_size = header.record_size,
        .first = header.first,
        .count = header.count,
        .offset = offset,
        .length = (size_t)header.length,
    };
    free(sections->why);
    sections->why = open_payload(sections, &header, section);
    section->why = sections->why;
    return true;
}

const char *cal__sections_stopped(const struct cal__sections *sections)
{
    return sections->stopped;
}

uint64_t cal__sections_position(const struct cal__sections *sections)
{
    return sections->position;
}

void cal__section_record(const struct cal__section *section, uint64_t index, void *record,
                         size_t size)
{
    size_t known = section->record_size < size ? section->record_size : size;
    memset(record, 0, size);
    memcpy(record, section->payload + index * section->record_size, known);
}
