/* decimal.h: numbers as decimal text and back, correctly rounded, without a locale.
 *
 *   option, JSON, table --io_parse_*--> number --io_format_*--> the shortest text that reads back the same
 *
 * Not here: JSON (json.h). */
#ifndef SAEURON_DECIMAL_H
#define SAEURON_DECIMAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* x as text, the shortest that reads back the same (of several, the one nearest to x): Python's repr without
 * a final ".0". Returns its length. size >= 32. NaN and infinities become nan, inf, -inf, which JSON does not
 * have. */
size_t io_format_double(char *out, size_t size, double x);
size_t io_format_float(char *out, size_t size, float x);

/* The whole text: [+-]digits[.digits][e[+-]digits]; one side of the point may be empty. Correctly rounded.
 * false for anything else, and for what is too large. */
bool io_parse_double(const char *text, double *x);
bool io_parse_uint(const char *text, uint64_t *x);      /* digits alone, at most 2^64 - 1 */
/* "A-B" with `between` as its '-', each as io_parse_uint reads it; false: a and b are not both set. */
bool io_parse_pair(const char *text, char between, uint64_t *a, uint64_t *b);
/* "I/N", I < N <= IO_PARTS: part I of N. false for anything else; then i and n stay as they are. */
#define IO_PARTS 1000000
bool io_parse_part(const char *text, size_t *i, size_t *n);

/* The number that the text from *at to end begins with; *at moves past it. An integer may be written as 3.0
 * or 1e2, but not as 3.5; false when it does not fit. */
bool io_scan_double(const char **at, const char *end, double *x);
bool io_scan_int(const char **at, const char *end, int64_t *x);

#endif
