/* The command `calloc replay`. */
#ifndef CAL_REPLAY_REPLAY_H
#define CAL_REPLAY_REPLAY_H

/* What --help prints below the usage line. */
extern const char replay_help[];

/* Runs it with the words behind "replay". Its exit status: 0; 1 when the trace was broken, and what could be read was
 * replayed; 2 when the words are wrong; 125 when nothing was replayed. */
int replay(int count, char **words);

#endif
