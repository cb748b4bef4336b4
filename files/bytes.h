/* bytes.h: whole numbers as bytes of a file, the same on every machine.
 * Not here: the formats of real numbers (arithmetic/number.h). Nothing lies below this. */
#ifndef SAEURON_BYTES_H
#define SAEURON_BYTES_H

#include <stdint.h>

/* The first `bytes` bytes at p, the lowest first (safetensors, .npy, deflate's blocks). */
static inline uint64_t get_le(const unsigned char *p, int bytes)
{
    uint64_t x = 0;
    for (int i = bytes - 1; i >= 0; i--)
        x = x << 8 | p[i];
    return x;
}

static inline void put_le(unsigned char *p, uint64_t x, int bytes)
{
    for (int i = 0; i < bytes; i++, x >>= 8)
        p[i] = (unsigned char)(x & 0xFF);
}

/* Four bytes, the highest first (PNG, checksums of zlib). */
static inline uint32_t get_be32(const unsigned char *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static inline void put_be32(unsigned char *p, uint32_t x)
{
    for (int i = 0; i < 4; i++)
        p[i] = (unsigned char)(x >> (24 - 8 * i) & 0xFF);
}

#endif
