/* memory.h: scratch memory as a stack, and the one product of sizes that is checked.
 *
 *   a plan without memory --> how much is needed --> one block of that size --> the same calls again, now with memory
 *
 * Not here: where the block comes from (files/system.h). Nothing lies below this but the C language. */
#ifndef SAEURON_MEMORY_H
#define SAEURON_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A stack of scratch memory. base == NULL measures: used and peak move, nothing is handed out.
 * After an overflow (of a product or of the memory) failed is set and stays set; every later request returns NULL. */
typedef struct arena {
    unsigned char *base;
    size_t size, used, peak;
    bool   failed;
} arena;

/* n floats, aligned to 64 bytes, uninitialised; NULL when measuring or failed. Owned by the arena. */
float *arena_floats(arena *a, size_t n);
/* count * size bytes, aligned to 64; the product is checked. */
void  *arena_bytes(arena *a, size_t count, size_t size);
size_t arena_mark(const arena *a);
void   arena_release(arena *a, size_t mark); /* forget everything handed out since mark */

/* a * b into *out; false on overflow. The one place where sizes are multiplied. */
bool nn_mul(size_t a, size_t b, size_t *out);

#endif
