/* unicode.h: what the tokenizer needs of Unicode: NFC, lower case, and which characters are letters, numbers,
 * parts of words, white space.
 * Not here: UTF-8 (utf8.h), locales, grapheme clusters, compatibility forms. Tables: unicode_tables.h, made
 * from the tokenizers library. */
#ifndef SAEURON_UNICODE_H
#define SAEURON_UNICODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Code points that n bytes of UTF-8 may decompose into: 3 for 2 bytes at most (U+0390). */
#define unicode_nfc_bound(n) ((n) + (n) / 2)
/* NFC of s [n], valid UTF-8, into y; returns its length. y and scratch [unicode_nfc_bound(n)]. Time O(n log
 * n). */
size_t unicode_nfc(uint32_t *y, uint32_t *scratch, const char *s, size_t n);

/* Lower case of c into out [2], without regard to its neighbours; returns 1, or 2 for U+0130. */
size_t unicode_lower(uint32_t *out, uint32_t c);

bool unicode_is_letter(uint32_t c); /* \p{L} */
bool unicode_is_number(uint32_t c); /* \p{N} */
bool unicode_is_word(uint32_t c);   /* \w: letters, marks, digits, joiners */
bool unicode_is_space(uint32_t c);  /* \s: White_Space */

#endif
