/* decimal.c: decimal numbers to and from binary, exactly.
 *
 *   decimal digits <--big integers--> double, float
 *
 * Not here: JSON (json.c). Source: IEEE 754-2019 section 5.12 (conversion).
 * Nothing here allocates, and nothing depends on the locale, as strtod and printf do. */
#include "files/decimal.h"

#include <float.h>
#include <math.h>
#include <string.h>

/* ---- big integers: just enough to convert exactly ---- */

/* The largest is twice 10^1131, the divisor of an 801-digit number near 10^-330: 3,759 bits. */
#define BIG_WORDS 124

typedef struct big { int n; uint32_t w[BIG_WORDS]; } big; /* sum of w[i] 2^(32 i), i < n; w[n-1] != 0 */

/* b = b * m + a */
static void big_mul_add(big *b, uint32_t m, uint32_t a)
{
    uint64_t carry = a;
    for (int i = 0; i < b->n; i++) {
        carry += (uint64_t)b->w[i] * m;
        b->w[i] = (uint32_t)carry;
        carry >>= 32;
    }
    if (carry)
        b->w[b->n++] = (uint32_t)carry;
}

static void big_mul_power(big *b, uint32_t base, int64_t power)
{
    for (; power > 0; power--)
        big_mul_add(b, base, 0);
}

/* b = b * 2^k */
static void big_shift(big *b, int k)
{
    const int words = k / 32, bits = k % 32;
    if (b->n == 0 || k == 0)
        return;
    for (int i = b->n - 1; i >= 0; i--)
        b->w[i + words] = b->w[i];
    for (int i = 0; i < words; i++)
        b->w[i] = 0;
    b->n += words;
    if (bits)
        big_mul_add(b, (uint32_t)1 << bits, 0);
}

static int big_bits(const big *b)
{
    int bits = 32 * b->n;
    for (uint32_t top = b->n ? b->w[b->n - 1] : 0; top && !(top >> 31); top <<= 1)
        bits--;
    return bits;
}

static int big_compare(const big *a, const big *b)
{
    if (a->n != b->n)
        return a->n < b->n ? -1 : 1;
    for (int i = a->n - 1; i >= 0; i--)
        if (a->w[i] != b->w[i])
            return a->w[i] < b->w[i] ? -1 : 1;
    return 0;
}

/* a = a - b, a >= b */
static void big_subtract(big *a, const big *b)
{
    uint64_t borrow = 0;
    for (int i = 0; i < a->n; i++) {
        const uint64_t d = (uint64_t)a->w[i] - (i < b->n ? b->w[i] : 0) - borrow;
        a->w[i] = (uint32_t)d;
        borrow = d >> 63;
    }
    while (a->n > 0 && a->w[a->n - 1] == 0)
        a->n--;
}

/* b = b / d; returns the remainder. */
static uint32_t big_divide(big *b, uint32_t d)
{
    uint64_t r = 0;
    for (int i = b->n - 1; i >= 0; i--) {
        r = r << 32 | b->w[i];
        b->w[i] = (uint32_t)(r / d);
        r %= d;
    }
    while (b->n > 0 && b->w[b->n - 1] == 0)
        b->n--;
    return (uint32_t)r;
}

/* ---- decimal to binary ---- */

/* 0.digit[0]digit[1]... * 10^point. No double's boundary has more than 768 digits, so beyond 800 it only
 * matters whether anything but zeros follows: then an 801st digit stands for it. */
#define DIGITS 800
typedef struct decimal { bool negative; int n; int64_t point; unsigned char digit[DIGITS + 1]; } decimal;

/* A binary format: its precision, the exponents of its least subnormal and above its largest number. */
typedef struct format { int precision, least; double largest; } format;
static const format format_double = { 53, -1074, DBL_MAX }, format_float = { 24, -149, FLT_MAX };

static void decimal_trim(decimal *d)
{
    while (d->n > 0 && d->digit[d->n - 1] == 0)
        d->n--;
}

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

/* [+-]digits[.digits][e[+-]digits] at *at, which moves past it. false when there is no digit. */
static bool decimal_read(decimal *d, const char **at, const char *end)
{
    const char *s = *at;
    bool any = false, fraction = false, more = false;
    d->negative = false;
    d->n = 0;
    d->point = 0;
    if (s < end && (*s == '-' || *s == '+'))
        d->negative = *s++ == '-';
    for (; s < end && (is_digit(*s) || (*s == '.' && !fraction)); s++) {
        if (*s == '.') {
            fraction = true;
            continue;
        }
        any = true;
        if (d->n > 0 || *s != '0') {
            if (d->n < DIGITS)
                d->digit[d->n++] = (unsigned char)(*s - '0');
            else
                more |= *s != '0';
            d->point += !fraction;
        } else
            d->point -= fraction;
    }
    if (!any)
        return false;
    if (more)
        d->digit[d->n++] = 1;
    if (s < end && (*s == 'e' || *s == 'E')) {
        const int64_t enough = INT64_C(1) << 61; /* no text is so long that a larger exponent could matter */
        bool negative = false;
        int64_t e = 0;
        s++;
        if (s < end && (*s == '-' || *s == '+'))
            negative = *s++ == '-';
        if (s == end || !is_digit(*s))
            return false;
        for (; s < end && is_digit(*s); s++)
            e = e > enough / 10 ? enough : 10 * e + (*s - '0');
        d->point += negative ? -e : e;
    }
    decimal_trim(d);
    *at = s;
    return true;
}

/* The nearest number of the format, ties to even, as a double (which holds every float). false when it is too
 * large. num/den is the value over 2^k, in [1,2); binary long division gives the bits down to 2^lsb, the
 * remainder rounds. */
static bool decimal_to_binary(const decimal *d, format f, double *x)
{
    big num = { 0 }, den = { 1, { 1 } };
    *x = d->negative ? -0.0 : 0.0;
    if (d->n == 0 || d->point < -330)
        return true;
    if (d->point > 310)
        return false;
    for (int i = 0; i < d->n; i++)
        big_mul_add(&num, 10, d->digit[i]);
    big_mul_power(&num, 10, d->point - d->n);
    big_mul_power(&den, 10, d->n - d->point);

    int k = big_bits(&num) - big_bits(&den);
    big_shift(k >= 0 ? &den : &num, k >= 0 ? k : -k);
    if (big_compare(&num, &den) < 0) {
        big_shift(&num, 1);
        k--;
    }
    const int lsb = k - (f.precision - 1) > f.least ? k - (f.precision - 1) : f.least;
    if (k < lsb - 1)
        return true;
    uint64_t q = 0;
    for (int bit = k; bit >= lsb; bit--) {
        const bool one = big_compare(&num, &den) >= 0;
        if (one)
            big_subtract(&num, &den);
        big_shift(&num, 1);
        q = q << 1 | one;
    }
    const int half = big_compare(&num, &den);
    q += half > 0 || (half == 0 && (q & 1));
    const double magnitude = ldexp((double)q, lsb);
    *x = d->negative ? -magnitude : magnitude;
    return magnitude <= f.largest;
}

bool io_scan_double(const char **at, const char *end, double *x)
{
    decimal d;
    return decimal_read(&d, at, end) && decimal_to_binary(&d, format_double, x);
}

bool io_scan_int(const char **at, const char *end, int64_t *x)
{
    decimal d;
    uint64_t m = 0;
    if (!decimal_read(&d, at, end) || (d.n > 0 && (d.point > 19 || d.point < d.n)))
        return false;
    for (int i = 0; i < (d.n > 0 ? (int)d.point : 0); i++) {
        const unsigned digit = i < d.n ? d.digit[i] : 0;
        if (m > (UINT64_MAX - digit) / 10)
            return false;
        m = 10 * m + digit;
    }
    if (m > (uint64_t)INT64_MAX + d.negative)
        return false;
    *x = !d.negative ? (int64_t)m : m == 0 ? 0 : -1 - (int64_t)(m - 1);
    return true;
}

bool io_parse_double(const char *text, double *x)
{
    const char *end = text + strlen(text);
    return io_scan_double(&text, end, x) && text == end;
}

bool io_parse_uint(const char *text, uint64_t *x)
{
    uint64_t m = 0;
    if (!*text)
        return false;
    for (; *text; text++) {
        const unsigned digit = (unsigned)(unsigned char)*text - '0';
        if (digit > 9 || m > (UINT64_MAX - digit) / 10)
            return false;
        m = 10 * m + digit;
    }
    *x = m;
    return true;
}

bool io_parse_pair(const char *text, char between, uint64_t *a, uint64_t *b)
{
    char first[24] = "";
    const char *at = strchr(text, between);
    if (at && at - text < 20)
        memcpy(first, text, (size_t)(at - text));
    return at && io_parse_uint(first, a) && io_parse_uint(at + 1, b);
}

bool io_parse_part(const char *text, size_t *i, size_t *n)
{
    uint64_t part, parts;
    if (!io_parse_pair(text, '/', &part, &parts) || part >= parts || parts > IO_PARTS)
        return false;
    *i = (size_t)part;
    *n = (size_t)parts;
    return true;
}

/* ---- binary to decimal ---- */

/* Every digit of |x|, which is finite and not 0: at most 767. */
static void decimal_exact(decimal *d, double x)
{
    big b = { 0 };
    int e;
    const double m = frexp(fabs(x), &e); /* x = m 2^e, m in [1/2,1) */
    uint64_t q = (uint64_t)ldexp(m, 53);
    for (e -= 53; !(q & 1); q >>= 1)
        e++; /* q odd: no more digits than there must be */
    b.w[0] = (uint32_t)q;
    b.w[1] = (uint32_t)(q >> 32);
    b.n = b.w[1] ? 2 : 1;
    if (e >= 0)
        big_shift(&b, e);
    else
        big_mul_power(&b, 5, -e); /* q 2^e = q 5^-e 10^e */
    unsigned char reversed[DIGITS];
    int n = 0;
    while (b.n > 0) {
        uint32_t nine = big_divide(&b, 1000000000);
        for (int i = 0; i < 9 && (nine || b.n > 0); i++, nine /= 10)
            reversed[n++] = (unsigned char)(nine % 10);
    }
    d->negative = copysign(1, x) < 0;
    d->n = n;
    d->point = n + (e < 0 ? e : 0);
    for (int i = 0; i < n; i++)
        d->digit[i] = reversed[n - 1 - i];
    decimal_trim(d);
}

/* r = d cut to p digits, p < d->n, and made one unit in the last place larger if up. */
static void decimal_cut(decimal *r, const decimal *d, int p, bool up)
{
    r->negative = d->negative;
    r->n = p;
    r->point = d->point;
    memcpy(r->digit, d->digit, (size_t)p);
    if (up) {
        int i = p - 1;
        while (i >= 0 && r->digit[i] == 9)
            r->digit[i--] = 0;
        if (i >= 0)
            r->digit[i]++;
        else {
            r->digit[0] = 1; /* 99..9 becomes 100..0 */
            r->point++;
        }
    }
    decimal_trim(r);
}

/* true when cutting d to p digits should round up: nearest, ties to even. */
static bool decimal_rounds_up(const decimal *d, int p)
{
    if (d->digit[p] != 5 || d->n > p + 1)
        return d->digit[p] >= 5;
    return d->digit[p - 1] & 1;
}

/* The fewest digits that read back as x; of these, the nearest to x. At a power of two the spacing below is
 * half that above, so the nearest number of p digits may fail where the next one up succeeds: both are
 * tried. */
static void decimal_shortest(decimal *d, double x, format f)
{
    decimal exact, r;
    double back;
    decimal_exact(&exact, x);
    for (int p = 1; p < exact.n; p++)
        for (int other = 0; other < 2; other++) {
            decimal_cut(&r, &exact, p, decimal_rounds_up(&exact, p) != (other != 0));
            if (decimal_to_binary(&r, f, &back) && back == x) {
                *d = r;
                return;
            }
        }
    *d = exact;
}

/* Lays out digits as Python's repr does: plain for 1e-4 <= |x| < 1e16, else d.ddde-05. */
static size_t decimal_print(char *out, const decimal *d)
{
    size_t n = 0;
    const int point = (int)d->point;
    const bool plain = point > -4 && point <= 16;
    if (d->negative)
        out[n++] = '-';
    if (plain && point <= 0) {
        out[n++] = '0';
        out[n++] = '.';
        for (int i = point; i < 0; i++)
            out[n++] = '0';
    }
    const int whole = plain ? point : 1; /* digits before the point */
    for (int i = 0; i < d->n || i < whole; i++) {
        if (i == whole && i > 0)
            out[n++] = '.';
        out[n++] = (char)('0' + (i < d->n ? d->digit[i] : 0));
    }
    if (!plain) {
        int e = point - 1;
        out[n++] = 'e';
        out[n++] = e < 0 ? '-' : '+';
        e = e < 0 ? -e : e;
        if (e >= 100)
            out[n++] = (char)('0' + e / 100);
        out[n++] = (char)('0' + e / 10 % 10);
        out[n++] = (char)('0' + e % 10);
    }
    out[n] = 0;
    return n;
}

static size_t format_number(char *out, size_t size, double x, format f)
{
    const char *zero = copysign(1, x) < 0 ? "-0" : "0";
    const char *word = x != x ? "nan" : x > f.largest ? "inf" : x < -f.largest ? "-inf"
                     : x == 0 ? zero : NULL;
    decimal d;
    if (size < 32)
        return 0;
    if (word) {
        strcpy(out, word);
        return strlen(word);
    }
    decimal_shortest(&d, x, f);
    return decimal_print(out, &d);
}

size_t io_format_double(char *out, size_t size, double x)
{
    return format_number(out, size, x, format_double);
}

size_t io_format_float(char *out, size_t size, float x)
{
    return format_number(out, size, (double)x, format_float);
}
