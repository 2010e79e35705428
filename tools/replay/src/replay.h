/* The command `calloc replay`. */
#ifndef CAL_REPLAY_REPLAY_H
#define CAL_REPLAY_REPLAY_H

/* Runs it with arguments from "replay" on; its exit status: 0, 1 when nothing was replayed, 2 when the
 * arguments are wrong, 3 when the trace was broken and what could be read of it was replayed. */
int cal_tool_replay_main(int argc, char **argv);

#endif
