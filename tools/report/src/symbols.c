/* One module at a time is open, so that the memory needed is that of the largest. */
#include "symbols.h"

#include <dwarf.h>
#include <elfutils/libdwfl.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "demangle.h"
#include "dwarf_index.h"
#include "symbol_table.h"
#include <allocate.h>

static const char usual_directories[] = "/usr/lib/debug";

/* --- finding the file ------------------------------------------------------------- */

/* DIRECTORY/.build-id/ab/cdef….debug, for the first of the directories that has it, in new memory. */
static char *debug_file_of(const char *directories, const struct cal__symbols_module *module)
{
    enum { LONGEST = 64 };
    char digits[2 * LONGEST + 1];
    if (module->build_id_length < 2 || module->build_id_length > LONGEST)
        return NULL;
    for (size_t i = 0; i < module->build_id_length; i++)
        snprintf(digits + 2 * i, 3, "%02x", module->build_id[i]);
    for (const char *from = directories; *from != '\0';) {
        size_t length = strcspn(from, ":");
        char *path = cal__allocate_format("%.*s/.build-id/%.2s/%s.debug", (int)length, from, digits,
                                          digits + 2);
        if (access(path, R_OK) == 0)
            return path;
        free(path);
        from += length + (from[length] == ':');
    }
    return NULL;
}

static bool same_build(Dwfl_Module *opened, const struct cal__symbols_module *module)
{
    const unsigned char *build_id;
    GElf_Addr address;
    int length = dwfl_module_build_id(opened, &build_id, &address);
    return module->build_id_length == 0 ||
           (length > 0 && (size_t)length == module->build_id_length &&
            memcmp(build_id, module->build_id, module->build_id_length) == 0);
}

/* The module in a file, reported to `dwfl`; NULL and the reason when it cannot be. */
static Dwfl_Module *open_module(Dwfl *dwfl, const struct cal__symbols_paths *paths,
                                const struct cal__symbols_module *module, const char *directories,
                                char **why)
{
    char *path = cal__allocate_format("%s%s", paths->sysroot ? paths->sysroot : "", module->path);
    char *debug_file = NULL;
    Dwfl_Module *opened = NULL;
    dwfl_report_begin(dwfl);
    /* Opened here: a name such as [vdso] is not that of a file, and neither is one with a newline. */
    int descriptor = path[0] == '/' ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (descriptor < 0) {
        *why = cal__allocate_format("no file \"%s\"", path);
    } else {
        opened = dwfl_report_offline(dwfl, path, path, descriptor);
        if (opened == NULL) {
            *why = cal__allocate_format("\"%s\": %s", path, dwfl_errmsg(-1));
            close(descriptor);
        } else if (!same_build(opened, module)) {
            *why = cal__allocate_format(
                "\"%s\" is not the file that the process had (another build-id)", path);
            opened = NULL;
        }
    }
    if (opened == NULL && (debug_file = debug_file_of(directories, module)) != NULL) {
        dwfl_report_begin(dwfl); /* and so drops the wrong one */
        opened = dwfl_report_offline(dwfl, debug_file, debug_file, -1);
        if (opened != NULL && !same_build(opened, module))
            opened = NULL;
        if (opened != NULL) {
            free(*why);
            *why = NULL;
        }
    }
    dwfl_report_end(dwfl, NULL, NULL);
    free(debug_file);
    free(path);
    return opened;
}

/* --- looking up --------------------------------------------------------------------- */

struct lookup {
    Dwfl_Module *module;
    GElf_Addr bias; /* from the addresses of the file to libdwfl's */
    Dwarf_Addr dwarf_bias;
    struct cal__dwarf_index *index; /* NULL: no debugging information */
    struct cal__symbol_table *table;
    struct cal__symbol symbols[CAL__DWARF_DEPTH];
    char *names[CAL__DWARF_DEPTH]; /* what is to be freed of them */
};

/* As DWARF has it: the linkage name says more than the plain one, which lacks the class and parameters.
 * Static functions that were inlined everywhere have only the plain one. */
static char *name_of(struct cal__dwarf_index *index, Dwarf_Die *die)
{
    enum { STEPS = 8 };
    Dwarf_Attribute attribute;
    Dwarf_Die named = *die;
    const char *name = NULL;
    if (dwarf_attr_integrate(die, DW_AT_linkage_name, &attribute) != NULL ||
        dwarf_attr_integrate(die, DW_AT_MIPS_linkage_name, &attribute) != NULL)
        name = dwarf_formstring(&attribute);
    if (name != NULL)
        return cal__demangle(name);
    for (int step = 0; step < STEPS && !dwarf_hasattr(&named, DW_AT_name); step++)
        if ((dwarf_attr(&named, DW_AT_abstract_origin, &attribute) == NULL &&
             dwarf_attr(&named, DW_AT_specification, &attribute) == NULL) ||
            dwarf_formref_die(&attribute, &named) == NULL)
            return NULL;
    name = dwarf_diename(&named);
    return name ? cal__allocate_format("%s%s", cal__dwarf_index_scope(index, &named), name) : NULL;
}

static unsigned number_of(Dwarf_Die *die, unsigned name)
{
    Dwarf_Attribute attribute;
    Dwarf_Word value;
    return dwarf_attr(die, name, &attribute) != NULL && dwarf_formudata(&attribute, &value) == 0
               ? (unsigned)value
               : 0;
}

/* The file that an inlined function was called in. Number 0 is one like others since DWARF 5. */
static const char *call_file(Dwarf_Die *unit, Dwarf_Die *die)
{
    Dwarf_Attribute attribute;
    Dwarf_Word number;
    Dwarf_Files *files;
    size_t count;
    if (dwarf_attr(die, DW_AT_call_file, &attribute) == NULL ||
        dwarf_formudata(&attribute, &number) != 0 || dwarf_getsrcfiles(unit, &files, &count) != 0 ||
        number >= count)
        return NULL;
    const char *name = dwarf_filesrc(files, number, NULL, NULL);
    return name != NULL && strcmp(name, "???") != 0 ? name : NULL;
}

static unsigned by_dwarf(struct lookup *lookup, GElf_Addr address)
{
    Dwarf_Die scopes[CAL__DWARF_DEPTH], *unit;
    Dwarf_Addr inside = address - lookup->dwarf_bias;
    unsigned count = cal__dwarf_index_scopes(lookup->index, inside, scopes, &unit);
    if (count == 0)
        return 0;
    Dwarf_Line *line = dwarf_getsrc_die(unit, inside);
    int number = 0;
    const char *file = line ? dwarf_linesrc(line, NULL, NULL) : NULL;
    if (line)
        dwarf_lineno(line, &number);
    /* Innermost first. An inlined function's own entry says where it was called, which is the
     * position in the function around it. */
    for (unsigned i = 0; i < count; i++) {
        Dwarf_Die *die = &scopes[count - 1 - i];
        lookup->names[i] = name_of(lookup->index, die);
        lookup->symbols[i] = (struct cal__symbol){lookup->names[i], file, (unsigned)number};
        if (i + 1 < count) {
            file = call_file(unit, die);
            number = (int)number_of(die, DW_AT_call_line);
        }
    }
    return count;
}

/* Symbol tables know the functions of assembly, and all of them where there is no more. */
static char *by_symbol_table(const struct lookup *lookup, GElf_Addr address)
{
    const char *name = cal__symbol_table_find(lookup->table, address);
    if (name == NULL)
        return NULL;
    /* "@GLIBC_2.2.5" is nothing that anybody wrote. */
    char *plain = cal__allocate_string(name, strcspn(name, "@"));
    char *demangled = cal__demangle(plain);
    free(plain);
    return demangled;
}

static void look_up(struct lookup *lookup, uint64_t address, size_t index, cal__symbols_take *take,
                    void *context)
{
    GElf_Addr inside = address + lookup->bias;
    unsigned count = lookup->index ? by_dwarf(lookup, inside) : 0;
    if (count == 0) {
        lookup->names[0] = by_symbol_table(lookup, inside);
        lookup->symbols[0] = (struct cal__symbol){.function = lookup->names[0]};
        count = lookup->names[0] != NULL;
    } else if (lookup->symbols[count - 1].function == NULL) {
        lookup->names[count - 1] = by_symbol_table(lookup, inside);
        lookup->symbols[count - 1].function = lookup->names[count - 1];
    }
    take(context, index, lookup->symbols, count);
    for (unsigned i = 0; i < count; i++)
        free(lookup->names[i]);
}

enum cal__symbols_found cal__symbols_look_up(const struct cal__symbols_paths *paths,
                                             const struct cal__symbols_module *module,
                                             const uint64_t *addresses, size_t count,
                                             cal__symbols_take *take, void *context, char **why)
{
    const char *directories =
        paths->debug_directories ? paths->debug_directories : usual_directories;
    /* The first, empty part: beside the file and below its .debug/; "+": check sums are looked at. */
    char *search = cal__allocate_format("+:.debug:%s", directories);
    const Dwfl_Callbacks callbacks = {
        .find_elf = dwfl_build_id_find_elf,
        .find_debuginfo = dwfl_standard_find_debuginfo,
        .section_address = dwfl_offline_section_address,
        .debuginfo_path = &search,
    };
    enum cal__symbols_found found = CAL__SYMBOLS_NOTHING;
    struct lookup lookup = {0};
    *why = NULL;
    Dwfl *dwfl = dwfl_begin(&callbacks);
    if (dwfl != NULL)
        lookup.module = open_module(dwfl, paths, module, directories, why);
    else
        *why = cal__allocate_format("%s", dwfl_errmsg(-1));
    if (lookup.module != NULL && dwfl_module_getelf(lookup.module, &lookup.bias) == NULL) {
        *why = cal__allocate_format("\"%s\": %s", module->path, dwfl_errmsg(-1));
        lookup.module = NULL;
    }
    if (lookup.module != NULL) {
        Dwarf *dwarf = dwfl_module_getdwarf(lookup.module, &lookup.dwarf_bias);
        lookup.table = cal__symbol_table_new(lookup.module);
        if (dwarf != NULL)
            lookup.index = cal__dwarf_index_new(dwarf);
        found = dwarf ? CAL__SYMBOLS_LINES : CAL__SYMBOLS_NAMES;
    }
    for (size_t i = 0; i < count; i++) {
        if (lookup.module != NULL)
            look_up(&lookup, addresses[i], i, take, context);
        else
            take(context, i, NULL, 0);
    }
    cal__dwarf_index_free(lookup.index);
    cal__symbol_table_free(lookup.table);
    if (dwfl != NULL)
        dwfl_end(dwfl);
    free(search);
    return found;
}
