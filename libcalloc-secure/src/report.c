/* The sites that were logged are a hash table of fixed size that is only ever filled: an entry is 0 or
 * stays what it is. Two threads that find the same at the same time try to set the same entry, and
 * one of them logs. So there is nothing to lock, and nothing that a signal handler could find
 * half-done. */
#include "report.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "line.h"
#include "place.h"

static const char *const phrases[] = {
#define CHECK(name, phrase, help) phrase,
#include "report.def"
#undef CHECK
};

static _Atomic uint64_t sites[CAL_REPORT_SITES];
static _Atomic size_t dropped;

_Static_assert((CAL_REPORT_SITES & (CAL_REPORT_SITES - 1)) == 0, "the table is a power of two");
/* The numbers, and what is between them; a place; and the frames. */
_Static_assert(256 + (1 + 2 * CAL_REPORT_FRAMES) * (CAL_PLACE_NAME + 21) < CAL_LINE_MAX,
               "the longest line is whole");
_Static_assert(CAL_CHECKS < 16 && CAL_ADDRESS_BITS <= 56, "check and address fit one word");

/* True for the first caller with this check and site. Looks at the whole table at worst, which only
 * happens when it is full. */
static bool is_first(enum cal__check check, const void *site)
{
    /* Never 0. User space ends below bit 56; with top-byte tags the rest is told apart as well. */
    uint64_t entry = ((uint64_t)(uintptr_t)site & ((UINT64_C(1) << 56) - 1)) | (uint64_t)(check + 1)
                                                                                   << 56;
    uint64_t hash = entry * UINT64_C(0x9e3779b97f4a7c15);
    for (size_t i = 0; i < CAL_REPORT_SITES; i++) {
        _Atomic uint64_t *place = &sites[((hash >> 32) + i) % CAL_REPORT_SITES];
        uint64_t found = 0;
        if (atomic_compare_exchange_strong_explicit(place, &found, entry, memory_order_relaxed,
                                                    memory_order_relaxed))
            return true;
        if (found == entry)
            return false;
    }
    atomic_fetch_add_explicit(&dropped, 1, memory_order_relaxed);
    return false;
}

/* The line that a process ends with is one, whoever else finds something at the same moment: he waits until it
 * is written, but not for one that cannot be. */
enum { UNSAID, SAYING, SAID };
static _Atomic int last_words;
enum { WAIT_FOR_LINE = 100 << 20 };

/* Of the thread that started and of each that forked: sandboxes for one thread kill for gettid(2). */
static __thread int own_thread __attribute__((tls_model("initial-exec")));

void cal__report_thread(void)
{
    atomic_store_explicit(&last_words, UNSAID, memory_order_relaxed);
    int saved = errno;
    own_thread = (int)syscall(SYS_gettid);
    errno = saved;
}

size_t cal__report_dropped(void)
{
    return atomic_load_explicit(&dropped, memory_order_relaxed);
}

static void number(struct cal__line *line, const char *before, uint64_t value, const char *after)
{
    cal__line_string(line, before);
    cal__line_decimal(line, value);
    cal__line_string(line, after);
}

static void file_and_offset(struct cal__line *line, const struct cal__place *place)
{
    cal__line_foreign(line, place->file, strlen(place->file));
    cal__line_string(line, "+");
    cal__line_hexadecimal(line, place->offset);
}

static void say_site(struct cal__line *line, const void *address)
{
    struct cal__place place;
    if (address == NULL)
        return;
    cal__line_string(line, ", found at ");
    cal__line_hexadecimal(line, (uintptr_t)address);
    if (!cal__place_find(address, &place))
        return;
    cal__line_string(line, " (");
    file_and_offset(line, &place);
    cal__line_string(line, ")");
}

static void say_frames(struct cal__line *line, const char *before, const struct cal__frames *frames)
{
    for (size_t i = 0; i < CAL_REPORT_FRAMES && frames->addresses[i] != NULL; i++) {
        struct cal__place place;
        cal__line_string(line, i == 0 ? before : ", ");
        if (cal__place_recall(frames->files[i], frames->addresses[i], &place))
            file_and_offset(line, &place);
        else
            cal__line_hexadecimal(line, (uintptr_t)frames->addresses[i]);
    }
}

CAL_COLD void cal__report_line(const struct cal__report *report)
{
    struct cal__line line = {.length = 0};
    cal__line_string(&line, "libcalloc: ");
    cal__line_string(&line, report->what != NULL         ? report->what
                            : report->check < CAL_CHECKS ? phrases[report->check]
                                                         : "error");
    cal__line_string(&line, " of ");
    cal__line_hexadecimal(&line, (uintptr_t)report->address);
    if (report->damage_known)
        number(&line, report->damage_before ? ", byte -" : ", byte ", report->damage, "");
    if (report->block_size != 0)
        number(&line, ", block of ", report->block_size, " bytes");
    if (report->requested_known)
        number(&line, ", requested ", report->requested, "");
    int saved = errno;
    int thread = report->thread != 0 ? report->thread
                 : own_thread != 0   ? own_thread
                                     : (int)syscall(SYS_gettid);
    errno = saved;
    if (thread > 0)
        number(&line, ", thread ", (uint64_t)thread, "");
    say_site(&line, report->site);
    say_frames(&line, ", allocated at ", &report->allocated);
    say_frames(&line, ", freed at ", &report->freed);
    cal__line_write(&line, STDERR_FILENO);
}

static void say_last(const struct cal__report *report)
{
    int stage = UNSAID;
    if (atomic_compare_exchange_strong_explicit(&last_words, &stage, SAYING, memory_order_acq_rel,
                                                memory_order_acquire)) {
        cal__report_line(report);
        atomic_store_explicit(&last_words, SAID, memory_order_release);
        return;
    }
    for (int turn = 0; turn < WAIT_FOR_LINE && stage != SAID; turn++)
        stage = atomic_load_explicit(&last_words, memory_order_acquire);
}

CAL_COLD void cal__report(const struct cal__report *report, enum cal__consequence consequence)
{
    if (consequence == CAL_IGNORE)
        return;
    if (consequence == CAL_LOG) {
        if (is_first(report->check, report->site))
            cal__report_line(report);
        return;
    }
    say_last(report);
    abort();
}
