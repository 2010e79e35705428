/* What is said when a check fails, and what happens then. */
#ifndef CAL_REPORT_H
#define CAL_REPORT_H

#include "base.h"

enum cal__check {
#define CHECK(name, phrase, help) CAL_CHECK_##name,
#include "report.def"
#undef CHECK
    CAL_CHECKS
};

enum cal__consequence {
    CAL_ABORT,  /* the line, then abort() */
    CAL_LOG,    /* the line, once for each check and site; the process goes on */
    CAL_IGNORE, /* nothing */
    CAL_CONSEQUENCES
};

/* Return addresses of the calls that allocated or freed a block, the innermost first. A line has room for all
 * of both. */
enum { CAL_REPORT_FRAMES = 6 };

struct cal__frames {
    const void *addresses[CAL_REPORT_FRAMES]; /* up to the first NULL */
    uint8_t files[CAL_REPORT_FRAMES];         /* of cal__place_remember(), or 0 */
};

/* Places in the program that are told apart. When this many have been reported, no further one is. */
enum { CAL_REPORT_SITES = 256 };

/* What is not known is 0 or NULL, unless something else is said here; it is left out of the line. */
struct cal__report {
    enum cal__check check;
    const char *what; /* instead of the check's phrase: "invalid realloc" */
    const void *address;
    size_t block_size;
    size_t requested; /* known only if `requested_known` */
    bool requested_known;
    size_t damage;      /* offset of the first byte that is wrong from `address` */
    bool damage_known;  /* and whether it is known */
    bool damage_before; /* it lies so many bytes before `address` */
    int thread;         /* the kernel's id; 0: this one's, asked for by gettid(2) */
    const void *site;   /* return address of the call that found it */
    struct cal__frames allocated, freed;
};

/* Writes one line to standard error,
 *
 *   libcalloc: overflow of 0x7f…, byte 41, block of 48 bytes, requested 41, thread 4711, found at 0x…
 *   (program+0x…), allocated at libname.so.1+0x…, program+0x…, freed at program+0x…, …
 *
 * (one line, of CAL_LINE_MAX bytes at most) by one write(2), and does what CONSEQUENCE says; does not
 * return from CAL_ABORT. Any other value is taken for CAL_ABORT. A site NULL is a site like any other.
 *
 * Allocates nothing, takes no lock, preserves errno; safe in a signal handler, in any thread and in the
 * child of a fork, which has what its parent reported for reported. System calls: write, gettid if
 * `thread` is 0, and those of abort(). */
void cal__report(const struct cal__report *report, enum cal__consequence consequence);

/* For a process that has only this thread: at the start, and in the child of a fork. Its id is looked up now,
 * and not in its reports, and nobody is saying the last line. */
void cal__report_thread(void);

/* Writes the line, and does no more. As cal__report() otherwise. */
void cal__report_line(const struct cal__report *report);

/* How many reports with CAL_LOG were left out because there was no room for their site. */
size_t cal__report_dropped(void);

#endif
