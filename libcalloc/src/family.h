/* Names of the malloc family. Sanitizers bring their own malloc, so the builds for them give the
 * family a prefix, and the tests call it by that. */
#ifndef CAL_FAMILY_H
#define CAL_FAMILY_H

/* Before their names are defined away. */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>

#ifdef CAL_FAMILY_PREFIX
#    define CAL_JOIN_(prefix, name) prefix##name
#    define CAL_JOIN(prefix, name)  CAL_JOIN_(prefix, name)
#    define malloc                  CAL_JOIN(CAL_FAMILY_PREFIX, malloc)
#    define calloc                  CAL_JOIN(CAL_FAMILY_PREFIX, calloc)
#    define realloc                 CAL_JOIN(CAL_FAMILY_PREFIX, realloc)
#    define reallocarray            CAL_JOIN(CAL_FAMILY_PREFIX, reallocarray)
#    define free                    CAL_JOIN(CAL_FAMILY_PREFIX, free)
#    define cfree                   CAL_JOIN(CAL_FAMILY_PREFIX, cfree)
#    define free_sized              CAL_JOIN(CAL_FAMILY_PREFIX, free_sized)
#    define free_aligned_sized      CAL_JOIN(CAL_FAMILY_PREFIX, free_aligned_sized)
#    define aligned_alloc           CAL_JOIN(CAL_FAMILY_PREFIX, aligned_alloc)
#    define posix_memalign          CAL_JOIN(CAL_FAMILY_PREFIX, posix_memalign)
#    define memalign                CAL_JOIN(CAL_FAMILY_PREFIX, memalign)
#    define valloc                  CAL_JOIN(CAL_FAMILY_PREFIX, valloc)
#    define pvalloc                 CAL_JOIN(CAL_FAMILY_PREFIX, pvalloc)
#    define malloc_usable_size      CAL_JOIN(CAL_FAMILY_PREFIX, malloc_usable_size)
#    define malloc_trim             CAL_JOIN(CAL_FAMILY_PREFIX, malloc_trim)
/* With arguments, because the structures have the names of the functions. */
#    define mallinfo(...)  CAL_JOIN(CAL_FAMILY_PREFIX, mallinfo)(__VA_ARGS__)
#    define mallinfo2(...) CAL_JOIN(CAL_FAMILY_PREFIX, mallinfo2)(__VA_ARGS__)
#    define mallopt        CAL_JOIN(CAL_FAMILY_PREFIX, mallopt)
#    define malloc_stats   CAL_JOIN(CAL_FAMILY_PREFIX, malloc_stats)
#    define malloc_info    CAL_JOIN(CAL_FAMILY_PREFIX, malloc_info)
#endif

void *malloc(size_t size);
void *calloc(size_t count, size_t size);
void *realloc(void *block, size_t size);
void *reallocarray(void *block, size_t count, size_t size);
void free(void *block);
void cfree(void *block);
void free_sized(void *block, size_t size);
void free_aligned_sized(void *block, size_t alignment, size_t size);
void *aligned_alloc(size_t alignment, size_t size);
int posix_memalign(void **result, size_t alignment, size_t size);
void *memalign(size_t alignment, size_t size);
void *valloc(size_t size);
void *pvalloc(size_t size);
size_t malloc_usable_size(void *block);
int malloc_trim(size_t pad);
int mallopt(int parameter, int value);
struct mallinfo mallinfo(void);
struct mallinfo2 mallinfo2(void);
void malloc_stats(void);
int malloc_info(int options, FILE *stream);

#endif
