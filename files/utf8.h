/* utf8.h: characters of UTF-8, one at a time (RFC 3629).
 * Not here: what Unicode knows of a character (unicode.h). Nothing lies below this. */
#ifndef SAEURON_UTF8_H
#define SAEURON_UTF8_H

#include <stddef.h>
#include <stdint.h>

/* Reads the character at text, of which n bytes are there, into *code; returns its length. 0 when n is 0 or
 * it is not UTF-8: an overlong form, a surrogate, above U+10FFFF, cut short. */
size_t io_utf8(const char *text, size_t n, uint32_t *code);
size_t io_utf8_put(char out[4], uint32_t code);        /* writes it; 1 to 4 bytes */

#endif
