/* deflate.h: zlib streams (RFC 1950, RFC 1951) written and read.
 * Not here: what the bytes are (png.c). */
#ifndef SAEURON_DEFLATE_H
#define SAEURON_DEFLATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { WINDOW = 32768 };
#define BLOCK_TOKENS 16384
#define CHAIN 128       /* earlier places looked at for each match */
#define LAZY 64         /* a match as long as this is taken without looking one byte further */

typedef struct deflate {
    const unsigned char *data;
    size_t    size;
    uint32_t  head[WINDOW];         /* by hash of three bytes: 1 + the last place they stood at, 0: none */
    uint32_t  previous[WINDOW];     /* by place modulo WINDOW: 1 + the place before it with the same hash */
    uint32_t  tokens[BLOCK_TOKENS]; /* a byte, or distance << 9 | length */
    size_t    token_count;
    unsigned char *out;             /* bits from the lowest up */
    size_t    n;
    uint64_t  hold;
    int       held;
} deflate;

/* data as a zlib stream (RFC 1950); its length returned. out has room for compress_bound(size) bytes. */
size_t compress_into(deflate *z, unsigned char *out, const unsigned char *data, size_t size);
size_t compress_bound(size_t size);

/* The zlib stream in[0..in_size) into exactly out_size bytes; false when it is not that. */
bool inflate_zlib(unsigned char *out, size_t out_size, const unsigned char *in, size_t in_size);

#endif
