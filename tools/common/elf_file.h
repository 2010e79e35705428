/* Reading ELF files: what kind of program or library it is, and what it exports. Every offset is checked
 * against the file, which may be truncated or garbage; it is read and not mapped, as it may shrink
 * meanwhile. Little-endian ones of 32 and 64 bits. */
#ifndef TOOLS_ELF_FILE_H
#define TOOLS_ELF_FILE_H

#include <stdint.h>

#include "text.h"

enum { ELF_NAME_MAX = 256 };

struct elf_facts {
    bool is_64;
    uint16_t machine;               /* EM_X86_64 … */
    bool is_dynamic;                /* has a dynamic section */
    char interpreter[ELF_NAME_MAX]; /* the dynamic loader that a program asks for; "": none */
    char soname[ELF_NAME_MAX];      /* "": none */
};

/* 0; -ENOEXEC: not an ELF file, or of a kind that is not read; -EBADMSG: truncated or damaged; or another
 * negative errno. */
int elf_read(int descriptor, struct elf_facts *facts);
int elf_read_path(const char *path, struct elf_facts *facts);

/* Whether it is for the machine that this program runs on. */
bool elf_is_native(const struct elf_facts *facts);

/* 1 where NAME is a function or variable that the file defines for others, else 0; or a negative errno as
 * above. */
int elf_exports(int descriptor, const char *name);
int elf_exports_path(const char *path, const char *name);

/* Calls NEEDED for each library that the file names as needed. 0, or a negative errno as above. */
int elf_needed(int descriptor, void (*needed)(const char *name, void *data), void *data);

/* What a negative errno of these means, in words. */
const char *elf_error(int error);

#endif
