/* Bytes that grow, and protobuf's wire format in them. */
#ifndef CAL_REPORT_BYTES_H
#define CAL_REPORT_BYTES_H

#include <stddef.h>
#include <stdint.h>

struct cal__bytes_buffer {
    unsigned char *data;
    size_t length, capacity;
};

void cal__bytes_add(struct cal__bytes_buffer *buffer, const void *data, size_t length);
void cal__bytes_free(struct cal__bytes_buffer *buffer);

/* A field with a number; 0, the default, is left out. */
void cal__proto_number(struct cal__bytes_buffer *buffer, unsigned field, uint64_t value);
/* A field with bytes, a string or a message. */
void cal__proto_bytes(struct cal__bytes_buffer *buffer, unsigned field, const void *data,
                      size_t length);
/* A number of a packed field. */
void cal__proto_packed(struct cal__bytes_buffer *buffer, uint64_t value);

#endif
