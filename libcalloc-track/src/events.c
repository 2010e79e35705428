/* A buffer's bytes up to `used` do not change until it is written, and that only who holds the lock does. So the end
 * of the process writes the buffers of threads that still run, as far as they are.
 *
 * The file is opened for each write and closed again: a program that closes all descriptors, as daemons do, would
 * else have its own files written to. */
#include "events.h"

#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <calloc/calloc.h>

#include "clock.h"
#include "memory.h"
#include "modules.h"
#include "mutex.h"
#include "nodes.h"
#include "note.h"
#include "process.h"
#include "rows.h"
#include "writer.h"

enum { BUFFER = 64 << 10, EVENT_MAX = 40 };

struct cal__buffer {
    _Atomic uint32_t used;
    uint32_t count;
    uint64_t sequence; /* of its sections */
    uint64_t ticks;    /* of the last event */
    uint64_t first_ticks;
    uint64_t address;
    uint32_t site;
    uint32_t thread;
    uint8_t bytes[BUFFER];
};

static struct cal__mutex lock;
static _Atomic bool on;
static char file_path[4096];
static uint32_t strings_used, modules_written, frames_written, nodes_written, sites_written;

bool cal__events_on(void)
{
    return atomic_load_explicit(&on, memory_order_acquire);
}

/* The file. All under the lock. */

static void give_up(int error)
{
    struct cal__note note = {.length = 0};
    atomic_store_explicit(&on, false, memory_order_release);
    cal__note_string(&note, "libcalloc: the trace ends here, as ");
    cal__note_foreign(&note, file_path, strlen(file_path));
    cal__note_string(&note, " cannot be written: ");
    const char *name = strerrorname_np(-error);
    cal__note_string(&note, name != NULL ? name : "?");
    cal__note_write(&note, STDERR_FILENO);
}

/* A section of one string; where it is. */
static uint32_t write_string(struct cal__writer *writer, const char *text)
{
    uint32_t at = strings_used, length = (uint32_t)strlen(text) + 1;
    cal__writer_begin(writer, CAL_SECTION_STRINGS, 0, at);
    cal__writer_bytes(writer, text, length);
    cal__writer_end(writer);
    strings_used += length;
    return at;
}

static void write_process(struct cal__writer *writer)
{
    char text[4096];
    struct cal__file_process process = {
        .pid = (uint32_t)syscall(SYS_getpid),
        .parent_pid = (uint32_t)syscall(SYS_getppid),
        .duration = cal__modules_time(),
        .ticks_per_second = cal__clock_ticks_per_second(),
        .page_size = (uint64_t)sysconf(_SC_PAGESIZE),
    };
    process.start_realtime = cal__clock_now(CLOCK_REALTIME) - process.duration;
    write_string(writer, "");
    cal__process_program(text, sizeof text);
    process.program = write_string(writer, text);
    cal__process_command_line(text, sizeof text);
    process.command_line = write_string(writer, text);
    process.version = write_string(writer, CAL_TRACK_VERSION);
    process.core_version = write_string(writer, cal_version());
    cal__writer_begin(writer, CAL_SECTION_PROCESS, sizeof process, 0);
    cal__writer_record(writer, &process);
    cal__writer_end(writer);
}

static void write_modules(struct cal__writer *writer)
{
    for (; modules_written < cal__modules_count(); modules_written++) {
        const struct cal__module *module = cal__module(modules_written);
        struct cal__file_module record = {
            .start = module->start,
            .end = module->end,
            .bias = module->bias,
            .seen = module->seen,
            .path = write_string(writer, module->path),
            .build_id_length = module->build_id_length,
        };
        memcpy(record.build_id, module->build_id, sizeof record.build_id);
        cal__writer_begin(writer, CAL_SECTION_MODULES, sizeof record, modules_written);
        cal__writer_record(writer, &record);
        cal__writer_end(writer);
    }
}

/* What the events to come may refer to, as far as it is new. */
static void write_tables(struct cal__writer *writer)
{
    uint32_t sites = cal__sites_count(), nodes = cal__nodes_count(), frames = cal__frames_count();
    write_modules(writer);
    if (frames_written < frames) {
        cal__writer_begin(writer, CAL_SECTION_FRAMES, sizeof(struct cal__file_frame),
                          frames_written);
        for (; frames_written < frames; frames_written++) {
            struct cal__file_frame frame = *cal__frame(frames_written + 1);
            if (frame.module >= modules_written)
                frame.module = CAL_FILE_NONE;
            cal__writer_record(writer, &frame);
        }
        cal__writer_end(writer);
    }
    if (nodes_written < nodes) {
        cal__writer_begin(writer, CAL_SECTION_NODES, sizeof(struct cal__file_node), nodes_written);
        for (; nodes_written < nodes; nodes_written++) {
            struct cal__file_node node = {.parent = 0, .frame = CAL_FILE_NONE};
            if (nodes_written > CAL_NODE_UNKNOWN) {
                node = cal__node(nodes_written);
                node.frame--;
            }
            cal__writer_record(writer, &node);
        }
        cal__writer_end(writer);
    }
    if (sites_written < sites) {
        cal__writer_begin(writer, CAL_SECTION_SITE_NODES, sizeof(uint32_t), sites_written);
        for (; sites_written < sites; sites_written++) {
            uint32_t node = cal__site_node(sites_written);
            cal__writer_record(writer, &node);
        }
        cal__writer_end(writer);
    }
}

static void write_buffer(struct cal__writer *writer, const struct cal__buffer *buffer)
{
    uint32_t used = atomic_load_explicit(&buffer->used, memory_order_acquire);
    struct cal__file_events start = {.thread = buffer->thread, .ticks = buffer->first_ticks};
    if (used == 0)
        return;
    cal__writer_begin(writer, CAL_SECTION_EVENTS, 0, buffer->sequence);
    cal__writer_bytes(writer, &start, sizeof start);
    cal__writer_bytes(writer, buffer->bytes, used);
    writer->section.count = buffer->count;
    cal__writer_end(writer);
}

static void write_threads(struct cal__writer *writer)
{
    uint32_t count = cal__lives_count();
    for (uint32_t i = 0; i < count; i++) {
        const struct cal__life *life = cal__life(i);
        char name[CAL_NAME_MAX + 1] = "";
        memcpy(name, life->name, CAL_NAME_MAX);
        struct cal__file_thread record = {
            .tid = life->tid,
            .name = write_string(writer, name),
            .start = atomic_load_explicit(&life->start, memory_order_relaxed),
            .end = atomic_load_explicit(&life->end, memory_order_relaxed),
            .allocations = cal__count_get(&life->allocations),
            .allocated_bytes = cal__count_get(&life->allocated_bytes),
            .frees = cal__count_get(&life->frees),
            .freed_bytes = cal__count_get(&life->freed_bytes),
        };
        cal__writer_begin(writer, CAL_SECTION_THREADS, sizeof record, i);
        cal__writer_record(writer, &record);
        cal__writer_end(writer);
    }
}

static int begin_file(void)
{
    struct cal__writer writer;
    strings_used = modules_written = frames_written = nodes_written = sites_written = 0;
    int result = cal__writer_open(&writer, file_path, CAL_FILE_TRACE);
    if (result != 0)
        return result;
    write_process(&writer);
    return cal__writer_close(&writer, false);
}

int cal__events_start(const char *path)
{
    if (strlen(path) >= sizeof file_path)
        return -ENAMETOOLONG;
    cal__mutex_acquire(&lock);
    memmove(file_path, path, strlen(path) + 1);
    int result = begin_file();
    atomic_store_explicit(&on, result == 0, memory_order_release);
    cal__mutex_release(&lock);
    /* Nothing is recorded yet, but threads may be known. They look at their buffers when they record. */
    for (struct cal__thread *thread = cal__thread_first(); thread != NULL; thread = thread->next)
        if (thread->buffer == NULL && atomic_load_explicit(&thread->runs, memory_order_acquire))
            cal__events_thread_began(thread);
    return result;
}

/* The buffers. */

static void empty(struct cal__buffer *buffer)
{
    buffer->count = 0;
    buffer->address = 0;
    buffer->site = 0;
    buffer->first_ticks = buffer->ticks;
    buffer->sequence++;
    atomic_store_explicit(&buffer->used, 0, memory_order_release);
}

static CAL_COLD void flush(struct cal__buffer *buffer)
{
    struct cal__writer writer;
    cal__mutex_acquire(&lock);
    if (cal__events_on()) {
        int result = cal__writer_append(&writer, file_path);
        if (result == 0) {
            write_tables(&writer);
            write_buffer(&writer, buffer);
            result = cal__writer_close(&writer, false);
        }
        if (result != 0)
            give_up(result);
    }
    empty(buffer);
    cal__mutex_release(&lock);
}

/* An event under way. */
struct out {
    uint8_t *at;
};

CAL_INLINE void put(struct out *out, uint64_t value)
{
    for (; value >= 0x80; value >>= 7)
        *out->at++ = (uint8_t)(value | 0x80);
    *out->at++ = (uint8_t)value;
}

CAL_INLINE void put_signed(struct out *out, int64_t value)
{
    put(out, (uint64_t)value << 1 ^ (value < 0 ? UINT64_MAX : 0));
}

CAL_INLINE void put_address(struct out *out, struct cal__buffer *buffer, const void *block)
{
    uint64_t address = (uintptr_t)block;
    put_signed(out, (int64_t)(address - buffer->address) >> 4);
    buffer->address = address;
}

CAL_INLINE struct out begin(struct cal__buffer *buffer, enum cal__event_kind kind, uint64_t ticks)
{
    if (CAL_UNLIKELY(atomic_load_explicit(&buffer->used, memory_order_relaxed) >
                     BUFFER - EVENT_MAX))
        flush(buffer);
    struct out out = {.at = buffer->bytes +
                            atomic_load_explicit(&buffer->used, memory_order_relaxed)};
    /* Counters of different processors may differ a little: never backwards. */
    uint64_t passed = ticks > buffer->ticks ? ticks - buffer->ticks : 0;
    put(&out, passed << 3 | kind);
    buffer->ticks += passed;
    return out;
}

CAL_INLINE void end(struct cal__buffer *buffer, const struct out *out)
{
    buffer->count++;
    atomic_store_explicit(&buffer->used, (uint32_t)(out->at - buffer->bytes), memory_order_release);
}

void cal__events_allocated(struct cal__thread *thread, const void *block, size_t bytes,
                           uint32_t site, uint64_t ticks)
{
    struct cal__buffer *buffer = thread->buffer;
    struct out out = begin(buffer, CAL_EVENT_ALLOCATE, ticks - cal__clock_first);
    put_address(&out, buffer, block);
    put(&out, bytes);
    put_signed(&out, (int64_t)site - (int64_t)buffer->site);
    buffer->site = site;
    end(buffer, &out);
}

void cal__events_freeing(struct cal__thread *thread, const void *block, uint64_t ticks)
{
    struct cal__buffer *buffer = thread->buffer;
    struct out out = begin(buffer, CAL_EVENT_FREE, ticks - cal__clock_first);
    put_address(&out, buffer, block);
    end(buffer, &out);
}

void cal__events_resized(struct cal__thread *thread, const void *block, size_t bytes,
                         uint64_t ticks)
{
    struct cal__buffer *buffer = thread->buffer;
    struct out out = begin(buffer, CAL_EVENT_RESIZE, ticks - cal__clock_first);
    put_address(&out, buffer, block);
    put(&out, bytes);
    end(buffer, &out);
}

void cal__events_thread_began(struct cal__thread *thread)
{
    if (!cal__events_on())
        return;
    if (thread->buffer == NULL)
        thread->buffer = cal__memory_map(sizeof *thread->buffer);
    struct cal__buffer *buffer = thread->buffer;
    if (buffer == NULL) {
        cal__count_add(&thread->lost, 1);
        return;
    }
    buffer->thread = thread->number;
    buffer->ticks = buffer->first_ticks = cal__clock_ticks() - cal__clock_first;
    if (thread->late)
        return;
    buffer->sequence = 0;
    struct out out = begin(buffer, CAL_EVENT_START, buffer->ticks);
    end(buffer, &out);
}

void cal__events_thread_ends(struct cal__thread *thread)
{
    struct cal__buffer *buffer = thread->buffer;
    if (buffer == NULL)
        return;
    if (!thread->late) {
        struct out out = begin(buffer, CAL_EVENT_END, cal__clock_ticks() - cal__clock_first);
        end(buffer, &out);
    }
    flush(buffer);
}

void cal__events_finish(bool in_signal)
{
    struct cal__writer writer;
    if (!in_signal)
        cal__mutex_acquire(&lock);
    else if (!cal__mutex_try(&lock))
        return;
    if (cal__events_on()) {
        int result = cal__writer_append(&writer, file_path);
        if (result == 0) {
            write_tables(&writer);
            for (struct cal__thread *thread = cal__thread_first(); thread != NULL;
                 thread = thread->next)
                if (thread->buffer != NULL)
                    write_buffer(&writer, thread->buffer);
            write_threads(&writer);
            write_process(&writer);
            result = cal__writer_close(&writer, true);
        }
        if (result != 0)
            give_up(result);
        atomic_store_explicit(&on, false, memory_order_release);
    }
    cal__mutex_release(&lock);
}

void cal__events_fork_prepare(void)
{
    cal__mutex_acquire(&lock);
}

void cal__events_fork_done(bool in_child)
{
    cal__mutex_release_after_fork(&lock, in_child);
}

void cal__events_forked(const char *path)
{
    /* Where a signal handler forks while its thread writes, the file is not the child's to begin. */
    if (!cal__mutex_try(&lock)) {
        atomic_store_explicit(&on, false, memory_order_release);
        return;
    }
    if (cal__events_on()) {
        bool again = path != NULL && strlen(path) < sizeof file_path;
        for (struct cal__thread *thread = cal__thread_first(); thread != NULL;
             thread = thread->next)
            if (thread->buffer != NULL)
                empty(thread->buffer);
        if (again)
            memmove(file_path, path, strlen(path) + 1);
        int result = again ? begin_file() : -ENAMETOOLONG;
        if (result != 0)
            give_up(result);
    }
    cal__mutex_release(&lock);
}
