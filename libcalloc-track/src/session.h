/* The library as a whole: on, off, profiles and leaks on demand and at the end. */
#ifndef CAL_TRACK_SESSION_H
#define CAL_TRACK_SESSION_H

#include <signal.h>

#include "base.h"
#include "format.h"
#include "leaks.h"

extern const struct cal_lifecycle cal__session_lifecycle;
extern const struct cal_observer cal__session_observer;

/* The recorder is set up; at the core's start, or later. 0, or a negative errno. LATE: the program has allocated
 * without it. */
int cal__session_begin(bool late);
bool cal__session_begun(void);

/* What belongs into a constructor: handlers of signals, suppressions. */
void cal__session_complete(void);

/* Whether this is the handler of signals that would end the process. */
bool cal__session_catches(void (*handler)(int number, siginfo_t *information, void *context));

int cal__session_switch(bool on);
bool cal__session_active(void);

/* PATH NULL: that of the settings. */
int cal__session_dump(enum cal__dump_reason reason, const char *path, bool leaks);
int cal__session_leaks(struct cal__leaks *leaks);

#endif
