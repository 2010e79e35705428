#include "symbols.h"

#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* COUNT things of SIZE at OFFSET of the file, or NULL where that is not all in it. */
static const void *part(const struct cal__symbols *symbols, uint64_t offset, uint64_t count,
                        uint64_t size)
{
    if (offset > symbols->length || (size != 0 && count > (symbols->length - offset) / size))
        return NULL;
    return symbols->file + offset;
}

static bool look_for_table(struct cal__symbols *symbols, uint32_t type)
{
    const ElfW(Ehdr) *header = part(symbols, 0, 1, sizeof *header);
    if (header == NULL || memcmp(header->e_ident, ELFMAG, SELFMAG) != 0 ||
        header->e_ident[EI_CLASS] != ELFCLASS64 || header->e_shentsize != sizeof(ElfW(Shdr)))
        return false;
    const ElfW(Shdr) *sections = part(symbols, header->e_shoff, header->e_shnum, sizeof *sections);
    for (size_t i = 0; sections != NULL && i < header->e_shnum; i++) {
        if (sections[i].sh_type != type || sections[i].sh_link >= header->e_shnum)
            continue;
        const ElfW(Shdr) *names = &sections[sections[i].sh_link];
        symbols->count = sections[i].sh_size / sizeof(ElfW(Sym));
        symbols->symbols = part(symbols, sections[i].sh_offset, symbols->count, sizeof(ElfW(Sym)));
        symbols->names = part(symbols, names->sh_offset, names->sh_size, 1);
        symbols->names_length = names->sh_size;
        /* The names end with one that is complete. */
        return symbols->symbols != NULL && symbols->names != NULL && names->sh_size != 0 &&
               symbols->names[names->sh_size - 1] == '\0';
    }
    return false;
}

bool cal__symbols_open(struct cal__symbols *symbols, const char *path)
{
    struct stat status;
    *symbols = (struct cal__symbols){.file = NULL};
    int file =
        (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (file < 0)
        return false;
    void *mapping = MAP_FAILED;
    if (fstat(file, &status) == 0 && S_ISREG(status.st_mode) && status.st_size > 0)
        mapping = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, file, 0);
    syscall(SYS_close, file);
    if (mapping == MAP_FAILED)
        return false;
    symbols->file = mapping;
    symbols->length = (size_t)status.st_size;
    if (look_for_table(symbols, SHT_SYMTAB) || look_for_table(symbols, SHT_DYNSYM))
        return true;
    cal__symbols_close(symbols);
    return false;
}

void cal__symbols_close(struct cal__symbols *symbols)
{
    if (symbols->file != NULL)
        munmap((void *)symbols->file, symbols->length);
    *symbols = (struct cal__symbols){.file = NULL};
}

const char *cal__symbols_find(const struct cal__symbols *symbols, uintptr_t address)
{
    const char *table = symbols->symbols;
    for (size_t i = 0; i < symbols->count; i++) {
        ElfW(Sym) symbol;
        memcpy(&symbol, table + i * sizeof symbol, sizeof symbol);
        if (ELF64_ST_TYPE(symbol.st_info) == STT_FUNC && symbol.st_shndx != SHN_UNDEF &&
            address >= symbol.st_value && address - symbol.st_value < symbol.st_size &&
            symbol.st_name < symbols->names_length)
            return symbols->names + symbol.st_name;
    }
    return NULL;
}
