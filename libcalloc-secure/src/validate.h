/* A look at the whole heap. */
#ifndef CAL_VALIDATE_H
#define CAL_VALIDATE_H

#include "base.h"

/* Looks at all blocks that live and all that are free, but at no more than BUDGET bytes of slabs. Each error is
 * reported, 32 of them, and their number returned. Other threads may go on. Holds locks of the core; not to
 * be called from a hook but `exiting`. */
int cal__validate(size_t budget);

#endif
