/* calloc doctor. */
#ifndef CALLOC_DOCTOR_H
#define CALLOC_DOCTOR_H

extern const char doctor_help[];

int doctor(int count, char **words);

#endif
