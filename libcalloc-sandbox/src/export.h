/* What the shared library shows: all else is hidden. */
#ifndef CAL_EXPORT_H
#define CAL_EXPORT_H

#define CAL_EXPORT __attribute__((visibility("default")))

#endif
