#include "json_out.h"

#include <inttypes.h>

/* How many bytes at `text` are one character of UTF-8; 0: they are none. */
static unsigned character(const unsigned char *text)
{
    unsigned length = text[0] < 0x80   ? 1
                      : text[0] < 0xc2 ? 0
                      : text[0] < 0xe0 ? 2
                      : text[0] < 0xf0 ? 3
                      : text[0] < 0xf5 ? 4
                                       : 0;
    for (unsigned i = 1; i < length; i++)
        if ((text[i] & 0xc0) != 0x80)
            return 0;
    /* Forms that are longer than they need be, surrogates, and what is above the last plane. */
    if ((text[0] == 0xe0 && text[1] < 0xa0) || (text[0] == 0xed && text[1] > 0x9f) ||
        (text[0] == 0xf0 && text[1] < 0x90) || (text[0] == 0xf4 && text[1] > 0x8f))
        return 0;
    return length;
}

static void write_text(FILE *out, const char *text)
{
    fputc('"', out);
    for (const unsigned char *c = (const unsigned char *)text; *c != '\0';) {
        unsigned length = character(c);
        if (length == 0) {
            fputs("\\ufffd", out);
            c++;
        } else if (*c < ' ' || *c == '"' || *c == '\\' || *c == '<' || *c == 0x7f) {
            fprintf(out, "\\u%04x", *c++);
        } else {
            fwrite(c, 1, length, out);
            c += length;
        }
    }
    fputc('"', out);
}

static void begin(struct cal__json *json, const char *key)
{
    if (json->comma)
        fputc(',', json->out);
    json->comma = true;
    if (key == NULL)
        return;
    write_text(json->out, key);
    fputc(':', json->out);
}

void cal__json_open(struct cal__json *json, const char *key, char bracket)
{
    begin(json, key);
    fputc(bracket, json->out);
    json->comma = false;
}

void cal__json_shut(struct cal__json *json, char bracket)
{
    fputc(bracket, json->out);
    json->comma = true;
}

void cal__json_string(struct cal__json *json, const char *key, const char *text)
{
    begin(json, key);
    write_text(json->out, text);
}

void cal__json_number(struct cal__json *json, const char *key, uint64_t number)
{
    begin(json, key);
    fprintf(json->out, "%" PRIu64, number);
}

void cal__json_boolean(struct cal__json *json, const char *key, bool value)
{
    begin(json, key);
    fputs(value ? "true" : "false", json->out);
}

void cal__json_address(struct cal__json *json, const char *key, uint64_t address)
{
    begin(json, key);
    fprintf(json->out, "\"0x%" PRIx64 "\"", address);
}
