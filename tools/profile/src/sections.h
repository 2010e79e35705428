/* The sections of a file of libcalloc-track, one after the other: what is broken is told apart from
 * what is good, and no more than one section is in memory. */
#ifndef CAL_PROFILE_SECTIONS_H
#define CAL_PROFILE_SECTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct cal__sections;

struct cal__section {
    uint32_t type;
    uint32_t record_size;
    uint64_t first;
    uint64_t count;
    const unsigned char *payload; /* decompressed; NULL: it is broken, and `why` says how */
    size_t length;                /* of the payload; of a broken one as it is in the file */
    const char *why;              /* valid until the next section */
    uint64_t offset;              /* of the section in the file, for messages */
};

/* Reads the header of the file, which stays open and may be a pipe. NULL, and the reason in new memory,
 * when it is not such a file or of a version that cannot be read. `*kind` is enum cal__file_kind. */
struct cal__sections *cal__sections_open(FILE *file, uint32_t *kind, char **why);
void cal__sections_close(struct cal__sections *sections);

/* The next section; false: there is none. */
bool cal__sections_next(struct cal__sections *sections, struct cal__section *section);

/* After the last: why there may be more that could not be read, in words that continue a
 * sentence on the file; NULL: the file is complete. Valid until closed. */
const char *cal__sections_stopped(const struct cal__sections *sections);

/* Bytes of the file that were read. */
uint64_t cal__sections_position(const struct cal__sections *sections);

/* A record, as far as the writer knew it; the rest is zero. */
void cal__section_record(const struct cal__section *section, uint64_t index, void *record,
                         size_t size);

#endif
