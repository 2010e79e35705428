/* What a file holds does not change when it is compressed, whole, cut short anywhere, or with a byte that is wrong:
 * compress_check STEP FILE. Every STEPth byte is one to be cut at and one to be wrong. */
#include <compress.h>
#include <glob.h>
#include <inttypes.h>
#include <sections.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

static char path[] = "/tmp/compress_check.XXXXXX";

static _Noreturn void fail(const char *what, size_t at)
{
    fprintf(stderr, "%s, byte %zu\n", what, at);
    unlink(path);
    exit(1);
}

static unsigned char *read_all(const char *name, size_t *length)
{
    FILE *file = fopen(name, "rb");
    static unsigned char bytes[1 << 22];
    if (file == NULL)
        return NULL;
    *length = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    unsigned char *copy = malloc(*length + 1);
    memcpy(copy, bytes, *length);
    return copy;
}

static void write_all(const unsigned char *bytes, size_t length)
{
    FILE *file = fopen(path, "wb");
    if (file == NULL || fwrite(bytes, 1, length, file) != length || fclose(file) != 0)
        fail("cannot be written", length);
}

/* Everything that a reader gets, in one number; 0: it is no such file. */
static uint32_t digest(void)
{
    char *why;
    uint32_t kind, sum = 1;
    FILE *file = fopen(path, "rb");
    struct cal__sections *sections = cal__sections_open(file, &kind, &why);
    struct cal__section section;
    if (sections == NULL) {
        free(why);
        fclose(file);
        return 0;
    }
    while (cal__sections_next(sections, &section)) {
        uint64_t facts[] = {section.type, section.record_size, section.first, section.count,
                            section.payload != NULL};
        sum = (uint32_t)crc32_z(sum, (const unsigned char *)facts, sizeof facts);
        if (section.payload != NULL)
            sum = (uint32_t)crc32_z(sum, section.payload, section.length);
    }
    sum = sum * 2 + (cal__sections_stopped(sections) != NULL);
    cal__sections_close(sections);
    fclose(file);
    return sum;
}

static const volatile sig_atomic_t going_on = 0, stopped = 1;

/* One that is interrupted leaves the file, and nothing beside it. */
static void check_interrupted(const unsigned char *bytes, size_t length)
{
    uint64_t before, after;
    size_t now;
    write_all(bytes, length);
    char *why = cal__compress(path, &stopped, &before, &after);
    unsigned char *kept = read_all(path, &now);
    glob_t beside;
    if (why == NULL || strstr(why, "interrupted") == NULL || after != length || now != length ||
        memcmp(kept, bytes, length) != 0)
        fail("was to be interrupted", 0);
    char pattern[sizeof path + 2];
    snprintf(pattern, sizeof pattern, "%s.*", path);
    if (glob(pattern, 0, NULL, &beside) != GLOB_NOMATCH)
        fail("left something behind", 0);
    free(kept);
    free(why);
}

/* Bytes that the compressed file has. */
static uint64_t check(const unsigned char *bytes, size_t length, size_t at)
{
    uint64_t before, after;
    write_all(bytes, length);
    uint32_t expected = digest();
    char *why = cal__compress(path, &going_on, &before, &after);
    if (before != length || (why != NULL) != (expected == 0))
        fail(why != NULL ? why : "compressed what is no such file", at);
    if (digest() != expected)
        fail("holds something else", at);
    if (why != NULL) {
        size_t now;
        unsigned char *kept = read_all(path, &now);
        if (kept == NULL || now != length || memcmp(kept, bytes, length) != 0)
            fail("was changed", at);
        free(kept);
    }
    free(why);
    return after;
}

int main(int count, char **words)
{
    size_t length = 0, step = count == 3 ? (size_t)atol(words[1]) : 0;
    unsigned char *bytes = count == 3 ? read_all(words[2], &length) : NULL;
    int descriptor = mkstemp(path);
    if (bytes == NULL || step == 0 || length < 1000 || descriptor < 0)
        fail("usage: compress_check STEP FILE", length);
    close(descriptor);
    check_interrupted(bytes, length);
    uint64_t after = check(bytes, length, 0);
    if (after >= length)
        fail("did not become smaller", length);
    for (size_t i = 0; i < length; i += step) {
        check(bytes, i, i);
        bytes[i] ^= 0x10;
        check(bytes, length, i);
        bytes[i] ^= 0x10;
    }
    printf("%zu bytes became %" PRIu64 ", and %zu broken ones were kept as they are\n", length,
           after, 2 * (length / step));
    unlink(path);
    free(bytes);
    return 0;
}
