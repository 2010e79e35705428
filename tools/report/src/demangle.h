/* Names of C++ and Rust as they are written. */
#ifndef CAL_REPORT_DEMANGLE_H
#define CAL_REPORT_DEMANGLE_H

/* What `symbol` is called in its language, in new memory for free(); a copy when it is not mangled or is
 * in no way that is known (Rust's "v0" is not). */
char *cal__demangle(const char *symbol);

#endif
