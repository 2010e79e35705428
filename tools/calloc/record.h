/* calloc record. */
#ifndef CALLOC_RECORD_H
#define CALLOC_RECORD_H

extern const char record_help[];

int record(int count, char **words);

#endif
