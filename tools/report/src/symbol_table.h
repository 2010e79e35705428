/* The functions of a module's symbol tables, by address. libdwfl's own look-up goes through the whole table
 * for each address. */
#ifndef CAL_REPORT_SYMBOL_TABLE_H
#define CAL_REPORT_SYMBOL_TABLE_H

#include <elfutils/libdwfl.h>

struct cal__symbol_table;

/* The names stay libdwfl's: not beyond the module. */
struct cal__symbol_table *cal__symbol_table_new(Dwfl_Module *module);
void cal__symbol_table_free(struct cal__symbol_table *table);

/* The mangled name of what is at an address of libdwfl's; NULL: nothing is known to be there. */
const char *cal__symbol_table_find(const struct cal__symbol_table *table, GElf_Addr address);

#endif
