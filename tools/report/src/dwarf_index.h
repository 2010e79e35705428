/* Which function, and which inlined ones inside it, an address belongs to by DWARF.
 *
 * libdw's own look-up walks a whole compilation unit for each address, and its table of
 * units is not there in what clang makes. Here the units are indexed once, and the functions
 * of a unit when an address first falls into it. */
#ifndef CAL_REPORT_DWARF_INDEX_H
#define CAL_REPORT_DWARF_INDEX_H

#include <elfutils/libdw.h>

struct cal__dwarf_index;

/* Indexes the units of `dwarf`, which stays open as long as the index. */
struct cal__dwarf_index *cal__dwarf_index_new(Dwarf *dwarf);
void cal__dwarf_index_free(struct cal__dwarf_index *index);

enum { CAL__DWARF_DEPTH = 64 }; /* inlined functions inside each other that are told apart */

/* The scopes of `address`, outermost (a function) first, the rest inlined ones; their number, which is
 * 0 where no function is known. `*unit` is the compilation unit, or NULL. */
unsigned cal__dwarf_index_scopes(struct cal__dwarf_index *index, Dwarf_Addr address,
                                 Dwarf_Die scopes[CAL__DWARF_DEPTH], Dwarf_Die **unit);

/* What a function is inside of, "shapes::Circle::", or "": for those that have no linkage name, as
 * what was inlined everywhere. `die` is the one that has the name. Valid as long as the index. */
const char *cal__dwarf_index_scope(struct cal__dwarf_index *index, Dwarf_Die *die);

#endif
