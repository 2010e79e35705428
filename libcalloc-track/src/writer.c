#include "writer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "memory.h"

/* Table N is for a byte that N others follow. They are made when they are first needed: few processes write files, and
 * some have the profile of their exit as the most that the library does. Two threads make the same. */
static _Atomic uint32_t tables[8][256];
static _Atomic bool have_tables;

static CAL_COLD void make_tables(void)
{
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint32_t crc = byte;
        for (unsigned bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
        atomic_store_explicit(&tables[0][byte], crc, memory_order_relaxed);
    }
    for (unsigned table = 1; table < 8; table++)
        for (uint32_t byte = 0; byte < 256; byte++) {
            uint32_t crc = atomic_load_explicit(&tables[table - 1][byte], memory_order_relaxed);
            crc = crc >> 8 ^ atomic_load_explicit(&tables[0][crc & 0xff], memory_order_relaxed);
            atomic_store_explicit(&tables[table][byte], crc, memory_order_relaxed);
        }
    atomic_store_explicit(&have_tables, true, memory_order_release);
}

CAL_INLINE uint32_t entry(unsigned table, uint64_t byte)
{
    return atomic_load_explicit(&tables[table][byte & 0xff], memory_order_relaxed);
}

uint32_t cal__crc32(uint32_t crc, const void *bytes, size_t length)
{
    const uint8_t *at = bytes;
    if (!atomic_load_explicit(&have_tables, memory_order_acquire))
        make_tables();
    crc = ~crc;
    for (; length >= 8; length -= 8, at += 8) {
        uint64_t word;
        memcpy(&word, at, sizeof word);
        word ^= crc;
        crc = entry(7, word) ^ entry(6, word >> 8) ^ entry(5, word >> 16) ^ entry(4, word >> 24) ^
              entry(3, word >> 32) ^ entry(2, word >> 40) ^ entry(1, word >> 48) ^
              entry(0, word >> 56);
    }
    for (; length > 0; length--, at++)
        crc = crc >> 8 ^ entry(0, crc ^ *at);
    return ~crc;
}

static void fail(struct cal__writer *writer, int error)
{
    if (writer->error == 0)
        writer->error = error;
}

/* At OFFSET of the file. */
static void put(struct cal__writer *writer, uint64_t offset, const char *bytes, size_t length)
{
    while (length > 0 && writer->error == 0) {
        long written = syscall(SYS_pwrite64, writer->file, bytes, length, offset);
        if (written > 0) {
            bytes += written;
            offset += (uint64_t)written;
            length -= (size_t)written;
        } else if (written == 0 || errno != EINTR) {
            fail(writer, written == 0 ? -EIO : -errno);
        }
    }
}

static void flush(struct cal__writer *writer)
{
    put(writer, writer->offset, writer->buffer, writer->used);
    writer->offset += writer->used;
    writer->used = 0;
}

static void append(struct cal__writer *writer, const void *bytes, size_t length)
{
    const char *at = bytes;
    while (length > 0) {
        size_t part = CAL_WRITER_BUFFER - writer->used;
        if (part > length)
            part = length;
        memcpy(writer->buffer + writer->used, at, part);
        writer->used += part;
        at += part;
        length -= part;
        if (writer->used == CAL_WRITER_BUFFER)
            flush(writer);
    }
}

static int open_file(struct cal__writer *writer, const char *path, int flags)
{
    *writer = (struct cal__writer){.buffer = cal__memory_map(CAL_WRITER_BUFFER)};
    if (writer->buffer == NULL)
        return -ENOMEM;
    /* Not through a link that somebody put there, and for the user alone: it tells of what is in memory. */
    writer->file = (int)syscall(SYS_openat, AT_FDCWD, path,
                                O_WRONLY | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | flags, 0600);
    if (writer->file >= 0)
        return 0;
    int error = -errno;
    cal__memory_unmap(writer->buffer, CAL_WRITER_BUFFER);
    return error;
}

int cal__writer_open(struct cal__writer *writer, const char *path, enum cal__file_kind kind)
{
    int result = open_file(writer, path, O_CREAT | O_TRUNC);
    if (result != 0)
        return result;
    struct cal__file_header header = {.major = CAL_FILE_MAJOR,
                                      .minor = CAL_FILE_MINOR,
                                      .kind = kind,
                                      .header_size = sizeof header};
    memcpy(header.magic, CAL_FILE_MAGIC, sizeof header.magic);
    header.crc = cal__crc32(0, &header, offsetof(struct cal__file_header, crc));
    append(writer, &header, sizeof header);
    return 0;
}

int cal__writer_append(struct cal__writer *writer, const char *path)
{
    int result = open_file(writer, path, 0);
    if (result != 0)
        return result;
    long end = syscall(SYS_lseek, writer->file, 0, SEEK_END);
    if (end < 0)
        fail(writer, -errno);
    else
        writer->offset = (uint64_t)end;
    return 0;
}

void cal__writer_begin(struct cal__writer *writer, enum cal__section_type type,
                       uint32_t record_size, uint64_t first)
{
    writer->section = (struct cal__file_section){
        .mark = CAL_SECTION_MARK, .type = type, .record_size = record_size, .first = first};
    writer->section_at = writer->offset + writer->used;
    writer->crc = 0;
    append(writer, &writer->section, sizeof writer->section);
}

void cal__writer_bytes(struct cal__writer *writer, const void *bytes, size_t length)
{
    if (length > CAL_SECTION_MAX - writer->section.length) {
        fail(writer, -EFBIG);
        return;
    }
    writer->section.length += length;
    writer->crc = cal__crc32(writer->crc, bytes, length);
    append(writer, bytes, length);
}

void cal__writer_record(struct cal__writer *writer, const void *record)
{
    uint32_t size = writer->section.record_size;
    if (writer->section.length + size > CAL_SECTION_MAX) {
        struct cal__file_section full = writer->section;
        cal__writer_end(writer);
        cal__writer_begin(writer, (enum cal__section_type)full.type, size, full.first + full.count);
    }
    cal__writer_bytes(writer, record, size);
    writer->section.count++;
}

void cal__writer_end(struct cal__writer *writer)
{
    struct cal__file_section *section = &writer->section;
    if (section->record_size == 0 && section->type == CAL_SECTION_STRINGS)
        section->count = section->length;
    section->payload_crc = writer->crc;
    section->header_crc = cal__crc32(0, section, offsetof(struct cal__file_section, header_crc));
    if (writer->section_at >= writer->offset) {
        size_t from = (size_t)(writer->section_at - writer->offset);
        memcpy(writer->buffer + from, section, sizeof *section);
    } else if (writer->offset - writer->section_at < sizeof *section) {
        size_t before = (size_t)(writer->offset - writer->section_at);
        put(writer, writer->section_at, (const char *)section, before);
        memcpy(writer->buffer, (const char *)section + before, sizeof *section - before);
    } else {
        put(writer, writer->section_at, (const char *)section, sizeof *section);
    }
}

int cal__writer_close(struct cal__writer *writer, bool complete)
{
    if (complete) {
        cal__writer_begin(writer, CAL_SECTION_END, 0, 0);
        cal__writer_end(writer);
    }
    flush(writer);
    if (syscall(SYS_close, writer->file) != 0 && errno != EINTR)
        fail(writer, -errno);
    cal__memory_unmap(writer->buffer, CAL_WRITER_BUFFER);
    return writer->error;
}
