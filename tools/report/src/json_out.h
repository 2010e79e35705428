/* JSON, token by token: commas come by themselves. What is written may stand in a page's script
 * element: "<" is escaped. */
#ifndef CAL_REPORT_JSON_OUT_H
#define CAL_REPORT_JSON_OUT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct cal__json {
    FILE *out;
    bool comma; /* something stands before, in the same object or array */
};

/* `key` is NULL in arrays. */
void cal__json_open(struct cal__json *json, const char *key, char bracket);
void cal__json_shut(struct cal__json *json, char bracket);
void cal__json_string(struct cal__json *json, const char *key, const char *text);
void cal__json_number(struct cal__json *json, const char *key, uint64_t number);
void cal__json_boolean(struct cal__json *json, const char *key, bool value);
/* An address, as a string: "0x7f…", since JavaScript's numbers have 53 bits. */
void cal__json_address(struct cal__json *json, const char *key, uint64_t address);

#endif
