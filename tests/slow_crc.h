/* slow_crc.h: the CRC-32 of PNG, a bit at a time, for tests that make pictures of their own or look at one.
 * Not here: the program's, by table (files/png.c). */
#ifndef SAEURON_SLOW_CRC_H
#define SAEURON_SLOW_CRC_H

#include <stddef.h>
#include <stdint.h>

static inline uint32_t slow_crc(const unsigned char *p, size_t n)
{
    uint32_t c = 0xFFFFFFFFu;
    for (size_t i = 0; i < n; i++) {
        c ^= p[i];
        for (int bit = 0; bit < 8; bit++)
            c = c >> 1 ^ (c & 1 ? 0xEDB88320u : 0);
    }
    return ~c;
}

#endif
