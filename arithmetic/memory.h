/* memory.h: scratch memory as a stack, and the sizes of arrays: their product, checked, the lesser and
 * the greater of two.
 *
 *   calls on an arena without memory --> what they need --> one block of that size --> the same calls again
 *
 * Not here: where the block comes from (files/system.h). Nothing lies below this but the C language. */
#ifndef SAEURON_MEMORY_H
#define SAEURON_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A stack of scratch memory. With base NULL it measures: used and peak move, nothing is handed out. When a
 * product overflows or the block is full, failed is set and stays set; every later request returns NULL. */
typedef struct arena {
    unsigned char *base;
    size_t size, used, peak;
    bool   failed;
} arena;

/* n floats, uninitialised, at a multiple of 64 bytes from base; NULL when measuring or failed. Owned by the
 * arena. */
float *arena_floats(arena *a, size_t n);
/* The same of count * size bytes. */
void  *arena_bytes(arena *a, size_t count, size_t size);
size_t arena_mark(const arena *a);           /* how much is handed out now */
void   arena_release(arena *a, size_t mark); /* takes back everything handed out since that mark */

/* *out = a * b; false when it overflows. */
bool nn_mul(size_t a, size_t b, size_t *out);

/* a * b; SIZE_MAX when it overflows, which no arena has. */
static inline size_t times(size_t a, size_t b) { return nn_mul(a, b, &a) ? a : SIZE_MAX; }
static inline size_t least(size_t a, size_t b) { return a < b ? a : b; }
static inline size_t most(size_t a, size_t b) { return a > b ? a : b; }

#endif
