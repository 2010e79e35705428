/* The file of the administrator, /etc/calloc/secure.conf: settings for all programs, and for programs by
 * the path of their executable.
 *
 *     # A line that begins with # is a comment.
 *     level = standard
 *
 *     [/usr/bin/python3.11]
 *     level = light
 *     on_write_after_free = log
 *
 *     [/opt/games**]
 *     enable = 0
 *
 * One setting in a line, with the names and values of CALLOC_OPTIONS, without "secure.", or with it.
 * What stands above the first section holds for all programs, what stands below a [pattern] for those
 * whose executable it matches: the path that /proc/self/exe shows, so without symbolic links. In a
 * pattern * stands for any number of characters but '/', ? for one such, and ** for any number of all;
 * it begins with '/' or '*'. All sections that match hold, in the order of the file; later lines win.
 * Where the path is not known (/proc is missing), only ** matches. Blanks around all parts are left
 * out.
 *
 * Whoever may create files where a pattern matches can choose the settings of what he runs: name
 * folders of root. */
#ifndef CAL_CONF_H
#define CAL_CONF_H

#include "base.h"
#include "settings.h"

#define CAL_CONF_PATH "/etc/calloc/secure.conf"

enum {
    CAL_CONF_MAX = 65536,   /* bytes of the file */
    CAL_CONF_WARNINGS = 8,  /* lines that are complained about */
    CAL_CONF_PROGRAM = 4096 /* bytes of a path, with the '\0' */
};

/* The file PATH, for a PROGRAM; "" if that is not known, NULL for what /proc/self/exe shows. There need not be one. If it is not a regular file
 * of root that nobody else may write, longer than CAL_CONF_MAX, or cannot be read, it is one line on
 * standard error, and nothing is used. Maps memory for a moment where it is a long one, and returns it. Before the process has
 * threads, or for a draft of the thread's own. errno is not meaningful after it. */
void cal__conf_file(struct cal__settings_draft *draft, const char *path, const char *program);

/* What is in such a file; NAME is for warnings. */
void cal__conf_text(struct cal__settings_draft *draft, const char *name, const char *text,
                    size_t length, const char *program);

/* Whether a pattern of LENGTH bytes matches. */
bool cal__conf_matches(const char *pattern, size_t length, const char *program);

/* All there is: the file, then OPTIONS, what CALLOC_OPTIONS gives. Preserves errno. */
void cal__conf_load(struct cal__settings *settings, const struct cal__settings_draft *options);

#endif
