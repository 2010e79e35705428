/* Reading ELF files: real ones; and truncated, garbage and mutated ones, which must be survived. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <common/elf_file.h>
#include <common/file.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <gnu/libc-version.h>
#include <link.h>
#include <sys/mman.h>
#include <unistd.h>

/* The C library that we run on. */
static char libc_path[4096];

static int find_libc(struct dl_phdr_info *info, size_t size, void *data)
{
    if (strstr(info->dlpi_name, "/libc.so.6") == NULL)
        return 0;
    snprintf(libc_path, sizeof libc_path, "%s", info->dlpi_name);
    return 1;
}

static int setup(void **state)
{
    return dl_iterate_phdr(find_libc, NULL) == 1 ? 0 : -1;
}

static void real_files_are_read(void **state)
{
    struct elf_facts facts;
    assert_int_equal(elf_read_path(libc_path, &facts), 0);
    assert_true(elf_is_native(&facts));
    assert_true(facts.is_dynamic);
    assert_string_equal(facts.soname, "libc.so.6");
    assert_int_equal(elf_exports_path(libc_path, "malloc"), 1);
    assert_int_equal(elf_exports_path(libc_path, "printf"), 1);
    assert_int_equal(elf_exports_path(libc_path, "mallo"), 0);
    assert_int_equal(elf_exports_path(libc_path, "malloc_"), 0);
    assert_int_equal(elf_exports_path(libc_path, ""), 0);
    assert_int_equal(elf_read_path("/proc/self/exe", &facts), 0);
    assert_non_null(strstr(facts.interpreter, "/ld-"));
    assert_string_equal(facts.soname, "");
}

struct names {
    bool libc;
    unsigned count;
};

static void see(const char *name, void *data)
{
    struct names *names = data;
    names->libc |= strcmp(name, "libc.so.6") == 0;
    names->count++;
}

static void needed_libraries_are_listed(void **state)
{
    struct names names = {.count = 0};
    int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    assert_true(file >= 0);
    assert_int_equal(elf_needed(file, see, &names), 0);
    close(file);
    assert_true(names.libc && names.count >= 2);
}

static void other_files_are_refused(void **state)
{
    struct elf_facts facts;
    assert_int_equal(elf_read_path("/nowhere", &facts), -ENOENT);
    assert_int_equal(elf_read_path("/tmp", &facts), -ENOEXEC);
    assert_int_equal(elf_read_path("/dev/null", &facts), -ENOEXEC);
    assert_int_equal(elf_read_path("/etc/passwd", &facts), -ENOEXEC);
    assert_int_equal(elf_exports_path("/etc/passwd", "malloc"), -ENOEXEC);
}

/* A file in memory that can be rewritten. */
static int memory_file(const void *bytes, size_t size)
{
    int file = memfd_create("elf", MFD_CLOEXEC);
    assert_true(file >= 0);
    assert_int_equal(write(file, bytes, size), size);
    return file;
}

/* Any answer is right that is one of these; not a crash, nor an end that never comes. */
static void survives(int file)
{
    struct elf_facts facts;
    struct names names = {.count = 0};
    int result = elf_read(file, &facts);
    assert_true(result == 0 || result == -ENOEXEC || result == -EBADMSG);
    result = elf_exports(file, "malloc");
    assert_true(result == 0 || result == 1 || result == -ENOEXEC || result == -EBADMSG);
    result = elf_needed(file, see, &names);
    assert_true(result == 0 || result == -ENOEXEC || result == -EBADMSG);
}

static void truncated_files_are_told(void **state)
{
    struct text text = {.length = 0};
    struct elf_facts facts;
    assert_int_equal(file_read(libc_path, 64 << 20, &text), 0);
    int file = memory_file(text.bytes, text.length);
    assert_int_equal(elf_read(file, &facts), 0);
    assert_int_equal(elf_exports(file, "malloc"), 1);
    /* The sections at the end are not loaded; what is cut off before them is. */
    for (size_t size = text.length / 4 * 3; size > 64; size = size * 9 / 10) {
        assert_int_equal(ftruncate(file, (off_t)size), 0);
        assert_int_equal(elf_read(file, &facts), -EBADMSG);
        survives(file);
    }
    for (size_t size = 64; size > 0; size--) {
        assert_int_equal(ftruncate(file, (off_t)size - 1), 0);
        assert_int_not_equal(elf_read(file, &facts), 0);
        survives(file);
    }
    close(file);
    text_free(&text);
}

/* One word of what leads to the symbols is replaced by a number that leads nowhere, one after the other:
 * the header, the program headers, the dynamic section and the hash table. */
static void wrong_words_are_survived(void **state)
{
    static const uint64_t values[] = {
        0, 1, 0x7fffffff, 0xffffffff, UINT64_MAX, UINT64_MAX / 2 + 1, UINT64_MAX - 63};
    struct text text = {.length = 0};
    assert_int_equal(file_read("/proc/self/exe", 64 << 20, &text), 0);
    int file = memory_file(text.bytes, text.length);
    Elf64_Ehdr header;
    memcpy(&header, text.bytes, sizeof header);
    size_t end = header.e_phoff + (size_t)header.e_phnum * header.e_phentsize;
    Elf64_Phdr dynamic = {.p_type = PT_NULL};
    for (unsigned i = 0; i < header.e_phnum && dynamic.p_type != PT_DYNAMIC; i++)
        memcpy(&dynamic, text.bytes + header.e_phoff + i * sizeof dynamic, sizeof dynamic);
    assert_int_equal(dynamic.p_type, PT_DYNAMIC);
    for (unsigned part = 0; part < 3; part++) {
        /* In the last part what the linker placed behind the headers: hashes, symbols, names. */
        size_t from = part == 0 ? 0 : (part == 1 ? dynamic.p_offset : end);
        size_t to = part == 0 ? end : (part == 1 ? from + dynamic.p_filesz : from + 1024);
        for (size_t at = from; at + 8 <= to && at + 8 <= text.length; at += part == 2 ? 8 : 4) {
            for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
                assert_int_equal(pwrite(file, &values[i], 8, (off_t)at), 8);
                survives(file);
            }
            assert_int_equal(pwrite(file, text.bytes + at, 8, (off_t)at), 8);
        }
    }
    close(file);
    text_free(&text);
}

static void garbage_is_survived(void **state)
{
    uint32_t random = 3;
    unsigned char bytes[4096];
    for (unsigned round = 0; round < 2000; round++) {
        for (size_t i = 0; i < sizeof bytes; i++) {
            random = random * 1664525 + 1013904223;
            /* Small numbers lead somewhere more often. */
            bytes[i] = (random >> 28) < 11 ? 0 : (unsigned char)(random >> 16);
        }
        memcpy(bytes, ELFMAG, SELFMAG);
        bytes[EI_CLASS] = round % 2 ? ELFCLASS64 : ELFCLASS32;
        bytes[EI_DATA] = ELFDATA2LSB;
        /* Few headers, of the right size, that begin in the file. */
        Elf64_Ehdr header;
        memcpy(&header, bytes, sizeof header);
        header.e_phoff = 64;
        header.e_phnum = (Elf64_Half)(round % 9);
        header.e_phentsize = 56;
        if (round % 2)
            memcpy(bytes, &header, sizeof header);
        for (unsigned i = 0; round % 2 && i < header.e_phnum; i++) {
            uint32_t type = i % 2 ? PT_LOAD : PT_DYNAMIC;
            memcpy(bytes + 64 + (size_t)i * 56, &type, sizeof type);
        }
        int file = memory_file(bytes, sizeof bytes);
        survives(file);
        close(file);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(real_files_are_read),      cmocka_unit_test(needed_libraries_are_listed),
        cmocka_unit_test(other_files_are_refused),  cmocka_unit_test(truncated_files_are_told),
        cmocka_unit_test(wrong_words_are_survived), cmocka_unit_test(garbage_is_survived),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
