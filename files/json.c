/* json.c: JSON read where it lies, and decimal numbers to and from binary, exactly.
 *
 *   text --json_open: one strict pass--> a view --json_get, json_next, json_string, json_number--> values
 *   decimal digits <--big integers--> double, float
 *
 * Not here: what a member means (every reader of a config file), and files (io.c).
 * Source: RFC 8259 (JSON), RFC 3629 (UTF-8), IEEE 754-2019 section 5.12 (conversion).
 * json_open checks everything once; the walkers after it rely on that and stay short. Nothing here allocates, and
 * nothing depends on the locale, as strtod and printf do. */
#include "files/json.h"
#include "files/decimal.h"
#include "files/utf8.h"

#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>

/* ---- UTF-8 ---- */

size_t io_utf8(const char *text, size_t n, uint32_t *code)
{
    const unsigned char *s = (const unsigned char *)text;
    static const uint32_t least[5] = { 0, 0, 0x80, 0x800, 0x10000 };
    if (n == 0)
        return 0;
    if (s[0] < 0x80) {
        *code = s[0];
        return 1;
    }
    const size_t length = s[0] >= 0xF8 ? 0 : s[0] >= 0xF0 ? 4 : s[0] >= 0xE0 ? 3 : s[0] >= 0xC0 ? 2 : 0;
    if (length == 0 || length > n)
        return 0;
    uint32_t c = s[0] & (0x7Fu >> length);
    for (size_t i = 1; i < length; i++) {
        if ((s[i] & 0xC0) != 0x80)
            return 0;
        c = c << 6 | (s[i] & 0x3Fu);
    }
    if (c < least[length] || c > 0x10FFFF || (c >= 0xD800 && c <= 0xDFFF))
        return 0;
    *code = c;
    return length;
}

size_t io_utf8_put(char out[4], uint32_t c)
{
    const size_t length = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    static const unsigned lead[5] = { 0, 0, 0xC0, 0xE0, 0xF0 };
    for (size_t i = length - 1; i > 0; i--, c >>= 6)
        out[i] = (char)(unsigned char)(0x80 | (c & 0x3F));
    out[0] = (char)(unsigned char)(lead[length] | c);
    return length;
}

/* ---- the characters of a string ---- */

enum { CHAR_END = 0x110000, CHAR_BAD }; /* beside the codes 0..0x10FFFF */

/* The value of four hexadecimal digits at s, or CHAR_BAD. */
static uint32_t hex4(const char *s, const char *end)
{
    uint32_t c = 0;
    if (end - s < 4)
        return CHAR_BAD;
    for (int i = 0; i < 4; i++) {
        const char h = s[i];
        const int  v = h >= '0' && h <= '9' ? h - '0' : h >= 'a' && h <= 'f' ? h - 'a' + 10 : h >= 'A' && h <= 'F' ? h - 'A' + 10 : -1;
        if (v < 0)
            return CHAR_BAD;
        c = c << 4 | (uint32_t)v;
    }
    return c;
}

/* The character that the escape at **at (after its backslash) means; moves past it. CHAR_BAD when there is none such. */
static uint32_t escaped_char(const char **at, const char *end, const char **why)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    const char *s = *at;
    *why = "this escape does not exist";
    if (s == end)
        return CHAR_BAD;
    const char *known = *s ? strchr(from, *s) : NULL;
    if (known) {
        *at = s + 1;
        return (unsigned char)to[known - from];
    }
    if (*s != 'u')
        return CHAR_BAD;
    uint32_t c = hex4(s + 1, end);
    *why = "\\u needs four hexadecimal digits";
    if (c == CHAR_BAD)
        return CHAR_BAD;
    s += 5;
    if (c >= 0xD800 && c <= 0xDFFF) {
        *why = "half of a surrogate pair";
        if (c >= 0xDC00 || end - s < 6 || s[0] != '\\' || s[1] != 'u')
            return CHAR_BAD;
        const uint32_t low = hex4(s + 2, end);
        if (low < 0xDC00 || low > 0xDFFF)
            return CHAR_BAD;
        c = 0x10000 + ((c - 0xD800) << 10) + (low - 0xDC00);
        s += 6;
    }
    *at = s;
    return c;
}

/* The next character of the string that *at lies in (after its opening quote), unescaped; moves past it.
 * CHAR_END at the closing quote, which it passes too; CHAR_BAD, with a reason in *why, where RFC 8259 has no such string. */
static uint32_t string_char(const char **at, const char *end, const char **why)
{
    const char *s = *at;
    uint32_t c;
    *why = "the text ends inside a string";
    if (s == end)
        return CHAR_BAD;
    if (*s == '"') {
        *at = s + 1;
        return CHAR_END;
    }
    if (*s == '\\') {
        s++;
        c = escaped_char(&s, end, why);
        if (c != CHAR_BAD)
            *at = s;
        return c;
    }
    const size_t length = io_utf8(s, (size_t)(end - s), &c);
    *why = "this is not UTF-8";
    if (length == 0)
        return CHAR_BAD;
    *why = "control characters in a string must be escaped";
    if (c < 0x20)
        return CHAR_BAD;
    *at = s + length;
    return c;
}

/* ---- the strict pass ---- */

#define MAX_DEPTH 64

typedef struct seen_key { uint64_t hash; const char *at; } seen_key;

/* One pass over a text. When something is wrong, at is where and why says what. */
typedef struct scan {
    const char *at, *end, *why;
    seen_key keys[JSON_KEYS];   /* a stack: the keys so far of every object that is open */
    size_t   key_count;
} scan;

static bool refuse(scan *s, const char *why)
{
    s->why = why;
    return false;
}

static void skip_space(const char **at, const char *end)
{
    while (*at < end && (**at == ' ' || **at == '\n' || **at == '\r' || **at == '\t'))
        (*at)++;
}

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

static bool scan_digits(scan *s)
{
    if (s->at == s->end || !is_digit(*s->at))
        return refuse(s, "a number lacks a digit here");
    while (s->at < s->end && is_digit(*s->at))
        s->at++;
    return true;
}

/* number = [ "-" ] ( "0" / digit1-9 *digit ) [ "." 1*digit ] [ "e" [ "+" / "-" ] 1*digit ]     (RFC 8259 section 6) */
static bool scan_number(scan *s)
{
    if (*s->at == '-')
        s->at++;
    if (s->at < s->end && *s->at == '0') {
        s->at++;
        if (s->at < s->end && is_digit(*s->at))
            return refuse(s, "a number may not begin with 0");
    } else if (!scan_digits(s))
        return false;
    if (s->at < s->end && *s->at == '.') {
        s->at++;
        if (!scan_digits(s))
            return false;
    }
    if (s->at < s->end && (*s->at == 'e' || *s->at == 'E')) {
        s->at++;
        if (s->at < s->end && (*s->at == '+' || *s->at == '-'))
            s->at++;
        return scan_digits(s);
    }
    return true;
}

/* A string; *hash (FNV-1a over its characters) tells keys apart however they are escaped. */
static bool scan_string(scan *s, uint64_t *hash)
{
    uint64_t h = UINT64_C(0xCBF29CE484222325);
    s->at++;
    for (;;) {
        const char *why;
        const uint32_t c = string_char(&s->at, s->end, &why);
        if (c == CHAR_BAD)
            return refuse(s, why);
        if (c == CHAR_END)
            break;
        h = (h ^ c) * UINT64_C(0x100000001B3);
    }
    *hash = h;
    return true;
}

static bool scan_word(scan *s, const char *word)
{
    const size_t n = strlen(word);
    if ((size_t)(s->end - s->at) < n || memcmp(s->at, word, n) != 0)
        return refuse(s, "expected a value");
    s->at += n;
    return true;
}

/* Shell's sort by hash, Knuth's gaps: no recursion, no memory. */
static void sort_keys(seen_key *k, size_t n)
{
    size_t gap = 1;
    while (gap < n / 3)
        gap = 3 * gap + 1;
    for (; gap > 0; gap /= 3)
        for (size_t i = gap; i < n; i++) {
            const seen_key x = k[i];
            size_t j = i;
            for (; j >= gap && k[j - gap].hash > x.hash; j -= gap)
                k[j] = k[j - gap];
            k[j] = x;
        }
}

/* Pops the keys above mark; refuses when two of them are equal. (Two keys of equal 64-bit hash pass for equal: an honest
 * file has none, and a hostile one gains nothing by being refused.) */
static bool pop_keys(scan *s, size_t mark)
{
    seen_key *k = s->keys + mark;
    const size_t n = s->key_count - mark;
    sort_keys(k, n);
    s->key_count = mark;
    for (size_t i = 1; i < n; i++)
        if (k[i].hash == k[i - 1].hash) {
            s->at = k[i].at > k[i - 1].at ? k[i].at : k[i - 1].at;
            return refuse(s, "this key is in the object twice");
        }
    return true;
}

static bool scan_value(scan *s, int depth);

/* The key of a member and the colon after it. */
static bool scan_key(scan *s)
{
    const char *start = s->at;
    uint64_t hash;
    if (s->at == s->end || *s->at != '"')
        return refuse(s, "expected a key in double quotes");
    if (!scan_string(s, &hash))
        return false;
    if (s->key_count < JSON_KEYS)
        s->keys[s->key_count++] = (seen_key){ hash, start };
    skip_space(&s->at, s->end);
    if (s->at == s->end || *s->at != ':')
        return refuse(s, "expected ':'");
    s->at++;
    skip_space(&s->at, s->end);
    return true;
}

/* The inside of an object or array, its opening bracket still ahead. */
static bool scan_container(scan *s, int depth)
{
    const bool   object = *s->at == '{';
    const char   close = object ? '}' : ']';
    const size_t mark = s->key_count;
    if (depth == MAX_DEPTH)
        return refuse(s, "nested deeper than 64");
    s->at++;
    skip_space(&s->at, s->end);
    if (s->at < s->end && *s->at == close) {
        s->at++;
        return true;
    }
    for (;;) {
        if (object && !scan_key(s))
            return false;
        if (!scan_value(s, depth + 1))
            return false;
        skip_space(&s->at, s->end);
        if (s->at == s->end)
            return refuse(s, object ? "the text ends inside an object" : "the text ends inside an array");
        const char c = *s->at;
        if (c != close && c != ',')
            return refuse(s, object ? "expected ',' or '}'" : "expected ',' or ']'");
        s->at++;
        if (c == close)
            return pop_keys(s, mark);
        skip_space(&s->at, s->end);
    }
}

/* One value at s->at, no white space before it. */
static bool scan_value(scan *s, int depth)
{
    uint64_t unused;
    if (s->at == s->end)
        return refuse(s, "the text ends where a value should be");
    switch (*s->at) {
    case '{':
    case '[': return scan_container(s, depth);
    case '"': return scan_string(s, &unused);
    case 't': return scan_word(s, "true");
    case 'f': return scan_word(s, "false");
    case 'n': return scan_word(s, "null");
    default:
        if (*s->at == '-' || is_digit(*s->at))
            return scan_number(s);
        return refuse(s, "expected a value");
    }
}

int json_open(json *v, const char *text, size_t size, const char *path, saeuron_error *err)
{
    scan s;
    s.at = text;
    s.end = text + size;
    s.why = NULL;
    s.key_count = 0;
    *v = (json){ NULL, NULL };
    if (size >= 3 && !memcmp(text, "\xEF\xBB\xBF", 3))
        return fail(err, SAEURON_EFORMAT, "%s: begins with a byte-order mark, which JSON forbids: save it as UTF-8 without one", path);
    skip_space(&s.at, s.end);
    const char *start = s.at;
    if (scan_value(&s, 0)) {
        skip_space(&s.at, s.end);
        if (s.at == s.end) {
            *v = (json){ start, s.end };
            return SAEURON_OK;
        }
        refuse(&s, "something follows the value");
    }
    size_t line = 1, column = 1;
    for (const char *p = text; p < s.at; p++) {
        column++;
        if (*p == '\n') {
            line++;
            column = 1;
        }
    }
    return fail(err, SAEURON_EFORMAT, "%s: not valid JSON: line %zu, byte %zu: %s", path, line, column, s.why);
}

/* ---- walking a checked text ---- */

/* The first byte after the string at at. */
static const char *past_string(const char *at)
{
    for (at++; *at != '"'; at++)
        if (*at == '\\')
            at++;
    return at + 1;
}

/* The first byte after the value at at. */
static const char *past_value(const char *at, const char *end)
{
    int depth = 0;
    do {
        if (*at == '"') {
            at = past_string(at);
            continue;
        }
        depth += (*at == '{' || *at == '[') - (*at == '}' || *at == ']');
        at++;
    } while (depth > 0);
    /* Of a number or a word only its first character is gone. A string's or container's end has no such bytes after it. */
    while (at < end && *at != ',' && *at != '}' && *at != ']' && *at != ' ' && *at != '\n' && *at != '\r' && *at != '\t' && *at != ':')
        at++;
    return at;
}

char json_kind(json v)
{
    if (!v.at)
        return 0;
    return *v.at == '-' || is_digit(*v.at) ? '0' : *v.at;
}

json_iter json_begin(json container)
{
    const char kind = json_kind(container);
    json_iter it = { container, false, kind == '{' };
    if (kind != '{' && kind != '[')
        it.at.at = NULL;
    return it;
}

bool json_next(json_iter *it, json *key, json *value)
{
    const char *at = it->at.at, *end = it->at.end;
    if (!at)
        return false;
    if (!it->started)
        at++; /* the opening bracket */
    it->started = true;
    skip_space(&at, end);
    if (*at == ',') {
        at++;
        skip_space(&at, end);
    }
    if (*at == '}' || *at == ']') {
        it->at.at = NULL;
        return false;
    }
    if (it->object) {
        if (key)
            *key = (json){ at, end };
        at = past_string(at);
        skip_space(&at, end);
        at++; /* the colon */
        skip_space(&at, end);
    }
    if (value)
        *value = (json){ at, end };
    it->at.at = past_value(at, end);
    return true;
}

bool json_get(json object, const char *key, json *value)
{
    json k, v;
    if (json_kind(object) != '{')
        return false;
    for (json_iter it = json_begin(object); json_next(&it, &k, &v);)
        if (json_equals(k, key)) {
            *value = v;
            return true;
        }
    return false;
}

size_t json_length(json v)
{
    size_t n = 0;
    for (json_iter it = json_begin(v); json_next(&it, NULL, NULL);)
        n++;
    return n;
}

bool json_string(json v, char *out, size_t size, size_t *length)
{
    size_t n = 0;
    const char *why;
    if (json_kind(v) != '"' || size == 0)
        return false;
    v.at++;
    for (uint32_t c; (c = string_char(&v.at, v.end, &why)) != CHAR_END;) {
        char bytes[4];
        const size_t k = c == CHAR_BAD || c == 0 ? size : io_utf8_put(bytes, c);
        if (k >= size - n) {
            out[0] = 0;
            return false;
        }
        memcpy(out + n, bytes, k);
        n += k;
    }
    out[n] = 0;
    if (length)
        *length = n;
    return true;
}

bool json_equals(json v, const char *text)
{
    const char *why;
    if (json_kind(v) != '"')
        return false;
    v.at++;
    for (uint32_t c; (c = string_char(&v.at, v.end, &why)) != CHAR_END;) {
        char bytes[4];
        if (c == 0 || c == CHAR_BAD)
            return false;
        const size_t n = io_utf8_put(bytes, c);
        if (strncmp(text, bytes, n) != 0)
            return false;
        text += n;
    }
    return *text == 0;
}

bool json_bool(json v, bool *x)
{
    const char kind = json_kind(v);
    if (kind != 't' && kind != 'f')
        return false;
    *x = kind == 't';
    return true;
}

size_t json_quote(char *out, size_t size, const char *text)
{
    static const char hex[] = "0123456789abcdef";
    size_t n = 0, left = strlen(text);
    char   piece[8];
    for (int quote = 0; quote < 2; quote++) { /* the opening quote and all characters, then the closing quote */
        if (out && n < size)
            out[n] = '"';
        n++;
        while (left > 0 && quote == 0) {
            uint32_t c;
            size_t used = io_utf8(text, left, &c), k;
            if (used == 0) {
                used = 1;
                c = 0xFFFD;
            }
            if (c < 0x20 || c == 0x7F) {
                memcpy(piece, "\\u00", 4);
                piece[4] = hex[c >> 4];
                piece[5] = hex[c & 15];
                k = 6;
            } else if (c == '"' || c == '\\') {
                piece[0] = '\\';
                piece[1] = (char)c;
                k = 2;
            } else
                k = io_utf8_put(piece, c);
            if (out && n <= size && k <= size - n)
                memcpy(out + n, piece, k);
            n += k;
            text += used;
            left -= used;
        }
    }
    return n;
}

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

/* 0.digit[0]digit[1]... * 10^point. No double's boundary has more than 768 digits, so beyond 800 it only matters whether
 * anything but zeros follows: then an 801st digit stands for it. */
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

/* The nearest number of the format, ties to even, as a double (which holds every float). false when it is too large.
 * num/den is the value over 2^k, in [1,2); binary long division gives the bits down to 2^lsb, the remainder rounds. */
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

bool json_number(json v, double *x)
{
    decimal d;
    return json_kind(v) == '0' && decimal_read(&d, &v.at, v.end) && decimal_to_binary(&d, format_double, x);
}

bool json_integer(json v, int64_t *x)
{
    decimal d;
    uint64_t m = 0;
    if (json_kind(v) != '0' || !decimal_read(&d, &v.at, v.end) || (d.n > 0 && (d.point > 19 || d.point < d.n)))
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
    const char *at = text, *end = text + strlen(text);
    decimal d;
    return decimal_read(&d, &at, end) && at == end && decimal_to_binary(&d, format_double, x);
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

bool io_parse_part(const char *text, size_t *i, size_t *n)
{
    char     first[24] = "";
    uint64_t part, parts;
    const char *slash = strchr(text, '/');
    if (slash && slash - text < 20)
        memcpy(first, text, (size_t)(slash - text));
    if (!slash || !io_parse_uint(first, &part) || !io_parse_uint(slash + 1, &parts) || part >= parts || parts > IO_PARTS)
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
    d->negative = signbit(x) != 0;
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

/* The fewest digits that read back as x; of these, the nearest to x. At a power of two the spacing below is half that
 * above, so the nearest number of p digits may fail where the next one up succeeds: both are tried. */
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
    const char *word = x != x ? "nan" : x > f.largest ? "inf" : x < -f.largest ? "-inf" : x == 0 ? (signbit(x) ? "-0" : "0") : NULL;
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

size_t io_format_double(char *out, size_t size, double x) { return format_number(out, size, x, format_double); }
size_t io_format_float(char *out, size_t size, float x) { return format_number(out, size, (double)x, format_float); }
