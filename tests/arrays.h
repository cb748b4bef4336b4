/* arrays.h: arrays for the tests of arithmetic/: hash-filled floats, and the same as a file holds them.
 * Whoever asks for one frees it. */
#ifndef SAEURON_ARRAYS_H
#define SAEURON_ARRAYS_H

#include "arithmetic/nn.h"
#include "arithmetic/rng.h"

#include <stdlib.h>

#define COUNT(table) (sizeof(table) / sizeof *(table))

static inline float *floats(size_t n)
{
    float *p = malloc((n + 1) * sizeof *p);
    if (!p)
        abort();
    return p;
}

/* Hash-filled in +-1, another stream each time. */
static inline float *filled(size_t n)
{
    static uint64_t stream;
    float *p = floats(n);
    stream++;
    for (size_t i = 0; i < n; i++)
        p[i] = rng_symmetric(11, stream, i, 1.0f);
    return p;
}

/* x as a file holds it, little-endian, from byte 1 on, so unaligned. F16 and BF16 lose precision. */
static inline unsigned char *as_file(const float *x, size_t n, dtype type)
{
    const size_t size = dtype_size(type);
    unsigned char *p = malloc(n * size + 2);
    if (!p)
        abort();
    for (size_t i = 0; i < n; i++) {
        uint32_t u = f32_bits(x[i]);
        uint16_t h;
        if (type == DT_F16) {
            nn_f32_to_f16(&h, x[i]);
            u = h;
        } else if (type == DT_BF16) {
            u >>= 16;
        }
        for (size_t b = 0; b < size; b++)
            p[1 + i * size + b] = (unsigned char)(u >> 8 * b);
    }
    return p;
}

#endif
