#include "record.h"

#include <stdlib.h>

#include "report.h"

CAL_COLD void cal__record_broken(const void *address)
{
    const struct cal__report report = {
        .check = CAL_CHECKS, .what = "corrupted metadata", .address = address};
    /* No setting lets a process go on with these. */
    cal__report(&report, CAL_ABORT);
    abort();
}
