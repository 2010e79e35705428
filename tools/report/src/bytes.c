#include "bytes.h"

#include <stdlib.h>
#include <string.h>

#include <allocate.h>

void cal__bytes_add(struct cal__bytes_buffer *buffer, const void *data, size_t length)
{
    if (length == 0)
        return;
    if (buffer->capacity - buffer->length < length) {
        buffer->capacity = (buffer->length + length) * 2;
        buffer->data = cal__allocate_resize(buffer->data, buffer->capacity);
    }
    memcpy(buffer->data + buffer->length, data, length);
    buffer->length += length;
}

void cal__bytes_free(struct cal__bytes_buffer *buffer)
{
    free(buffer->data);
    *buffer = (struct cal__bytes_buffer){0};
}

void cal__proto_packed(struct cal__bytes_buffer *buffer, uint64_t value)
{
    unsigned char bytes[10];
    size_t length = 0;
    do {
        bytes[length++] = (unsigned char)((value & 0x7f) | (value > 0x7f ? 0x80 : 0));
        value >>= 7;
    } while (value > 0);
    cal__bytes_add(buffer, bytes, length);
}

void cal__proto_number(struct cal__bytes_buffer *buffer, unsigned field, uint64_t value)
{
    if (value == 0)
        return;
    cal__proto_packed(buffer, (uint64_t)field << 3);
    cal__proto_packed(buffer, value);
}

void cal__proto_bytes(struct cal__bytes_buffer *buffer, unsigned field, const void *data,
                      size_t length)
{
    cal__proto_packed(buffer, (uint64_t)field << 3 | 2);
    cal__proto_packed(buffer, length);
    cal__bytes_add(buffer, data, length);
}
