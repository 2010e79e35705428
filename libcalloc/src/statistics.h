/* Statistics for the files that print them. */
#ifndef CAL_STATISTICS_H
#define CAL_STATISTICS_H

#include <calloc/calloc.h>

/* All fields, exact when no other thread allocates. */
struct cal_statistics cal__statistics(void);
/* The table, and what add-ons have to say. */
void cal__statistics_print(int descriptor);

#endif
