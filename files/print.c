/* print.c: text from a format (print.h).
 *
 * Not here: what is printed where. */
#include "files/print.h"
#include "files/decimal.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct printer { char *out; size_t size, n; } printer; /* n: bytes so far, kept or not */

static void put(printer *p, char c)
{
    if (p->n + 1 < p->size)
        p->out[p->n] = c;
    p->n++;
}

/* n bytes behind as many of `fill` as the width wants. */
static void put_field(printer *p, const char *text, size_t n, size_t width, char fill)
{
    for (size_t i = n; i < width; i++)
        put(p, fill);
    for (size_t i = 0; i < n; i++)
        put(p, text[i]);
}

/* One conversion: %[0][width][.precision][l|ll|z]kind. */
typedef struct conversion { char fill, length, kind; size_t width, precision; } conversion;

/* Digits or '*', from *at on. */
static size_t read_size(const char **at, va_list *values)
{
    size_t n = 0;
    if (**at == '*') {
        const int given = va_arg(*values, int);
        ++*at;
        return given > 0 ? (size_t)given : 0;
    }
    for (; **at >= '0' && **at <= '9'; ++*at)
        n = 10 * n + (size_t)(**at - '0');
    return n;
}

static conversion read_conversion(const char **at, va_list *values)
{
    conversion c = { .fill = **at == '0' ? '0' : ' ', .precision = SIZE_MAX };
    c.width = read_size(at, values);
    if (**at == '.') {
        ++*at;
        c.precision = read_size(at, values);
    }
    for (; **at == 'l' || **at == 'z'; ++*at)
        c.length = (char)(c.length == 'l' ? 'L' : **at); /* ll: L */
    c.kind = **at;
    *at += c.kind != 0;
    return c;
}

static uint64_t read_unsigned(char length, va_list *values)
{
    return length == 'z' ? va_arg(*values, size_t) : length == 'l' ? va_arg(*values, unsigned long)
         : length == 'L' ? va_arg(*values, unsigned long long) : va_arg(*values, unsigned);
}

static int64_t read_signed(char length, va_list *values)
{
    return length == 'l' ? va_arg(*values, long) : length == 'L' ? va_arg(*values, long long)
         : va_arg(*values, int);
}

static void put_whole(printer *p, const conversion *c, uint64_t x, bool negative)
{
    const char *digits = c->kind == 'X' ? "0123456789ABCDEF" : "0123456789abcdef";
    const unsigned base = c->kind == 'x' || c->kind == 'X' ? 16 : 10;
    char   text[24];
    size_t at = sizeof text;
    do
        text[--at] = digits[x % base];
    while ((x /= base) != 0);
    if (negative && c->fill == '0') {
        put(p, '-');
        put_field(p, text + at, sizeof text - at, c->width ? c->width - 1 : 0, '0');
        return;
    }
    if (negative)
        text[--at] = '-';
    put_field(p, text + at, sizeof text - at, c->width, c->fill);
}

static void convert(printer *p, const conversion *c, va_list *values)
{
    char   number[40];
    size_t n = 0;
    if (c->kind == 's') {
        const char *text = va_arg(*values, const char *);
        while (n < c->precision && text[n])
            n++;
        put_field(p, text, n, c->width, ' ');
    } else if (c->kind == 'd') {
        const int64_t x = read_signed(c->length, values);
        put_whole(p, c, x < 0 ? -(uint64_t)x : (uint64_t)x, x < 0);
    } else if (c->kind == 'u' || c->kind == 'x' || c->kind == 'X') {
        put_whole(p, c, read_unsigned(c->length, values), false);
    } else if (c->kind == 'g') {
        n = io_format_double(number, sizeof number, va_arg(*values, double));
        put_field(p, number, n, c->width, ' ');
    } else {
        put(p, c->kind == 'c' ? (char)va_arg(*values, int) : c->kind);
    }
}

size_t print_values(char *out, size_t size, const char *format, va_list values)
{
    printer p = { out, size, 0 };
    va_list rest; /* an array in some places, which no address may be taken of as an argument */
    va_copy(rest, values);
    while (*format) {
        if (*format != '%') {
            put(&p, *format++);
            continue;
        }
        format++;
        const conversion c = read_conversion(&format, &rest);
        if (c.kind)
            convert(&p, &c, &rest);
    }
    va_end(rest);
    if (size)
        out[p.n < size ? p.n : size - 1] = 0;
    return p.n;
}

size_t print_into(char *out, size_t size, const char *format, ...)
{
    va_list values;
    va_start(values, format);
    const size_t n = print_values(out, size, format, values);
    va_end(values);
    return n;
}
