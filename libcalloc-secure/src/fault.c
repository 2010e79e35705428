#include "fault.h"

#include <errno.h>
#include <signal.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include "pages.h"
#include "trace.h"

/* The instruction that was interrupted. */
static const void *place_of(const void *context)
{
    const mcontext_t *machine = &((const ucontext_t *)context)->uc_mcontext;
#if defined(__x86_64__)
    return (const void *)machine->gregs[REG_RIP];
#elif defined(__aarch64__)
    return (const void *)machine->pc;
#else
    (void)machine;
    return NULL;
#endif
}

static void on_fault(int number, siginfo_t *information, void *context)
{
    int saved = errno;
    /* Else somebody sent it, and there is no address. */
    bool fault = information->si_code > 0;
    struct cal__report report;
    if (fault && cal__pages_explain(information->si_addr, &report)) {
        report.site = place_of(context);
        cal__report_line(&report);
    }
    const struct sigaction standard = {.sa_handler = SIG_DFL};
    sigaction(number, &standard, NULL);
    /* A fault comes again by itself when this returns. */
    if (!fault)
        syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), number);
    errno = saved;
}

void cal__fault_start(const struct cal__settings *settings)
{
    struct sigaction now;
    if (settings->sample == 0 || settings->sample_report == 0)
        return;
    int saved = errno;
    if (sigaction(SIGSEGV, NULL, &now) == 0 && (now.sa_flags & SA_SIGINFO) == 0 &&
        now.sa_handler == SIG_DFL) {
        /* On the stack for signals where there is one: the thread's may be what has no more pages. */
        const struct sigaction action = {.sa_sigaction = on_fault,
                                         .sa_flags = SA_SIGINFO | SA_ONSTACK};
        sigaction(SIGSEGV, &action, NULL);
    }
    errno = saved;
}
