/* deflate.h: zlib streams: written without compressing, read whatever they are made of.
 * Not here: what the bytes are (png.c). Source: RFC 1950, RFC 1951. */
#ifndef SAEURON_DEFLATE_H
#define SAEURON_DEFLATE_H

#include <stdbool.h>
#include <stddef.h>

/* data[0..size) as a zlib stream of stored blocks; returns its length. out [deflate_stored_size(size)]. */
size_t deflate_stored(unsigned char *out, const unsigned char *data, size_t size);
size_t deflate_stored_size(size_t size);

/* Reads the zlib stream in[0..in_size), which must hold exactly out_size bytes; false when it does not. */
bool inflate_zlib(unsigned char *out, size_t out_size, const unsigned char *in, size_t in_size);

#endif
