#include "elf_file.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#if defined(__x86_64__)
#    define NATIVE_MACHINE EM_X86_64
#elif defined(__aarch64__)
#    define NATIVE_MACHINE EM_AARCH64
#elif defined(__riscv)
#    define NATIVE_MACHINE EM_RISCV
#elif defined(__powerpc64__)
#    define NATIVE_MACHINE EM_PPC64
#elif defined(__loongarch__)
#    define NATIVE_MACHINE 258
#else
#    error "the number of this machine in ELF files is missing here"
#endif

/* More than any real file has; a bound for what garbage can make us do. */
enum { SEGMENTS_MAX = 256, DYNAMIC_MAX = 4096, SYMBOLS_MAX = 1 << 24, BUCKETS_MAX = 1 << 24 };

struct segment {
    uint32_t type;
    uint64_t offset, address, file_size;
};

/* A file, and what its header says, of either class. */
struct file {
    int descriptor;
    uint64_t size;
    bool is_64;
    uint16_t machine;
    uint64_t headers; /* offset of the program headers */
    unsigned header_size;
    unsigned count;
    struct segment segments[SEGMENTS_MAX];
};

/* What the dynamic section says; addresses are of memory, 0: none. */
struct dynamic {
    uint64_t strings, strings_size;
    uint64_t symbols;
    uint64_t hash, gnu_hash;
    uint64_t soname; /* offset in the strings */
    bool has_soname;
};

struct symbol {
    uint32_t name;
    unsigned char info;
    unsigned char other;
    uint16_t section;
};

static int read_at(const struct file *file, uint64_t offset, void *buffer, size_t size)
{
    if (offset > file->size || size > file->size - offset)
        return -EBADMSG;
    for (size_t done = 0; done < size;) {
        ssize_t got =
            pread(file->descriptor, (char *)buffer + done, size - done, (off_t)(offset + done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -errno;
        if (got == 0)
            return -EBADMSG;
        done += (size_t)got;
    }
    return 0;
}

static int read_header(struct file *file)
{
    if (file->is_64) {
        Elf64_Ehdr header;
        int error = read_at(file, 0, &header, sizeof header);
        if (error != 0)
            return error;
        file->machine = header.e_machine;
        file->headers = header.e_phoff;
        file->count = header.e_phnum;
        file->header_size = header.e_phentsize;
        return file->header_size < sizeof(Elf64_Phdr) && file->count != 0 ? -EBADMSG : 0;
    }
    Elf32_Ehdr header;
    int error = read_at(file, 0, &header, sizeof header);
    if (error != 0)
        return error;
    file->machine = header.e_machine;
    file->headers = header.e_phoff;
    file->count = header.e_phnum;
    file->header_size = header.e_phentsize;
    return file->header_size < sizeof(Elf32_Phdr) && file->count != 0 ? -EBADMSG : 0;
}

static int read_segment(const struct file *file, uint64_t offset, struct segment *segment)
{
    if (file->is_64) {
        Elf64_Phdr header;
        int error = read_at(file, offset, &header, sizeof header);
        if (error == 0)
            *segment =
                (struct segment){header.p_type, header.p_offset, header.p_vaddr, header.p_filesz};
        return error;
    }
    Elf32_Phdr header;
    int error = read_at(file, offset, &header, sizeof header);
    if (error == 0)
        *segment =
            (struct segment){header.p_type, header.p_offset, header.p_vaddr, header.p_filesz};
    return error;
}

static int read_segments(struct file *file)
{
    if (file->count > SEGMENTS_MAX || file->headers > file->size)
        return -EBADMSG;
    for (unsigned i = 0; i < file->count; i++) {
        int error =
            read_segment(file, file->headers + (uint64_t)i * file->header_size, &file->segments[i]);
        if (error != 0)
            return error;
    }
    return 0;
}

static int open_elf(struct file *file, int descriptor)
{
    unsigned char identity[EI_NIDENT];
    struct stat status = {.st_mode = 0};
    if (fstat(descriptor, &status) != 0)
        return -errno;
    if (!S_ISREG(status.st_mode))
        return -ENOEXEC;
    file->descriptor = descriptor;
    file->size = (uint64_t)status.st_size;
    int error = read_at(file, 0, identity, sizeof identity);
    if (error != 0)
        return error == -EBADMSG ? -ENOEXEC : error;
    if (memcmp(identity, ELFMAG, SELFMAG) != 0 || identity[EI_DATA] != ELFDATA2LSB ||
        (identity[EI_CLASS] != ELFCLASS64 && identity[EI_CLASS] != ELFCLASS32))
        return -ENOEXEC;
    file->is_64 = identity[EI_CLASS] == ELFCLASS64;
    error = read_header(file);
    return error != 0 ? error : read_segments(file);
}

/* The first segment of a type, or NULL. */
static const struct segment *find_segment(const struct file *file, uint32_t type)
{
    for (unsigned i = 0; i < file->count; i++)
        if (file->segments[i].type == type)
            return &file->segments[i];
    return NULL;
}

/* What is loaded must be there: a file that was cut short has segments that it does not hold. */
static int check_segments(const struct file *file)
{
    for (unsigned i = 0; i < file->count; i++) {
        const struct segment *segment = &file->segments[i];
        if (segment->type == PT_LOAD &&
            (segment->offset > file->size || segment->file_size > file->size - segment->offset))
            return -EBADMSG;
    }
    return 0;
}

/* SIZE bytes from an address of memory. */
static int read_memory(const struct file *file, uint64_t address, void *buffer, size_t size)
{
    for (unsigned i = 0; i < file->count; i++) {
        const struct segment *segment = &file->segments[i];
        uint64_t inside = address - segment->address;
        if (segment->type != PT_LOAD || address < segment->address || inside > segment->file_size ||
            size > segment->file_size - inside)
            continue;
        return segment->offset > UINT64_MAX - inside
                   ? -EBADMSG
                   : read_at(file, segment->offset + inside, buffer, size);
    }
    return -EBADMSG;
}

/* The same in memory of its own, to be freed, which the file is large enough to fill; NULL and *ERROR
 * otherwise. */
static void *take_memory(const struct file *file, uint64_t address, uint64_t size, int *error)
{
    if (size > file->size) {
        *error = -EBADMSG;
        return NULL;
    }
    void *taken = allocate(size);
    *error = read_memory(file, address, taken, size);
    if (*error == 0)
        return taken;
    free(taken);
    return NULL;
}

/* Copies a string, ended with '\0', to at most ELF_NAME_MAX bytes; a longer one is an error. READ is
 * read_at or read_memory. */
static int read_string(const struct file *file,
                       int (*read)(const struct file *, uint64_t, void *, size_t), uint64_t from,
                       char *buffer)
{
    for (size_t i = 0; i < ELF_NAME_MAX; i++) {
        int error = from > UINT64_MAX - i ? -EBADMSG : read(file, from + i, buffer + i, 1);
        if (error != 0)
            return error;
        if (buffer[i] == '\0')
            return 0;
    }
    return -EBADMSG;
}

/* --- the dynamic section ---------------------------------------------------------- */

static int read_entry(const struct file *file, uint64_t offset, int64_t *tag, uint64_t *value)
{
    if (file->is_64) {
        Elf64_Dyn entry;
        int error = read_at(file, offset, &entry, sizeof entry);
        if (error == 0)
            *tag = entry.d_tag, *value = entry.d_un.d_val;
        return error;
    }
    Elf32_Dyn entry;
    int error = read_at(file, offset, &entry, sizeof entry);
    if (error == 0)
        *tag = entry.d_tag, *value = entry.d_un.d_val;
    return error;
}

/* Calls SEE for each entry. 0, -ENOENT where there is no such section, or another error. */
static int each_entry(const struct file *file, void (*see)(int64_t, uint64_t, void *), void *data)
{
    const struct segment *segment = find_segment(file, PT_DYNAMIC);
    if (segment == NULL)
        return -ENOENT;
    size_t size = file->is_64 ? sizeof(Elf64_Dyn) : sizeof(Elf32_Dyn);
    if (segment->offset > file->size)
        return -EBADMSG;
    for (uint64_t i = 0; i < DYNAMIC_MAX && (i + 1) * size <= segment->file_size; i++) {
        int64_t tag = DT_NULL;
        uint64_t value = 0;
        int error = read_entry(file, segment->offset + i * size, &tag, &value);
        if (error != 0)
            return error;
        if (tag == DT_NULL)
            return 0;
        see(tag, value, data);
    }
    return 0;
}

static void see_entry(int64_t tag, uint64_t value, void *data)
{
    struct dynamic *dynamic = data;
    switch (tag) {
    case DT_STRTAB:
        dynamic->strings = value;
        break;
    case DT_STRSZ:
        dynamic->strings_size = value;
        break;
    case DT_SYMTAB:
        dynamic->symbols = value;
        break;
    case DT_HASH:
        dynamic->hash = value;
        break;
    case DT_GNU_HASH:
        dynamic->gnu_hash = value;
        break;
    case DT_SONAME:
        dynamic->soname = value;
        dynamic->has_soname = true;
        break;
    default:
        break;
    }
}

static int read_dynamic(const struct file *file, struct dynamic *dynamic)
{
    *dynamic = (struct dynamic){.strings = 0};
    return each_entry(file, see_entry, dynamic);
}

/* The string at OFFSET of the dynamic strings. */
static int dynamic_string(const struct file *file, const struct dynamic *dynamic, uint64_t offset,
                          char *buffer)
{
    if (offset >= dynamic->strings_size || dynamic->strings > UINT64_MAX - offset)
        return -EBADMSG;
    return read_string(file, read_memory, dynamic->strings + offset, buffer);
}

int elf_read(int descriptor, struct elf_facts *facts)
{
    struct file file;
    *facts = (struct elf_facts){.machine = 0};
    int error = open_elf(&file, descriptor);
    if (error == 0)
        error = check_segments(&file);
    if (error != 0)
        return error;
    facts->is_64 = file.is_64;
    facts->machine = file.machine;
    const struct segment *segment = find_segment(&file, PT_INTERP);
    if (segment != NULL)
        error = read_string(&file, read_at, segment->offset, facts->interpreter);
    if (error != 0)
        return error;
    struct dynamic dynamic;
    error = read_dynamic(&file, &dynamic);
    if (error == -ENOENT)
        return 0;
    facts->is_dynamic = error == 0;
    if (error == 0 && dynamic.has_soname)
        error = dynamic_string(&file, &dynamic, dynamic.soname, facts->soname);
    return error;
}

bool elf_is_native(const struct elf_facts *facts)
{
    return facts->machine == NATIVE_MACHINE && facts->is_64 == (sizeof(void *) == 8);
}

/* --- symbols ---------------------------------------------------------------------- */

/* The number of symbols is in the old hash table ... */
static int count_by_hash(const struct file *file, uint64_t table, uint64_t *count)
{
    uint32_t header[2] = {0, 0};
    int error = read_memory(file, table, header, sizeof header);
    *count = header[1];
    return error;
}

/* ... and in the new one has to be looked for: behind the highest index of a bucket, at the end of its
 * chain. */
static int count_by_gnu_hash(const struct file *file, uint64_t table, uint64_t *count)
{
    uint32_t header[4] = {0}; /* buckets, first symbol, words of the filter, shift */
    int error = read_memory(file, table, header, sizeof header);
    if (error != 0)
        return error;
    if (header[0] > BUCKETS_MAX || header[2] > BUCKETS_MAX)
        return -EBADMSG;
    uint64_t buckets = table + sizeof header + (uint64_t)header[2] * (file->is_64 ? 8 : 4);
    uint64_t chains = buckets + (uint64_t)header[0] * 4;
    uint32_t last = 0, *first = take_memory(file, buckets, (uint64_t)header[0] * 4, &error);
    if (first == NULL)
        return error;
    for (uint32_t i = 0; i < header[0]; i++)
        if (first[i] > last)
            last = first[i];
    free(first);
    *count = header[1];
    if (last < header[1])
        return 0;
    for (;; last++) {
        uint32_t hash;
        error = read_memory(file, chains + (uint64_t)(last - header[1]) * 4, &hash, sizeof hash);
        if (error != 0)
            return error;
        if ((hash & 1) != 0)
            break;
    }
    *count = (uint64_t)last + 1;
    return 0;
}

static int count_symbols(const struct file *file, const struct dynamic *dynamic, uint64_t *count)
{
    int error = -EBADMSG;
    if (dynamic->hash != 0)
        error = count_by_hash(file, dynamic->hash, count);
    else if (dynamic->gnu_hash != 0)
        error = count_by_gnu_hash(file, dynamic->gnu_hash, count);
    return error == 0 && *count > SYMBOLS_MAX ? -EBADMSG : error;
}

static struct symbol symbol_at(const struct file *file, const void *table, uint64_t index)
{
    if (file->is_64) {
        const Elf64_Sym *entry = (const Elf64_Sym *)table + index;
        return (struct symbol){entry->st_name, entry->st_info, entry->st_other, entry->st_shndx};
    }
    const Elf32_Sym *entry = (const Elf32_Sym *)table + index;
    return (struct symbol){entry->st_name, entry->st_info, entry->st_other, entry->st_shndx};
}

static bool is_exported(const struct symbol *symbol)
{
    unsigned binding = ELF64_ST_BIND(symbol->info), type = ELF64_ST_TYPE(symbol->info);
    unsigned visibility = ELF64_ST_VISIBILITY(symbol->other);
    return symbol->section != SHN_UNDEF &&
           (binding == STB_GLOBAL || binding == STB_WEAK || binding == STB_GNU_UNIQUE) &&
           (visibility == STV_DEFAULT || visibility == STV_PROTECTED) &&
           (type == STT_FUNC || type == STT_GNU_IFUNC || type == STT_OBJECT || type == STT_NOTYPE);
}

/* 1 or 0; -EBADMSG where a name lies outside of the strings. */
static int find_symbol(const struct file *file, const void *symbols, uint64_t count,
                       const char *strings, uint64_t strings_size, const char *name)
{
    size_t size = strlen(name) + 1;
    for (uint64_t i = 1; i < count; i++) {
        struct symbol symbol = symbol_at(file, symbols, i);
        if (!is_exported(&symbol))
            continue;
        if (symbol.name >= strings_size)
            return -EBADMSG;
        if (size <= strings_size - symbol.name && memcmp(strings + symbol.name, name, size) == 0)
            return 1;
    }
    return 0;
}

int elf_exports(int descriptor, const char *name)
{
    struct file file;
    struct dynamic dynamic;
    int error = open_elf(&file, descriptor);
    if (error == 0)
        error = read_dynamic(&file, &dynamic);
    if (error == -ENOENT)
        return 0;
    uint64_t count = 0;
    if (error == 0)
        error = count_symbols(&file, &dynamic, &count);
    if (error != 0)
        return error;
    size_t size = file.is_64 ? sizeof(Elf64_Sym) : sizeof(Elf32_Sym);
    void *symbols = take_memory(&file, dynamic.symbols, count * size, &error);
    char *strings =
        error == 0 ? take_memory(&file, dynamic.strings, dynamic.strings_size, &error) : NULL;
    int result = error != 0
                     ? error
                     : find_symbol(&file, symbols, count, strings, dynamic.strings_size, name);
    free(symbols);
    free(strings);
    return result;
}

/* --- needed libraries --------------------------------------------------------------- */

struct needed {
    const struct file *file;
    const struct dynamic *dynamic;
    void (*call)(const char *name, void *data);
    void *data;
};

static void see_needed(int64_t tag, uint64_t value, void *data)
{
    const struct needed *needed = data;
    char name[ELF_NAME_MAX];
    if (tag == DT_NEEDED && dynamic_string(needed->file, needed->dynamic, value, name) == 0)
        needed->call(name, needed->data);
}

int elf_needed(int descriptor, void (*call)(const char *name, void *data), void *data)
{
    struct file file;
    struct dynamic dynamic;
    int error = open_elf(&file, descriptor);
    if (error == 0)
        error = read_dynamic(&file, &dynamic);
    if (error != 0)
        return error == -ENOENT ? 0 : error;
    struct needed needed = {&file, &dynamic, call, data};
    return each_entry(&file, see_needed, &needed);
}

/* --- by path ------------------------------------------------------------------------ */

static int open_path(const char *path)
{
    int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    return descriptor < 0 ? -errno : descriptor;
}

int elf_read_path(const char *path, struct elf_facts *facts)
{
    int descriptor = open_path(path);
    if (descriptor < 0) {
        *facts = (struct elf_facts){.machine = 0};
        return descriptor;
    }
    int result = elf_read(descriptor, facts);
    close(descriptor);
    return result;
}

int elf_exports_path(const char *path, const char *name)
{
    int descriptor = open_path(path);
    if (descriptor < 0)
        return descriptor;
    int result = elf_exports(descriptor, name);
    close(descriptor);
    return result;
}

const char *elf_error(int error)
{
    switch (error) {
    case -ENOEXEC:
        return "is not an ELF file";
    case -EBADMSG:
        return "is truncated or damaged";
    default:
        return strerror(-error);
    }
}
