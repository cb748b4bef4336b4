/* utf8.h: characters of UTF-8, one at a time (RFC 3629).
 * Not here: what Unicode knows of a character (unicode.h). Nothing lies below this. */
#ifndef SAEURON_UTF8_H
#define SAEURON_UTF8_H

#include <stddef.h>
#include <stdint.h>

/* The character at text, of which n bytes are there: its code into *code, its length returned; 0 when it is no UTF-8
 * (RFC 3629: no overlong form, no surrogate, at most U+10FFFF) or n is 0. */
size_t io_utf8(const char *text, size_t n, uint32_t *code);
size_t io_utf8_put(char out[4], uint32_t code);        /* the way back: 1 to 4 bytes */

#endif
