/* Blocks that were freed while nobody looked. */
#ifndef CAL_TRACK_OVERLOOKED_H
#define CAL_TRACK_OVERLOOKED_H

/* Counts as freed those that are recorded and that the heap does not have any more. Other threads may allocate, and be
 * recorded, meanwhile. */
void cal__overlooked_drop(void);

#endif
