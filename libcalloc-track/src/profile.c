#include "profile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <calloc/calloc.h>
#include <calloc/hooks.h>

#include "clock.h"
#include "memory.h"
#include "modules.h"
#include "mutex.h"
#include "process.h"
#include "record.h"
#include "rows.h"
#include "suppress.h"
#include "timeline.h"
#include "writer.h"

static struct cal__mutex lock;
static uint32_t written;

/* Growing memory of our own. */
struct heap {
    char *bytes;
    size_t used;
    size_t mapped;
    bool failed;
};

static char *extend(struct heap *heap, size_t length)
{
    while (heap->mapped - heap->used < length && !heap->failed) {
        size_t wanted = heap->mapped == 0 ? 64 << 10 : heap->mapped * 2;
        char *larger = cal__memory_map(wanted);
        if (larger == NULL) {
            heap->failed = true;
            break;
        }
        if (heap->used != 0)
            memcpy(larger, heap->bytes, heap->used);
        cal__memory_unmap(heap->bytes, heap->mapped);
        heap->bytes = larger;
        heap->mapped = wanted;
    }
    if (heap->failed)
        return NULL;
    heap->used += length;
    return heap->bytes + heap->used - length;
}

static void release(struct heap *heap)
{
    cal__memory_unmap(heap->bytes, heap->mapped);
}

/* A profile under way. */
struct dump {
    const struct cal__profile_request *request;
    struct cal__writer writer;
    struct heap strings;
    struct heap paths;    /* uint32_t: of each module */
    struct heap names;    /* uint32_t: of each life of a thread */
    struct heap patterns; /* uint32_t: of each suppression */
    struct heap regions;
    uint32_t sites_count;
    struct cal__file_process process;
};

static uint32_t add_string(struct dump *dump, const char *text, size_t length)
{
    size_t offset = dump->strings.used;
    char *place = extend(&dump->strings, length + 1);
    if (place == NULL)
        return 0;
    memcpy(place, text, length);
    place[length] = '\0';
    return (uint32_t)offset;
}

static void add_number(struct heap *heap, uint32_t number)
{
    char *place = extend(heap, sizeof number);
    if (place != NULL)
        memcpy(place, &number, sizeof number);
}

static uint32_t number_in(const struct heap *heap, uint32_t index)
{
    uint32_t number = 0;
    if ((index + 1) * sizeof number <= heap->used)
        memcpy(&number, heap->bytes + index * sizeof number, sizeof number);
    return number;
}

static uint32_t add_command_line(struct dump *dump)
{
    char text[4096];
    cal__process_command_line(text, sizeof text);
    return add_string(dump, text, strlen(text));
}

static uint32_t add_program(struct dump *dump)
{
    char path[4096];
    cal__process_program(path, sizeof path);
    return add_string(dump, path, strlen(path));
}

/* "VmHWM:     1234 kB" in bytes. */
static uint64_t status_of(const char *text, const char *name)
{
    const char *at = strstr(text, name);
    uint64_t value = 0;
    if (at == NULL)
        return 0;
    for (at += strlen(name); *at == ' ' || *at == '\t'; at++) {}
    for (; *at >= '0' && *at <= '9'; at++)
        value = value * 10 + (uint64_t)(*at - '0');
    return value << 10;
}

static void collect_strings(struct dump *dump)
{
    add_string(dump, "", 0);
    dump->process.program = add_program(dump);
    dump->process.command_line = add_command_line(dump);
    dump->process.version = add_string(dump, CAL_TRACK_VERSION, strlen(CAL_TRACK_VERSION));
    dump->process.core_version = add_string(dump, cal_version(), strlen(cal_version()));
    for (uint32_t i = 0; i < cal__modules_count(); i++)
        add_number(&dump->paths,
                   add_string(dump, cal__module(i)->path, strlen(cal__module(i)->path)));
    for (uint32_t i = 0; i < cal__lives_count(); i++)
        add_number(&dump->names,
                   add_string(dump, cal__life(i)->name, strnlen(cal__life(i)->name, CAL_NAME_MAX)));
    for (uint32_t i = 0; i < cal__suppressions_count(); i++) {
        const char *pattern = cal__suppression(i)->pattern;
        add_number(&dump->patterns, add_string(dump, pattern, strlen(pattern)));
    }
}

/* Sites are summed up and written a part at a time: all of them would take as much memory again as their cells. */
enum { SITES_PART = 1024 };

_Static_assert(CAL_CELLS_CHUNK % SITES_PART == 0, "a part is of one chunk");

struct part {
    uint32_t first, count;
    struct cal__file_site sites[SITES_PART];
};

static void add_cell(const struct cal__cell *cell, void *argument)
{
    struct part *part = argument;
    struct cal__file_site *site = &part->sites[cell->site - part->first];
    uint64_t allocations = cal__count_get(&cell->allocations), frees = cal__count_get(&cell->frees);
    uint64_t allocated = cal__count_get(&cell->allocated_bytes),
             freed = cal__count_get(&cell->freed_bytes);
    bool of_mark = cal__count_get(&cell->mark) ==
                   atomic_load_explicit(&cal__record_peak.mark, memory_order_relaxed);
    uint32_t thread = atomic_load_explicit(&cell->thread, memory_order_relaxed);
    uint32_t node = atomic_load_explicit(&cell->numa_node, memory_order_relaxed);
    if (allocations != 0) {
        bool first = site->allocations == 0;
        site->thread = first || site->thread == thread ? thread : CAL_FILE_NONE;
        site->numa_node = first || site->numa_node == node ? node : CAL_FILE_NONE;
    }
    site->allocations += allocations;
    site->allocated_bytes += allocated;
    site->frees += frees;
    site->freed_bytes += freed;
    site->temporaries += cal__cell_minor(cell, CAL_MINOR_TEMPORARIES);
    site->slack += cal__count_get(&cell->slack);
    /* Of one thread alone they may be negative; the sums are not, but for what goes on meanwhile. */
    site->peak_blocks += of_mark ? cal__count_get(&cell->peak_blocks) : allocations - frees;
    site->peak_bytes += of_mark ? cal__count_get(&cell->peak_bytes) : allocated - freed;
    for (size_t i = 0; i < CAL_LIFETIMES; i++)
        site->lifetimes[i] += cal__cell_minor(cell, i);
}

static void sum_up(struct part *part)
{
    for (uint32_t i = 0; i < part->count; i++)
        part->sites[i] = (struct cal__file_site){.node = cal__site_node(part->first + i),
                                                 .thread = CAL_FILE_NONE,
                                                 .numa_node = CAL_FILE_NONE};
    for (struct cal__thread *thread = cal__thread_first(); thread != NULL; thread = thread->next)
        cal__thread_cells(thread, part->first, part->count, add_cell, part);
}

static void write_sites(struct dump *dump)
{
    static struct part part;
    struct cal__file_process *process = &dump->process;
    cal__writer_begin(&dump->writer, CAL_SECTION_SITES, sizeof(struct cal__file_site), 0);
    for (part.first = 0; part.first < dump->sites_count; part.first += SITES_PART) {
        uint32_t left = dump->sites_count - part.first;
        part.count = left < SITES_PART ? left : SITES_PART;
        sum_up(&part);
        for (uint32_t i = 0; i < part.count; i++) {
            struct cal__file_site *site = &part.sites[i];
            if ((int64_t)site->peak_bytes < 0 || (int64_t)site->peak_blocks < 0)
                site->peak_bytes = site->peak_blocks = 0;
            process->allocations += site->allocations;
            process->allocated_bytes += site->allocated_bytes;
            process->frees += site->frees;
            process->freed_bytes += site->freed_bytes;
            process->temporaries += site->temporaries;
            process->peak_bytes += site->peak_bytes;
            cal__writer_record(&dump->writer, site);
        }
    }
    cal__writer_end(&dump->writer);
    for (struct cal__thread *thread = cal__thread_first(); thread != NULL; thread = thread->next) {
        process->lost += cal__count_get(&thread->lost) + cal__count_get(&thread->missed);
        process->unknown_frees += cal__count_get(&thread->unknown_frees);
    }
}

static void collect_process(struct dump *dump)
{
    struct cal__file_process *process = &dump->process;
    char status[4096];
    cal__process_file("/proc/self/status", status, sizeof status);
    process->pid = (uint32_t)syscall(SYS_getpid);
    process->parent_pid = (uint32_t)syscall(SYS_getppid);
    process->reason = dump->request->reason;
    process->flags = dump->request->flags;
    process->sample_bytes = cal__record_sample_bytes();
    if (process->sample_bytes != 0)
        process->flags |= CAL_PROCESS_SAMPLED;
    process->duration = cal__modules_time();
    process->start_realtime = cal__clock_now(CLOCK_REALTIME) - process->duration;
    process->page_size = (uint64_t)sysconf(_SC_PAGESIZE);
    process->peak_time = atomic_load_explicit(&cal__record_peak.time, memory_order_relaxed);
    process->resident_bytes = status_of(status, "VmRSS:");
    process->peak_resident_bytes = status_of(status, "VmHWM:");
    process->own_bytes = cal__memory_mapped();
    struct cal_statistics statistics = {.size = sizeof statistics};
    if (!dump->request->in_signal && cal_stats(&statistics) == 0)
        process->heap_mapped_bytes = statistics.os_memory_mapped;
}

static bool add_region(const struct cal_region *region, void *argument)
{
    struct heap *regions = argument;
    struct cal__file_region record = {
        .address = (uint64_t)(uintptr_t)region->address,
        .length = region->length,
        .block_size = region->block_size,
        .blocks = region->blocks,
        .live = region->live,
        .kind = (uint32_t)region->kind,
        .flags = region->dirty ? CAL_REGION_DIRTY : 0,
    };
    char *place = extend(regions, sizeof record);
    if (place != NULL)
        memcpy(place, &record, sizeof record);
    return place != NULL;
}

/* One record after the other, made by MAKE. */
#define WRITE_RECORDS(type, structure, from, to, make)                  \
    do {                                                                \
        cal__writer_begin(&dump->writer, (type), sizeof(structure), 0); \
        for (uint32_t index = (from); index < (to); index++) {          \
            structure record = make;                                    \
            cal__writer_record(&dump->writer, &record);                 \
        }                                                               \
        cal__writer_end(&dump->writer);                                 \
    } while (0)

static struct cal__file_module module_record(const struct dump *dump, uint32_t number)
{
    const struct cal__module *module = cal__module(number);
    struct cal__file_module record = {
        .start = module->start,
        .end = module->end,
        .bias = module->bias,
        .seen = module->seen,
        .gone = atomic_load_explicit(&module->gone, memory_order_relaxed),
        .path = number_in(&dump->paths, number),
        .build_id_length = module->build_id_length,
    };
    memcpy(record.build_id, module->build_id, sizeof record.build_id);
    return record;
}

static struct cal__file_node node_record(uint32_t number)
{
    struct cal__file_node node = cal__node(number);
    if (number <= CAL_NODE_UNKNOWN)
        return (struct cal__file_node){.parent = 0, .frame = CAL_FILE_NONE};
    node.frame--;
    return node;
}

static struct cal__file_thread thread_record(const struct dump *dump, uint32_t number)
{
    const struct cal__life *life = cal__life(number);
    return (struct cal__file_thread){
        .tid = life->tid,
        .name = number_in(&dump->names, number),
        .start = atomic_load_explicit(&life->start, memory_order_relaxed),
        .end = atomic_load_explicit(&life->end, memory_order_relaxed),
        .allocations = cal__count_get(&life->allocations),
        .allocated_bytes = cal__count_get(&life->allocated_bytes),
        .frees = cal__count_get(&life->frees),
        .freed_bytes = cal__count_get(&life->freed_bytes),
    };
}

static void write_timeline(struct dump *dump)
{
    static struct cal__file_moment moments[CAL_MOMENTS_MAX + 1];
    size_t count = cal__timeline_copy(moments);
    cal__timeline_now(&moments[count]);
    WRITE_RECORDS(CAL_SECTION_TIMELINE, struct cal__file_moment, 0, count + 1, moments[index]);
}

enum { CLASSES = 256 };

static uint64_t class_of(const struct cal__file_region *region)
{
    if (region->kind == CAL_REGION_SLAB || region->block_size <= 1)
        return region->block_size;
    return UINT64_C(1) << (64 - __builtin_clzl(region->block_size - 1));
}

static void write_regions(struct dump *dump)
{
    static struct cal__file_class classes[CLASSES];
    size_t count = 0, regions = dump->regions.used / sizeof(struct cal__file_region);
    const struct cal__file_region *all = (const struct cal__file_region *)dump->regions.bytes;
    for (size_t i = 0; i < regions; i++) {
        const struct cal__file_region *region = &all[i];
        if (region->kind == CAL_REGION_FREE || region->kind == CAL_REGION_RANGE)
            continue;
        uint64_t size = class_of(region);
        size_t at = 0;
        while (at < count && classes[at].block_size != size)
            at++;
        if (at == CLASSES)
            continue;
        if (at == count)
            classes[count++] = (struct cal__file_class){.block_size = size};
        classes[at].regions++;
        classes[at].slots += region->kind == CAL_REGION_SLAB && region->block_size != 0
                                 ? region->length / region->block_size
                                 : 1;
        classes[at].live += region->live;
        classes[at].mapped += region->length;
    }
    WRITE_RECORDS(CAL_SECTION_CLASSES, struct cal__file_class, 0, count, classes[index]);
    WRITE_RECORDS(CAL_SECTION_REGIONS, struct cal__file_region, 0, regions, all[index]);
}

static struct cal__file_suppression suppression_record(const struct dump *dump, uint32_t number)
{
    const struct cal__suppression *suppression = cal__suppression(number);
    return (struct cal__file_suppression){.text = number_in(&dump->patterns, number),
                                          .blocks = suppression->blocks,
                                          .bytes = suppression->bytes};
}

static void write_leaks(struct dump *dump)
{
    const struct cal__leaks *leaks = dump->request->leaks;
    if (leaks == NULL)
        return;
    cal__writer_begin(&dump->writer, CAL_SECTION_LEAK_FACTS, sizeof leaks->facts, 0);
    cal__writer_record(&dump->writer, &leaks->facts);
    cal__writer_end(&dump->writer);
    WRITE_RECORDS(CAL_SECTION_SUPPRESSIONS, struct cal__file_suppression, 0,
                  cal__suppressions_count(), suppression_record(dump, index));
    WRITE_RECORDS(CAL_SECTION_LEAKS, struct cal__file_leak, 0, leaks->count, leaks->leaks[index]);
}

static void write_sections(struct dump *dump)
{
    /* What is there now; more may come while the rest is written. Sites refer to nodes, and these to
     * frames, which refer to modules: counted in this order, each is there. */
    dump->sites_count =
        dump->sites_count < cal__sites_count() ? dump->sites_count : cal__sites_count();
    uint32_t nodes = cal__nodes_count(), frames = cal__frames_count();
    uint32_t modules = (uint32_t)(dump->paths.used / sizeof(uint32_t));
    uint32_t lives = (uint32_t)(dump->names.used / sizeof(uint32_t));
    cal__writer_begin(&dump->writer, CAL_SECTION_STRINGS, 0, 0);
    cal__writer_bytes(&dump->writer, dump->strings.bytes, dump->strings.used);
    cal__writer_end(&dump->writer);
    WRITE_RECORDS(CAL_SECTION_MODULES, struct cal__file_module, 0, modules,
                  module_record(dump, index));
    cal__writer_begin(&dump->writer, CAL_SECTION_FRAMES, sizeof(struct cal__file_frame), 0);
    for (uint32_t i = 1; i <= frames; i++) {
        struct cal__file_frame frame = *cal__frame(i);
        if (frame.module >= modules)
            frame.module = CAL_FILE_NONE;
        cal__writer_record(&dump->writer, &frame);
    }
    cal__writer_end(&dump->writer);
    WRITE_RECORDS(CAL_SECTION_NODES, struct cal__file_node, 0, nodes, node_record(index));
    WRITE_RECORDS(CAL_SECTION_THREADS, struct cal__file_thread, 0, lives,
                  thread_record(dump, index));
    write_sites(dump);
    /* With their sums. */
    cal__writer_begin(&dump->writer, CAL_SECTION_PROCESS, sizeof dump->process, 0);
    cal__writer_record(&dump->writer, &dump->process);
    cal__writer_end(&dump->writer);
    write_timeline(dump);
    write_regions(dump);
    write_leaks(dump);
}

/* A profile takes the place of a file, but not of a device or a pipe. */
static bool may_be_replaced(const char *path)
{
    struct stat facts = {.st_mode = 0};
    return stat(path, &facts) != 0 || S_ISREG(facts.st_mode);
}

static int write_file(struct dump *dump)
{
    char part[CAL_PATH_MAX + 8];
    size_t length = strlen(dump->request->path);
    if (length >= CAL_PATH_MAX)
        return -ENAMETOOLONG;
    if (!may_be_replaced(dump->request->path))
        return -EEXIST;
    memcpy(part, dump->request->path, length);
    memcpy(part + length, ".part", sizeof ".part");
    int result = cal__writer_open(&dump->writer, part, CAL_FILE_PROFILE);
    if (result != 0)
        return result;
    write_sections(dump);
    result = cal__writer_close(&dump->writer, true);
    if (result == 0 &&
        syscall(SYS_renameat2, AT_FDCWD, part, AT_FDCWD, dump->request->path, 0) != 0)
        result = -errno;
    if (result != 0)
        syscall(SYS_unlinkat, AT_FDCWD, part, 0);
    return result;
}

int cal__profile_write(const struct cal__profile_request *request)
{
    struct dump dump = {.request = request};
    if (!request->in_signal)
        cal__mutex_acquire(&lock);
    else if (!cal__mutex_try(&lock))
        return -EBUSY;
    if (cal__modules_check())
        cal__rows_forget();
    dump.sites_count = cal__sites_count();
    collect_strings(&dump);
    collect_process(&dump);
    if (!request->in_signal)
        cal_walk_regions(add_region, &dump.regions);
    int result =
        dump.strings.failed || dump.paths.failed || dump.names.failed || dump.patterns.failed
            ? -ENOMEM
            : write_file(&dump);
    release(&dump.strings);
    release(&dump.paths);
    release(&dump.names);
    release(&dump.patterns);
    release(&dump.regions);
    if (result == 0)
        written++;
    cal__mutex_release(&lock);
    return result;
}

bool cal__profile_path(const char *pattern, char *path, size_t size)
{
    size_t used = 0;
    while (*pattern != '\0') {
        char text[32];
        const char *insert = text;
        size_t taken = 2;
        if (pattern[0] == '%' && pattern[1] == 'p') {
            snprintf(text, sizeof text, "%ld", syscall(SYS_getpid));
        } else if (pattern[0] == '%' && pattern[1] == 'n') {
            snprintf(text, sizeof text, "%u", written);
        } else if (pattern[0] == '%' && pattern[1] == 'e') {
            insert = program_invocation_short_name != NULL ? program_invocation_short_name : "";
        } else {
            text[0] = pattern[0];
            text[1] = '\0';
            taken = pattern[0] == '%' && pattern[1] == '%' ? 2 : 1;
        }
        size_t length = strlen(insert);
        if (length >= size - used)
            return false;
        memcpy(path + used, insert, length);
        used += length;
        pattern += taken;
    }
    path[used] = '\0';
    return true;
}

void cal__profile_fork_prepare(void)
{
    cal__mutex_acquire(&lock);
}

void cal__profile_fork_done(bool in_child)
{
    cal__mutex_release_after_fork(&lock, in_child);
}
