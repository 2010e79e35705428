#include "dwarf_index.h"

#include <dwarf.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <allocate.h>

enum {
    DEEPEST = 256
}; /* nesting of namespaces and classes: a broken file may be nested without end */

struct range {
    Dwarf_Addr low, high; /* [low, high) */
    size_t what;          /* index of a unit, or of a function's entry */
};

struct ranges {
    struct range *all;
    size_t count, capacity;
};

/* A function without a linkage name, and what it is inside of. */
struct scope {
    Dwarf_Off function;
    const char *name;
};

struct unit {
    Dwarf_Die die;
    bool indexed;
    Dwarf_Die *functions;
    size_t count, capacity;
    struct ranges ranges;
    struct scope *scopes; /* by their offsets, as they come */
    size_t scope_count, scope_capacity;
};

struct cal__dwarf_index {
    struct unit *units; /* by their offsets, as they come */
    size_t count, capacity;
    char **names; /* of scopes */
    size_t name_count, name_capacity;
    struct ranges ranges;
};

static void add_ranges(struct ranges *ranges, Dwarf_Die *die, size_t what)
{
    Dwarf_Addr base, low, high;
    ptrdiff_t offset = 0;
    while ((offset = dwarf_ranges(die, offset, &base, &low, &high)) > 0) {
        /* A function that the linker dropped is left behind at address 0. */
        if (low >= high || low == 0)
            continue;
        ranges->all =
            cal__allocate_grow(ranges->all, ranges->count, &ranges->capacity, sizeof *ranges->all);
        ranges->all[ranges->count++] = (struct range){low, high, what};
    }
}

static int by_low(const void *left, const void *right)
{
    const struct range *a = left, *b = right;
    return a->low != b->low    ? (a->low < b->low ? -1 : 1)
           : a->high > b->high ? -1
                               : a->high < b->high;
}

/* The range that `address` is in, and the last one to begin where several are; NULL: none. Ranges hardly
 * ever overlap: a few steps back are enough to find one that began earlier and goes on. */
static const struct range *find(const struct ranges *ranges, Dwarf_Addr address)
{
    size_t low = 0, high = ranges->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (ranges->all[middle].low <= address)
            low = middle + 1;
        else
            high = middle;
    }
    for (unsigned steps = 0; low > 0 && steps < 16; steps++)
        if (address < ranges->all[--low].high)
            return &ranges->all[low];
    return NULL;
}

struct cal__dwarf_index *cal__dwarf_index_new(Dwarf *dwarf)
{
    struct cal__dwarf_index *index = cal__allocate_array(1, sizeof *index);
    Dwarf_CU *cu = NULL;
    uint8_t kind;
    Dwarf_Die die, split;
    while (dwarf_get_units(dwarf, cu, &cu, NULL, &kind, &die, &split) == 0) {
        if (kind != DW_UT_compile && kind != DW_UT_skeleton && kind != DW_UT_partial)
            continue;
        index->units =
            cal__allocate_grow(index->units, index->count, &index->capacity, sizeof *index->units);
        /* -gsplit-dwarf: the functions are in another file, which libdw has opened if it is there. */
        index->units[index->count] =
            (struct unit){.die = kind == DW_UT_skeleton && split.cu != NULL ? split : die};
        add_ranges(&index->ranges, &die, index->count);
        index->count++;
    }
    if (index->ranges.count > 0)
        qsort(index->ranges.all, index->ranges.count, sizeof *index->ranges.all, by_low);
    return index;
}

void cal__dwarf_index_free(struct cal__dwarf_index *index)
{
    if (index == NULL)
        return;
    for (size_t i = 0; i < index->count; i++) {
        free(index->units[i].functions);
        free(index->units[i].ranges.all);
        free(index->units[i].scopes);
    }
    for (size_t i = 0; i < index->name_count; i++)
        free(index->names[i]);
    free(index->names);
    free(index->units);
    free(index->ranges.all);
    free(index);
}

static void gather(struct cal__dwarf_index *index, struct unit *unit, Dwarf_Die *parent,
                   const char *scope, unsigned depth);

static void gather_function(struct unit *unit, Dwarf_Die *die, const char *scope)
{
    size_t before = unit->ranges.count;
    add_ranges(&unit->ranges, die, unit->count);
    if (unit->ranges.count > before) {
        unit->functions = cal__allocate_grow(unit->functions, unit->count, &unit->capacity,
                                             sizeof *unit->functions);
        unit->functions[unit->count++] = *die;
    }
    if (*scope == '\0' || dwarf_hasattr(die, DW_AT_linkage_name) || !dwarf_hasattr(die, DW_AT_name))
        return;
    unit->scopes = cal__allocate_grow(unit->scopes, unit->scope_count, &unit->scope_capacity,
                                      sizeof *unit->scopes);
    unit->scopes[unit->scope_count++] = (struct scope){dwarf_dieoffset(die), scope};
}

/* What is inside of a namespace, class or function. */
static void gather_inside(struct cal__dwarf_index *index, struct unit *unit, Dwarf_Die *die,
                          const char *scope, unsigned depth)
{
    const char *name = dwarf_diename(die);
    size_t scopes = unit->scope_count;
    /* A broken file may be nested in long names. */
    char *inner = strlen(scope) > 4096
                      ? cal__allocate_format("…::")
                      : cal__allocate_format("%s%s::", scope, name ? name : "{unnamed}");
    gather(index, unit, die, inner, depth + 1);
    if (unit->scope_count == scopes) {
        free(inner);
        return;
    }
    index->names =
        cal__allocate_grow(index->names, index->name_count, &index->name_capacity, sizeof(char *));
    index->names[index->name_count++] = inner;
}

/* Functions may be inside of namespaces, classes, modules, and of functions and blocks (lambdas, nested
 * functions). */
static void gather(struct cal__dwarf_index *index, struct unit *unit, Dwarf_Die *parent,
                   const char *scope, unsigned depth)
{
    Dwarf_Die die;
    if (depth > DEEPEST || dwarf_child(parent, &die) != 0)
        return;
    do {
        switch (dwarf_tag(&die)) {
        case DW_TAG_subprogram:
            gather_function(unit, &die, scope);
            if (dwarf_haschildren(&die))
                gather_inside(index, unit, &die, scope, depth);
            break;
        case DW_TAG_namespace:
        case DW_TAG_module:
        case DW_TAG_class_type:
        case DW_TAG_structure_type:
        case DW_TAG_union_type:
            if (dwarf_haschildren(&die))
                gather_inside(index, unit, &die, scope, depth);
            break;
        case DW_TAG_lexical_block:
            gather(index, unit, &die, scope, depth + 1);
            break;
        default:
            break;
        }
    } while (dwarf_siblingof(&die, &die) == 0);
}

static void index_functions(struct cal__dwarf_index *index, struct unit *unit)
{
    if (unit->indexed)
        return;
    unit->indexed = true;
    gather(index, unit, &unit->die, "", 0);
    if (unit->ranges.count > 0)
        qsort(unit->ranges.all, unit->ranges.count, sizeof *unit->ranges.all, by_low);
}

/* The inlined function below `parent` that holds the address. Blocks without addresses of their own are
 * looked into. */
static bool descend(Dwarf_Die *parent, Dwarf_Addr address, unsigned depth, Dwarf_Die *found)
{
    Dwarf_Die die;
    if (depth > DEEPEST || dwarf_child(parent, &die) != 0)
        return false;
    do {
        int tag = dwarf_tag(&die);
        if (tag == DW_TAG_inlined_subroutine) {
            if (dwarf_haspc(&die, address) > 0) {
                *found = die;
                return true;
            }
        } else if (tag == DW_TAG_lexical_block && descend(&die, address, depth + 1, found)) {
            return true;
        }
    } while (dwarf_siblingof(&die, &die) == 0);
    return false;
}

unsigned cal__dwarf_index_scopes(struct cal__dwarf_index *index, Dwarf_Addr address,
                                 Dwarf_Die scopes[CAL__DWARF_DEPTH], Dwarf_Die **unit_die)
{
    *unit_die = NULL;
    const struct range *range = find(&index->ranges, address);
    if (range == NULL)
        return 0;
    struct unit *unit = &index->units[range->what];
    *unit_die = &unit->die;
    index_functions(index, unit);
    const struct range *function = find(&unit->ranges, address);
    if (function == NULL)
        return 0;
    unsigned count = 0;
    scopes[count++] = unit->functions[function->what];
    while (count < CAL__DWARF_DEPTH && descend(&scopes[count - 1], address, 0, &scopes[count]))
        count++;
    return count;
}

static int by_unit_offset(const void *key, const void *element)
{
    const Dwarf_Off offset = *(const Dwarf_Off *)key;
    Dwarf_Die die = ((const struct unit *)element)->die;
    Dwarf_Off at = dwarf_dieoffset(&die);
    return offset < at ? -1 : offset > at;
}

static int by_function_offset(const void *key, const void *element)
{
    const Dwarf_Off offset = *(const Dwarf_Off *)key;
    Dwarf_Off at = ((const struct scope *)element)->function;
    return offset < at ? -1 : offset > at;
}

const char *cal__dwarf_index_scope(struct cal__dwarf_index *index, Dwarf_Die *die)
{
    Dwarf_Die unit_die;
    if (dwarf_diecu(die, &unit_die, NULL, NULL) == NULL)
        return "";
    /* With link-time optimisation it may be in another unit than the code. */
    Dwarf_Off offset = dwarf_dieoffset(&unit_die), function = dwarf_dieoffset(die);
    struct unit *unit =
        bsearch(&offset, index->units, index->count, sizeof *index->units, by_unit_offset);
    if (unit == NULL)
        return "";
    index_functions(index, unit);
    const struct scope *scope = unit->scope_count == 0
                                    ? NULL
                                    : bsearch(&function, unit->scopes, unit->scope_count,
                                              sizeof *unit->scopes, by_function_offset);
    return scope ? scope->name : "";
}
