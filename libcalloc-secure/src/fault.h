/* The line that is written before a fault in or beside a block of pages.h ends the process. */
#ifndef CAL_FAULT_H
#define CAL_FAULT_H

#include "base.h"
#include "settings.h"

/* Installs a handler for SIGSEGV where blocks are sampled, sample_report is on and the signal has its
 * default action. It writes its line if the fault is one of these, restores the default action and
 * returns, so that the process ends as it would have without it. A program that installs a handler of its
 * own replaces it; one that calls the earlier handler from there ends by the signal.
 *
 * While the process starts. Preserves errno. */
void cal__fault_start(const struct cal__settings *settings);

#endif
