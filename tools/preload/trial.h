/* Running real programs on the libraries, before a whole system does. */
#ifndef PRELOAD_TRIAL_H
#define PRELOAD_TRIAL_H

#include <stdbool.h>

/* Runs programs of the system below ROOT ("" for /), there, with LD_PRELOAD=PRELOAD (NULL: without, what
 * /etc/ld.so.preload says has to do) and CALLOC_OPTIONS=OPTIONS. True where they end well and the core's
 * statistics tell that they ran on it, without a complaint of ld.so or of the libraries; else it has said
 * what is wrong. Each is ended after 20 seconds. */
bool trial(const char *root, const char *preload, const char *options);

#endif
