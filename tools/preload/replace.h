/* Replacing a small file so that at any moment, also after a loss of power, it is the old one or the new
 * one.
 *
 * The new one is written beside it, under a fixed name, which is the lock too: whoever holds the lock on
 * the file of that name may write it. It is synced, takes the place of the old one by rename, and then the
 * folder is synced. What a killed run left of it the next one takes over. */
#ifndef PRELOAD_REPLACE_H
#define PRELOAD_REPLACE_H

#include <common/text.h>

struct replacement {
    char *path;     /* the file; where it is a symbolic link, what that leads to */
    char *folder;   /* that it is in */
    char *new_path; /* the file that is written */
    int descriptor; /* of that, locked; -1: closed */
    bool exists;    /* the old file did */
};

/* Takes the lock, waiting for a minute at most. Where the folder is missing, it is made. 0, or a
 * negative errno; it has said why then. */
int replace_begin(struct replacement *replacement, const char *path);

/* The old file, "" where there is none. The same errors. */
int replace_read(const struct replacement *replacement, struct text *text);

/* Puts the new contents there, with owner, mode and extended attributes of the old file, and ends it. No
 * contents remove the file. The same errors: then the old file still stands. */
int replace_finish(struct replacement *replacement, const struct text *text);

/* Ends it without a change. */
void replace_abandon(struct replacement *replacement);

#endif
