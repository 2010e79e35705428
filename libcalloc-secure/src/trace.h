/* Where in the program a call came from: return addresses outside of the library, found with the unwind
 * tables that exceptions use, so that no frame pointers are needed.
 *
 * The unwinder is GCC's, linked in: it allocates only where tables were registered with it by hand, which nobody can do
 * with this copy of it; where there is no copy, in programs that the library is linked into, there are no traces. What
 * it reads are the tables of the objects on the stack; a stack that has been overwritten ends the trace, and may fault.
 * The call that came into the library is found with the frames of the library alone, which are what was just put
 * there. */
#ifndef CAL_TRACE_H
#define CAL_TRACE_H

#include "base.h"
#include "report.h"

/* Looks where this library and the core lie: without it their own frames are in the traces too. Does not allocate,
 * takes no lock, preserves errno. */
void cal__trace_start(void);

/* The innermost frames; NULL after the last. Some ten microseconds the first time, later about one. Takes no lock,
 * allocates nothing; not for signal handlers. */
void cal__trace(struct cal__frames *frames);

/* The innermost frame, or NULL. As cal__trace(). */
const void *cal__trace_site(void);

/* cal__report() for something that was just found: it says where the call came from. Thread-safe, preserves
 * errno, not for signal handlers. */
void cal__trace_report(struct cal__report *report, enum cal__consequence consequence);

#endif
