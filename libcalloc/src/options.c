#include "options.h"

#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

#include "message.h"

enum type { type_number, type_bytes };

struct option {
    const char *name;
    enum type type;
    uint64_t minimum;
    uint64_t maximum;
    size_t offset;
};

static const struct option table[] = {
#define OPTION(name, type, standard, minimum, maximum, help) \
    {#name, type_##type, minimum, maximum, offsetof(struct cal__options, name)},
#include "options.def"
#undef OPTION
};

struct cal__options cal__options = {
#define OPTION(name, type, standard, minimum, maximum, help) .name = standard,
#include "options.def"
#undef OPTION
};

#define OPTION(name, type, standard, minimum, maximum, help)                               \
    _Static_assert((standard) <= (maximum) && ((minimum) == 0 || (standard) >= (minimum)), \
                   "the default of " #name " is in its range");
#include "options.def"
#undef OPTION

/* True and *VALUE when the LENGTH bytes at TEXT are a number of this type within the range. */
static bool parse_value(const struct option *option, const char *text, size_t length,
                        uint64_t *value)
{
    uint64_t number = 0;
    size_t i = 0;
    for (; i < length && text[i] >= '0' && text[i] <= '9'; i++) {
        if (number > (UINT64_MAX - 9) / 10)
            return false;
        number = number * 10 + (uint64_t)(text[i] - '0');
    }
    if (i == 0)
        return false;
    if (option->type == type_bytes && i + 1 == length) {
        static const char suffixes[] = "KMG";
        const char *suffix = memchr(suffixes, text[i], 3);
        if (suffix != NULL) {
            unsigned shift = 10 * (unsigned)(suffix - suffixes + 1);
            if (number > UINT64_MAX >> shift)
                return false;
            number <<= shift;
            i++;
        }
    }
    if (i != length || number < option->minimum || number > option->maximum)
        return false;
    *value = number;
    return true;
}

/* OPTION is what was meant; NULL: nobody knows, and END follows. */
static void warn_about(const char *what, const char *item, size_t length,
                       const struct option *option, const char *end)
{
    struct cal__text text = {.length = 0};
    cal__text_string(&text, what);
    cal__text_string(&text, " '");
    cal__text_bytes(&text, item, cal__min(length, 80));
    cal__text_string(&text, "' in CALLOC_OPTIONS");
    if (option != NULL) {
        cal__text_string(&text, ", ignored (");
        cal__text_decimal(&text, option->minimum);
        cal__text_string(&text, " to ");
        cal__text_decimal(&text, option->maximum);
        cal__text_string(&text, option->type == type_bytes ? ", or with K, M or G)" : ")");
    } else {
        cal__text_string(&text, end);
    }
    text.bytes[text.length] = '\0';
    cal__warn(text.bytes, NULL);
}

static void parse_item(const char *item, size_t length)
{
    const char *equals = memchr(item, '=', length);
    size_t name_length = equals == NULL ? length : (size_t)(equals - item);
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        const struct option *option = &table[i];
        if (strlen(option->name) != name_length || memcmp(option->name, item, name_length) != 0)
            continue;
        uint64_t value;
        if (equals == NULL || !parse_value(option, equals + 1, length - name_length - 1, &value))
            warn_about("bad value", item, length, option, NULL);
        else
            memcpy((char *)&cal__options + option->offset, &value, sizeof value);
        return;
    }
    warn_about("unknown option", item, length, NULL, ", ignored (calloc-options(7) lists them)");
}

/* Bytes of the add-on's name that ITEM begins with, before the dot; 0 when it is an option of the core. */
static size_t add_on_length(const char *item, size_t length)
{
    const char *equals = memchr(item, '=', length);
    const char *dot = memchr(item, '.', equals == NULL ? length : (size_t)(equals - item));
    return dot == NULL ? 0 : (size_t)(dot - item);
}

/* The next item at *TEXT, which is not empty; false at the end. */
static bool next_item(const char **text, const char **item, size_t *length)
{
    /* Not by strspn() and strcspn(), which are in pages of libc that few programs need at their start. */
    while (**text == ',')
        ++*text;
    *item = *text;
    while (**text != '\0' && **text != ',')
        ++*text;
    *length = (size_t)(*text - *item);
    return *length != 0;
}

void cal__options_parse(const char *text)
{
    const char *item;
    size_t length;
    while (next_item(&text, &item, &length))
        if (add_on_length(item, length) == 0)
            parse_item(item, length);
}

/* The first allocation may come before libc has set `environ`; the loader has the stack then. */
extern void *__libc_stack_end __attribute__((weak));

static char **environment(void)
{
    if (environ != NULL)
        return environ;
    if (&__libc_stack_end == NULL || __libc_stack_end == NULL)
        return NULL;
    /* At the end of the stack: argc, argv[argc], NULL, envp[], NULL (System V ABI, 3.4.1). */
    uintptr_t *end = __libc_stack_end;
    return (char **)(end + 1 + end[0] + 1);
}

/* The value of CALLOC_OPTIONS, or "" in a process that runs with more rights than its user. */
static const char *options_text(void)
{
    static const char name[] = "CALLOC_OPTIONS=";
    if (getauxval(AT_SECURE) != 0)
        return "";
    for (char **entry = environment(); entry != NULL && *entry != NULL; entry++)
        if (strncmp(*entry, name, sizeof name - 1) == 0)
            return *entry + sizeof name - 1;
    return "";
}

void cal__options_initialize(void)
{
    cal__options_parse(options_text());
}

void cal__options_hand_out(const char *name, void (*option)(const char *item, size_t length))
{
    const char *text = options_text(), *item;
    size_t length, name_length = strlen(name);
    while (next_item(&text, &item, &length))
        if (add_on_length(item, length) == name_length && memcmp(item, name, name_length) == 0)
            option(item + name_length + 1, length - name_length - 1);
}

void cal__options_warn_of_unknown(bool (*takes)(const char *name, size_t length))
{
    const char *text = options_text(), *item;
    size_t length;
    while (next_item(&text, &item, &length)) {
        size_t name_length = add_on_length(item, length);
        if (name_length != 0 && !takes(item, name_length))
            warn_about("no add-on is loaded yet that takes", item, length, NULL,
                       " (see calloc-options(7))");
    }
}
