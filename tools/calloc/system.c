#include "system.h"

#include <common/file.h>
#include <common/options.h>
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#define THP   "/sys/kernel/mm/transparent_hugepage/"
#define HUGE  "/sys/kernel/mm/hugepages"
#define NODES "/sys/devices/system/node"

enum {
    MAPPINGS_USUAL = 65530, /* vm.max_map_count of a kernel that nobody has set up */
    MAPPINGS_ROOMY = 262144
};

/* The core's tests run in this much address space. */
static const uint64_t address_space_enough = UINT64_C(766) << 20;

/* "always [madvise] never": the word in brackets; all of it where there are none. */
static void chosen(const char *path, struct text *value)
{
    file_line(path, value);
    const char *from = strchr(text_get(value), '['), *to = strchr(text_get(value), ']');
    if (from == NULL || to == NULL || to < from)
        return;
    size_t length = (size_t)(to - from - 1);
    memmove(value->bytes, from + 1, length);
    value->bytes[length] = '\0';
    value->length = length;
}

static void transparent_huge_pages(struct output *output)
{
    struct text value = {.length = 0};
    chosen(THP "enabled", &value);
    const char *enabled = text_get(&value);
    const char *remark = strcmp(enabled, "never") == 0    ? "the option huge_pages has no effect"
                         : strcmp(enabled, "always") == 0 ? "also without the option huge_pages"
                         : *enabled == '\0'               ? "the kernel has none"
                                                          : "with the option huge_pages";
    output_string(output, OUTPUT_FACT, "transparent huge pages",
                  *enabled == '\0' ? "missing" : enabled, remark);
    chosen(THP "defrag", &value);
    if (value.length != 0)
        output_string(output, OUTPUT_FACT, "transparent, waiting", text_get(&value),
                      "when a program waits until there is one");
    text_free(&value);
}

static void huge_page_pools(struct output *output)
{
    DIR *folder = opendir(HUGE);
    if (folder == NULL) {
        output_string(output, OUTPUT_FACT, "huge page pools", "missing", NULL);
        return;
    }
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        char path[512], name[64], value[64];
        unsigned long size;
        if (sscanf(entry->d_name, "hugepages-%lukB", &size) != 1)
            continue;
        snprintf(path, sizeof path, HUGE "/%s/nr_hugepages", entry->d_name);
        int64_t all = file_number(path, 0);
        snprintf(path, sizeof path, HUGE "/%s/free_hugepages", entry->d_name);
        int64_t unused = file_number(path, 0);
        snprintf(name, sizeof name, "pool of %lu KiB pages", size);
        snprintf(value, sizeof value, "%" PRId64 ", free %" PRId64, all, unused);
        output_string(output, OUTPUT_FACT, name, value, NULL);
    }
    closedir(folder);
}

static void overcommit(struct output *output)
{
    int64_t mode = file_number("/proc/sys/vm/overcommit_memory", -1);
    if (mode == 2)
        output_string(output, OUTPUT_NOTE, "vm.overcommit_memory", "2",
                      "the kernel counts every mapping against its limit, also what is not "
                      "touched: with many threads memory may seem short");
    else if (mode >= 0)
        output_number(output, OUTPUT_FACT, "vm.overcommit_memory", mode, NULL);
    else
        output_string(output, OUTPUT_NOTE, "vm.overcommit_memory", "unknown", "/proc is missing");
}

static void nodes(struct output *output)
{
    struct text value = {.length = 0};
    file_line(NODES "/online", &value);
    bool several = strpbrk(text_get(&value), "-,") != NULL;
    output_string(output, OUTPUT_FACT, "NUMA nodes",
                  value.length == 0 ? "unknown" : text_get(&value),
                  several ? "memory is near or far" : NULL);
    text_free(&value);
}

void system_memory(struct output *output)
{
    transparent_huge_pages(output);
    huge_page_pools(output);
    overcommit(output);
    nodes(output);
}

/* --- limits ----------------------------------------------------------------------- */

static void mappings(struct output *output)
{
    int64_t count = file_number("/proc/sys/vm/max_map_count", -1);
    static const char name[] = "vm.max_map_count";
    if (count < 0)
        output_string(output, OUTPUT_NOTE, name, "unknown", "/proc is missing");
    else if (count < MAPPINGS_USUAL)
        output_number(output, OUTPUT_WARNING, name, count,
                      "less than the kernel's own 65530: large programs run out of mappings; "
                      "sysctl vm.max_map_count=1048576");
    else if (count < MAPPINGS_ROOMY)
        output_number(output, OUTPUT_NOTE, name, count,
                      "enough but for programs of many gigabytes at the level paranoid, or where "
                      "MADV_GUARD_INSTALL is missing");
    else
        output_number(output, OUTPUT_FACT, name, count, NULL);
}

static void limit(struct output *output, pid_t process, enum __rlimit_resource resource,
                  const char *name, uint64_t enough, const char *remark)
{
    struct rlimit values = {.rlim_cur = 0};
    struct text value = {.length = 0};
    if (prlimit(process, resource, NULL, &values) != 0) {
        output_string(output, OUTPUT_NOTE, name, "unknown", strerror(errno));
        return;
    }
    bool low = values.rlim_cur != RLIM_INFINITY && values.rlim_cur < enough;
    if (values.rlim_cur == RLIM_INFINITY)
        text_string(&value, "unlimited");
    else
        options_write_value(values.rlim_cur, true, &value);
    output_string(output, low ? OUTPUT_WARNING : OUTPUT_FACT, name, text_get(&value),
                  low ? remark : NULL);
    text_free(&value);
}

void system_limits(struct output *output, pid_t process)
{
    mappings(output);
    limit(output, process, RLIMIT_AS, "RLIMIT_AS", address_space_enough,
          "so little address space that memory may seem short: ulimit -v");
    limit(output, process, RLIMIT_DATA, "RLIMIT_DATA", address_space_enough,
          "the kernel counts what is mapped and not yet touched: ulimit -d");
    limit(output, process, RLIMIT_MEMLOCK, "RLIMIT_MEMLOCK", 65536,
          "a program that locks its memory is refused more of it: ulimit -l");
}
