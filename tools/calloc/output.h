/* Facts for people, or for programs: sections of facts, as text or as JSON.
 *
 * The JSON is one object: "sections", an object with an array for each section of objects with the fields
 * name, value (a string, or a number), state ("fact", "note" or "warning") and remark (may be missing); and
 * "warnings", their number. */
#ifndef CALLOC_OUTPUT_H
#define CALLOC_OUTPUT_H

#include <common/text.h>
#include <stdint.h>

enum output_state {
    OUTPUT_FACT,
    OUTPUT_NOTE,   /* worth knowing */
    OUTPUT_WARNING /* to be mended */
};

struct output {
    bool json;
    bool in_section;  /* one is open */
    bool has_facts;   /* and has facts */
    bool any_section; /* there was one */
    unsigned warnings;
    struct text text;
};

/* All zeros but `json` begins. */
void output_section(struct output *output, const char *name);

/* REMARK may be NULL. */
void output_string(struct output *output, enum output_state state, const char *name,
                   const char *value, const char *remark);
void output_number(struct output *output, enum output_state state, const char *name, int64_t value,
                   const char *remark);

/* Ends it, and writes it to standard output. */
void output_finish(struct output *output);

/* STRING as JSON has it, with its quotes: what is not UTF-8 becomes U+FFFD. */
void output_quote(const char *string, struct text *text);

#endif
