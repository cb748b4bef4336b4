/* memory.c: the arena's requests. Every product and sum of sizes is checked, since sizes may come from a
 * hostile file. Not here: whose block it is (files/system.c). */
#include "arithmetic/memory.h"

bool nn_mul(size_t a, size_t b, size_t *out)
{
    *out = a * b;
    return b == 0 || a <= SIZE_MAX / b;
}

void *arena_bytes(arena *a, size_t count, size_t size)
{
    size_t bytes;
    if (a->failed || !nn_mul(count, size, &bytes) || bytes > SIZE_MAX - 63 - a->used) {
        a->failed = true;
        return NULL;
    }
    bytes = (bytes + 63) / 64 * 64;
    if (a->base && bytes > a->size - a->used) {
        a->failed = true;
        return NULL;
    }
    void *p = a->base ? a->base + a->used : NULL;
    a->used += bytes;
    if (a->used > a->peak)
        a->peak = a->used;
    return p;
}

float *arena_floats(arena *a, size_t n) { return arena_bytes(a, n, sizeof(float)); }
size_t arena_mark(const arena *a) { return a->used; }
void   arena_release(arena *a, size_t mark) { a->used = mark; }
