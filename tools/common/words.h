/* The words of a command line. */
#ifndef TOOLS_WORDS_H
#define TOOLS_WORDS_H

/* The value of "--name value" or "--name=value" at *I, which then is its last word; NULL where that is
 * another option, or lacks its value. */
const char *option_value(int count, char **words, int *i, const char *name);

#endif
