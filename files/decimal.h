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

/* Decimal text of x, the shortest that reads back the same; of several, the nearest: Python's repr without a final ".0".
 * Returns its length. size >= 32. NaN and infinities give nan, inf, -inf, which are no JSON. */
size_t io_format_double(char *out, size_t size, double x);
size_t io_format_float(char *out, size_t size, float x);
/* The whole text: [+-]digits[.digits][e[+-]digits], either side of the point may be empty. No locale, correctly rounded.
 * false for anything else and when too large. */
bool   io_parse_double(const char *text, double *x);
/* The same at the beginning of a longer text, which ends at end; *at moves past the number. */
bool   io_scan_double(const char **at, const char *end, double *x);
bool   io_scan_int(const char **at, const char *end, int64_t *x);      /* exact: 3.0 and 1e2 count, 3.5 does not */
bool   io_parse_uint(const char *text, uint64_t *x);   /* the whole text: digits; false when above 2^64 - 1 */
bool   io_parse_part(const char *text, size_t *i, size_t *n); /* "I/N", I < N <= IO_PARTS; else false, and both stay as they are */
#define IO_PARTS 1000000

#endif
