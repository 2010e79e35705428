/* Programs ask what is done at a signal, and python for one takes SIGINT for its own only if that is the default. Where
 * it is this library that catches a signal, since nobody else did, they are told so. */
#include <signal.h>
#include <string.h>

#include "session.h"

/* glibc's own name of it. */
extern int __sigaction(int number, const struct sigaction *action, struct sigaction *old);

CAL_EXPORT int sigaction(int number, const struct sigaction *restrict action,
                         struct sigaction *restrict old)
{
    int result = __sigaction(number, action, old);
    if (result == 0 && old != NULL && (old->sa_flags & SA_SIGINFO) != 0 &&
        cal__session_catches(old->sa_sigaction)) {
        memset(old, 0, sizeof *old);
        old->sa_handler = SIG_DFL;
    }
    return result;
}
