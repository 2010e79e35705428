#include "symbol_table.h"

#include <stdbool.h>
#include <stdlib.h>

#include <allocate.h>

struct symbol {
    GElf_Addr address;
    GElf_Xword size;    /* 0: not known, as of labels in assembly */
    unsigned char rank; /* of several at one address the lowest is taken: global, weak, local */
    const char *name;
};

struct cal__symbol_table {
    struct symbol *all;
    size_t count, capacity;
};

static int compare(const void *left, const void *right)
{
    const struct symbol *a = left, *b = right;
    if (a->address != b->address)
        return a->address < b->address ? -1 : 1;
    /* Of the search, which goes backwards, the last is the first. */
    if ((a->size == 0) != (b->size == 0))
        return a->size == 0 ? -1 : 1;
    return a->rank > b->rank ? -1 : a->rank < b->rank;
}

static bool is_code(const GElf_Sym *symbol, GElf_Word section)
{
    unsigned type = GELF_ST_TYPE(symbol->st_info);
    return section != SHN_UNDEF && section != SHN_ABS &&
           (type == STT_FUNC || type == STT_GNU_IFUNC || type == STT_NOTYPE);
}

struct cal__symbol_table *cal__symbol_table_new(Dwfl_Module *module)
{
    struct cal__symbol_table *table = cal__allocate_array(1, sizeof *table);
    int count = dwfl_module_getsymtab(module);
    for (int i = 1; i < count; i++) {
        GElf_Sym symbol;
        GElf_Addr address;
        GElf_Word section;
        const char *name =
            dwfl_module_getsym_info(module, i, &symbol, &address, &section, NULL, NULL);
        if (name == NULL || *name == '\0' || *name == '$' || !is_code(&symbol, section))
            continue;
        unsigned binding = GELF_ST_BIND(symbol.st_info);
        table->all =
            cal__allocate_grow(table->all, table->count, &table->capacity, sizeof *table->all);
        table->all[table->count++] = (struct symbol){
            .address = address,
            .size = symbol.st_size,
            .rank = binding == STB_GLOBAL ? 0
                    : binding == STB_WEAK ? 1
                                          : 2,
            .name = name,
        };
    }
    if (table->count > 0)
        qsort(table->all, table->count, sizeof *table->all, compare);
    return table;
}

void cal__symbol_table_free(struct cal__symbol_table *table)
{
    if (table == NULL)
        return;
    free(table->all);
    free(table);
}

const char *cal__symbol_table_find(const struct cal__symbol_table *table, GElf_Addr address)
{
    enum { STEPS = 64 }; /* aliases at one address, and small functions within a large one */
    size_t low = 0, high = table->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (table->all[middle].address <= address)
            low = middle + 1;
        else
            high = middle;
    }
    const struct symbol *label = NULL;
    for (unsigned step = 0; low > 0 && step < STEPS; step++) {
        const struct symbol *symbol = &table->all[--low];
        if (symbol->size > 0 && address - symbol->address < symbol->size)
            return symbol->name;
        /* A label goes on until the next symbol of any kind. */
        if (step == 0 && symbol->size == 0)
            label = symbol;
    }
    return label ? label->name : NULL;
}
