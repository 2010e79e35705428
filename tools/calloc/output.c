#include "output.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* Bytes of the UTF-8 character at STRING; 0 where it is none (RFC 3629). */
static size_t character(const char *string)
{
    const unsigned char *bytes = (const unsigned char *)string;
    unsigned first = bytes[0];
    size_t length =
        first < 0x80 ? 1 : (first < 0xc2 ? 0 : (first < 0xe0 ? 2 : (first < 0xf0 ? 3 : 4)));
    if (length == 0 || first > 0xf4)
        return 0;
    for (size_t i = 1; i < length; i++)
        if ((bytes[i] & 0xc0) != 0x80)
            return 0;
    /* Neither longer than needed, nor a surrogate, nor beyond the last one. */
    if ((first == 0xe0 && bytes[1] < 0xa0) || (first == 0xed && bytes[1] > 0x9f) ||
        (first == 0xf0 && bytes[1] < 0x90) || (first == 0xf4 && bytes[1] > 0x8f))
        return 0;
    return length;
}

void output_quote(const char *string, struct text *text)
{
    text_string(text, "\"");
    while (*string != '\0') {
        size_t length = character(string);
        unsigned char byte = (unsigned char)*string;
        if (length == 0)
            text_string(text, "\\ufffd");
        else if (byte == '"' || byte == '\\')
            text_format(text, "\\%c", byte);
        else if (byte < ' ' || byte == 0x7f)
            text_format(text, "\\u%04x", byte);
        else
            text_bytes(text, string, length);
        string += length == 0 ? 1 : length;
    }
    text_string(text, "\"");
}

/* For a terminal: what could steer it becomes '?'. */
static void add_harmless(const char *string, struct text *text)
{
    while (*string != '\0') {
        size_t length = character(string);
        unsigned char byte = (unsigned char)*string;
        if (length == 0 || byte < ' ' || byte == 0x7f)
            text_string(text, "?");
        else
            text_bytes(text, string, length);
        string += length == 0 ? 1 : length;
    }
}

static void end_section(struct output *output)
{
    if (output->in_section && output->json)
        text_string(&output->text, output->has_facts ? "\n    ]" : "]");
    output->in_section = output->has_facts = false;
}

void output_section(struct output *output, const char *name)
{
    end_section(output);
    if (output->json) {
        text_string(&output->text, output->any_section ? ",\n    " : "{\n  \"sections\": {\n    ");
        output_quote(name, &output->text);
        text_string(&output->text, ": [");
    } else {
        text_format(&output->text, "%s%s\n", output->any_section ? "\n" : "", name);
    }
    output->in_section = output->any_section = true;
}

static void add(struct output *output, enum output_state state, const char *name, const char *value,
                bool is_number, const char *remark)
{
    static const char *const states[] = {"fact", "note", "warning"};
    static const char *const marks[] = {"  ", "- ", "! "};
    struct text *text = &output->text;
    output->warnings += state == OUTPUT_WARNING;
    if (!output->json) {
        text_string(text, marks[state]);
        size_t before = text->length;
        add_harmless(name, text);
        text_format(text, "%*s ",
                    (int)(text->length - before < 28 ? 28 - (text->length - before) : 0), "");
        add_harmless(value, text);
        if (remark != NULL) {
            text_string(text, *value == '\0' ? "" : "   ");
            add_harmless(remark, text);
        }
        text_string(text, "\n");
        return;
    }
    text_string(text, output->has_facts ? ",\n      {\"name\": " : "\n      {\"name\": ");
    output_quote(name, text);
    text_string(text, ", \"value\": ");
    if (is_number)
        text_string(text, value);
    else
        output_quote(value, text);
    text_format(text, ", \"state\": \"%s\"", states[state]);
    if (remark != NULL) {
        text_string(text, ", \"remark\": ");
        output_quote(remark, text);
    }
    text_string(text, "}");
    output->has_facts = true;
}

void output_string(struct output *output, enum output_state state, const char *name,
                   const char *value, const char *remark)
{
    add(output, state, name, value, false, remark);
}

void output_number(struct output *output, enum output_state state, const char *name, int64_t value,
                   const char *remark)
{
    char digits[32];
    snprintf(digits, sizeof digits, "%" PRId64, value);
    add(output, state, name, digits, true, remark);
}

void output_finish(struct output *output)
{
    end_section(output);
    if (output->json)
        text_format(&output->text, "%s\n  },\n  \"warnings\": %u\n}\n",
                    output->any_section ? "" : "{\n  \"sections\": {", output->warnings);
    else
        text_format(&output->text, "\n%u warning%s\n", output->warnings,
                    output->warnings == 1 ? "" : "s");
    fputs(text_get(&output->text), stdout);
    text_free(&output->text);
}
