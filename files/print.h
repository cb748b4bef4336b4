/* print.h: text from a format, as snprintf makes it but without it: the same bytes with every C library, also
 * with one that knows no %zu, and nothing of an operating system.
 *
 *   format, values --print_into--> text
 *
 * Not here: numbers read back (decimal.h), text that grows (text.h). */
#ifndef SAEURON_PRINT_H
#define SAEURON_PRINT_H

#include <stdarg.h>
#include <stddef.h>

#if defined(__MINGW32__) && !defined(__clang__)
#define PRINTS(at, values) __attribute__((format(gnu_printf, at, values))) /* its printf is without %zu */
#elif defined(__GNUC__)
#define PRINTS(at, values) __attribute__((format(printf, at, values)))
#else
#define PRINTS(at, values)
#endif

/* out [size] = the format with its conversions, cut to size - 1 bytes, and a NUL (size 0: nothing). Returns
 * the bytes of the whole. Conversions: %s, %c, %d, %u, %x, %X and %% as in C, with l, ll or z; a 0 and a
 * width, of %s a precision, each digits or *; %g: the shortest decimal that reads back (decimal.h). */
size_t print_into(char *out, size_t size, const char *format, ...) PRINTS(3, 4);
size_t print_values(char *out, size_t size, const char *format, va_list values) PRINTS(3, 0);

#endif
