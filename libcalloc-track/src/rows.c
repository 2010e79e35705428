/* The table is read without the lock. Rows do not change, and one of a module that is gone is looked up by
 * nobody, so its place is given to others. A table that has become too small is replaced, and stays readable
 * for who still does. */
#include "rows.h"

#include <sys/auxv.h>

#include "cfi.h"
#include "memory.h"
#include "modules.h"
#include "mutex.h"

enum { FIRST_SIZE = 4096, FRAMES_CHUNK = 4096, FRAMES_CHUNKS = 4096 };

_Atomic uint32_t cal__rows_epoch;
struct cal__rows_table *_Atomic cal__rows_table;

static struct cal__mutex lock;
static uint64_t rows_used;
static struct cal__file_frame *_Atomic frames[FRAMES_CHUNKS];
static _Atomic uint32_t frames_used;

uint32_t cal__frames_count(void)
{
    return atomic_load_explicit(&frames_used, memory_order_acquire);
}

const struct cal__file_frame *cal__frame(uint32_t number)
{
    uint32_t index = number - 1;
    return &atomic_load_explicit(&frames[index / FRAMES_CHUNK],
                                 memory_order_relaxed)[index % FRAMES_CHUNK];
}

/* CAL_FILE_NONE: no memory for it. */
static uint32_t add_frame(uintptr_t address, uint32_t module, bool exact)
{
    uint32_t index = cal__frames_count();
    if (index == FRAMES_CHUNK * FRAMES_CHUNKS)
        return CAL_FILE_NONE;
    struct cal__file_frame *_Atomic *chunk = &frames[index / FRAMES_CHUNK];
    if (index % FRAMES_CHUNK == 0)
        atomic_store_explicit(chunk, cal__memory_map(FRAMES_CHUNK * sizeof(struct cal__file_frame)),
                              memory_order_relaxed);
    struct cal__file_frame *array = atomic_load_explicit(chunk, memory_order_relaxed);
    if (array == NULL)
        return CAL_FILE_NONE;
    array[index % FRAMES_CHUNK] = (struct cal__file_frame){
        .address = address, .module = module, .flags = exact ? CAL_FRAME_EXACT : 0};
    atomic_store_explicit(&frames_used, index + 1, memory_order_release);
    return index + 1;
}

static struct cal__row compress(const struct cal__rule *rule, uint64_t place)
{
    static const uint8_t kinds[] = {
        [CAL_RULE_NONE] = CAL_ROW_UNKNOWN,  [CAL_RULE_SP] = CAL_ROW_SP,
        [CAL_RULE_BP] = CAL_ROW_BP,         [CAL_RULE_BP_AT] = CAL_ROW_BP_AT,
        [CAL_RULE_SIGNAL] = CAL_ROW_SIGNAL, [CAL_RULE_END] = CAL_ROW_END,
        [CAL_RULE_OTHER] = CAL_ROW_OTHER,
    };
    struct cal__row row = {.place = place, .kind = kinds[rule->kind]};
    if (rule->offset % 8 != 0 || rule->bp % 8 != 0 || rule->ra % 8 != 0 ||
        rule->offset / 8 > INT16_MAX || rule->offset / 8 < INT16_MIN ||
        -rule->bp / 8 > UINT16_MAX || -rule->ra / 8 > UINT8_MAX) {
        row.kind = CAL_ROW_OTHER;
        return row;
    }
    row.offset = (int16_t)(rule->offset / 8);
    row.bp = (uint16_t)(-rule->bp / 8);
    row.ra = (uint8_t)(-rule->ra / 8);
    return row;
}

static struct cal__rows_table *make_table(uint64_t size)
{
    struct cal__rows_table *table = cal__memory_map(sizeof *table + size * sizeof table->words[0]);
    if (table != NULL)
        table->mask = size - 1;
    return table;
}

/* The first word of a row that was forgotten: no code is there. */
#define FORGOTTEN ((UINT64_C(1) << 48) - 1)

/* True: into a place that was empty. */
static bool insert(struct cal__rows_table *table, uint64_t first, uint64_t second)
{
    uint64_t i = cal__rows_hash(first & ((UINT64_C(1) << 48) - 1)), there;
    while ((there = atomic_load_explicit(&table->words[i & table->mask][0],
                                         memory_order_relaxed)) != 0 &&
           there != FORGOTTEN)
        i++;
    atomic_store_explicit(&table->words[i & table->mask][1], second, memory_order_relaxed);
    atomic_store_explicit(&table->words[i & table->mask][0], first, memory_order_release);
    return there == 0;
}

static bool is_of_gone_module(struct cal__row row)
{
    uintptr_t address = row.place & ~CAL_PLACE_EXACT;
    for (uint32_t i = 0; i < cal__modules_count(); i++) {
        const struct cal__module *module = cal__module(i);
        if (address >= module->start && address < module->end &&
            atomic_load_explicit(&module->gone, memory_order_relaxed) == 0)
            return false;
    }
    /* Of no module that is there, but code that never was of one may stay. */
    return row.kind != CAL_ROW_UNKNOWN;
}

static bool replace(uint64_t size)
{
    struct cal__rows_table *old = atomic_load_explicit(&cal__rows_table, memory_order_relaxed);
    struct cal__rows_table *table = make_table(size);
    if (table == NULL)
        return false;
    rows_used = 0;
    for (uint64_t i = 0; old != NULL && i <= old->mask; i++) {
        uint64_t first = atomic_load_explicit(&old->words[i][0], memory_order_relaxed);
        uint64_t second = atomic_load_explicit(&old->words[i][1], memory_order_relaxed);
        if (first != 0 && first != FORGOTTEN)
            rows_used += insert(table, first, second);
    }
    atomic_store_explicit(&cal__rows_table, table, memory_order_release);
    return true;
}

/* Under the lock; the row, if it is there. What is unknown may be known by now. */
static bool look_up(uint64_t place, struct cal__row *row)
{
    struct cal__rows_table *table = atomic_load_explicit(&cal__rows_table, memory_order_relaxed);
    for (uint64_t i = cal__rows_hash(place); table != NULL; i++) {
        uint64_t first =
            atomic_load_explicit(&table->words[i & table->mask][0], memory_order_relaxed);
        if (first == 0)
            return false;
        if (first << 16 != place << 16)
            continue;
        *row = cal__rows_from(
            first, atomic_load_explicit(&table->words[i & table->mask][1], memory_order_relaxed));
        return true;
    }
    return false;
}

static void keep(struct cal__row row)
{
    struct cal__rows_table *table = atomic_load_explicit(&cal__rows_table, memory_order_relaxed);
    uint64_t size = table == NULL ? 0 : table->mask + 1;
    if (rows_used * 2 >= size && !replace(size == 0 ? FIRST_SIZE : size * 2))
        return;
    union {
        struct cal__row row;
        uint64_t words[2];
    } both = {.row = row};
    rows_used += insert(atomic_load_explicit(&cal__rows_table, memory_order_relaxed), both.words[0],
                        both.words[1]);
}

static uintptr_t loader(void)
{
    static _Atomic uintptr_t known;
    uintptr_t start = atomic_load_explicit(&known, memory_order_relaxed);
    if (start == 0) {
        start = getauxval(AT_BASE);
        /* Of a program without one. */
        start = start != 0 ? start : UINTPTR_MAX;
        atomic_store_explicit(&known, start, memory_order_relaxed);
    }
    return start;
}

/* The allocator's own code where it is part of the program: the archives have it in a section of this name, and the
 * linker defines these. Else they are NULL. */
extern const char own_start[] __asm__("__start_calloc_text") __attribute__((weak));
extern const char own_end[] __asm__("__stop_calloc_text") __attribute__((weak));

static bool is_own(uintptr_t address)
{
    return address >= (uintptr_t)own_start && address < (uintptr_t)own_end;
}

CAL_COLD struct cal__row cal__rows_make(uint64_t place)
{
    bool exact = (place & CAL_PLACE_EXACT) != 0;
    uintptr_t address = place & ~CAL_PLACE_EXACT;
    uint32_t number = cal__modules_find(exact ? address : address - 1);
    const struct cal__module *module = number == CAL_MODULE_NONE ? NULL : cal__module(number);
    struct cal__rule rule = {.kind = CAL_RULE_NONE};
    if (module != NULL && module->unwind != NULL)
        rule = cal__cfi_find(address, exact, module->unwind);
    /* Where the loader starts the process, it has no entry for what nobody called. */
    if (rule.kind == CAL_RULE_NONE && module != NULL && module->start == loader())
        rule.kind = CAL_RULE_END;
    struct cal__row row = compress(&rule, place), known;
    cal__mutex_acquire(&lock);
    bool found = look_up(place, &known);
    if (found && (known.kind != CAL_ROW_UNKNOWN || row.kind == CAL_ROW_UNKNOWN)) {
        row = known;
    } else if (!found) {
        bool hidden = (module != NULL && module->hidden) || is_own(exact ? address : address - 1);
        row.frame = hidden ? 0 : add_frame(address, number, exact);
        if (row.frame != CAL_FILE_NONE)
            keep(row);
    } else {
        /* A module came to lie where none was: the row stays unknown, but this answer is the right one. */
        row.frame = known.frame;
    }
    cal__mutex_release(&lock);
    return row;
}

CAL_COLD void cal__rows_forget(void)
{
    cal__mutex_acquire(&lock);
    struct cal__rows_table *table = atomic_load_explicit(&cal__rows_table, memory_order_relaxed);
    for (uint64_t i = 0; table != NULL && i <= table->mask; i++) {
        uint64_t first = atomic_load_explicit(&table->words[i][0], memory_order_relaxed);
        if (first != 0 && first != FORGOTTEN && is_of_gone_module(cal__rows_from(first, 0)))
            atomic_store_explicit(&table->words[i][0], FORGOTTEN, memory_order_relaxed);
    }
    atomic_fetch_add_explicit(&cal__rows_epoch, 1, memory_order_release);
    cal__mutex_release(&lock);
}

void cal__rows_fork_prepare(void)
{
    cal__mutex_acquire(&lock);
}

void cal__rows_fork_done(bool in_child)
{
    cal__mutex_release_after_fork(&lock, in_child);
}
