/* prove.h: stands before every file that is compiled for tests/prove.c, so that these functions of the C
 * library read byte by byte, by loads that the compiler reports. Not here: what a load does (prove.c). */
#ifndef SAEURON_PROVE_H
#define SAEURON_PROVE_H

#include <string.h>

int    loop_memcmp(const void *a, const void *b, size_t n);
void  *loop_memcpy(void *to, const void *from, size_t n);
void  *loop_memchr(const void *p, int c, size_t n);
size_t loop_strlen(const char *s);
char  *loop_strchr(const char *s, int c);

#undef memcmp
#undef memcpy
#undef memchr
#undef strlen
#undef strchr
#define memcmp loop_memcmp
#define memcpy loop_memcpy
#define memchr loop_memchr
#define strlen loop_strlen
#define strchr loop_strchr

#endif
