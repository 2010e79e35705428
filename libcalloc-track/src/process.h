/* What the kernel tells of this process. */
#ifndef CAL_TRACK_PROCESS_H
#define CAL_TRACK_PROCESS_H

#include "base.h"

/* The first bytes of a file, at most SIZE - 1, and '\0' behind them; the length, which is 0 where it cannot be read. */
size_t cal__process_file(const char *path, char *bytes, size_t size);

/* The path of the executable, and the arguments with spaces between them; "" where they are not known. */
void cal__process_program(char *path, size_t size);
void cal__process_command_line(char *text, size_t size);

/* False: the program is linked statically, and this library with it. */
bool cal__process_has_loader(void);

#endif
