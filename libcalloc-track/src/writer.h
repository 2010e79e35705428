/* Writes the sections of a file, by system calls alone. */
#ifndef CAL_TRACK_WRITER_H
#define CAL_TRACK_WRITER_H

#include "base.h"
#include "format.h"

enum { CAL_WRITER_BUFFER = 64 << 10 };

struct cal__writer {
    int file;
    int error; /* 0, or the negative errno of what went wrong first; nothing is written then */
    uint64_t offset; /* bytes before the buffer */
    size_t used;
    char *buffer;
    /* The section under way. */
    struct cal__file_section section;
    uint64_t section_at;
    uint32_t crc;
};

uint32_t cal__crc32(uint32_t crc, const void *bytes, size_t length);

/* Starts a new file at PATH, which may be there already. 0, or a negative errno. */
int cal__writer_open(struct cal__writer *writer, const char *path, enum cal__file_kind kind);

/* Goes on at the end of a file that is there. 0, or a negative errno. */
int cal__writer_append(struct cal__writer *writer, const char *path);

/* A section is begun, filled and ended; its length and CRC are filled in then. Whoever writes more than
 * CAL_SECTION_MAX into one gets -EFBIG; see cal__writer_record(). */
void cal__writer_begin(struct cal__writer *writer, enum cal__section_type type,
                       uint32_t record_size, uint64_t first);
void cal__writer_bytes(struct cal__writer *writer, const void *bytes, size_t length);
/* A record of the section, which is split when it is full. */
void cal__writer_record(struct cal__writer *writer, const void *record);
void cal__writer_end(struct cal__writer *writer);

/* Writes all, and closes the file. 0, or a negative errno. With COMPLETE, an END section comes last. */
int cal__writer_close(struct cal__writer *writer, bool complete);

#endif
