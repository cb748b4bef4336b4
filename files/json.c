/* json.c: JSON read where it lies.
 *
 *   text --json_open: one strict pass--> a view --json_get, json_next, json_string, json_number--> values
 *
 * Not here: what a member means (every reader of a config file), decimal numbers (decimal.c), files
 * (system.c).
 * Source: RFC 8259, and the three words beyond it that Python's json module writes. json_open checks
 * everything once; the walkers after it rely on that and stay short. Nothing here allocates. */
#include "files/json.h"
#include "files/decimal.h"
#include "files/utf8.h"

#include <string.h>

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
        const int  v = h >= '0' && h <= '9' ? h - '0'
                     : h >= 'a' && h <= 'f' ? h - 'a' + 10
                     : h >= 'A' && h <= 'F' ? h - 'A' + 10 : -1;
        if (v < 0)
            return CHAR_BAD;
        c = c << 4 | (uint32_t)v;
    }
    return c;
}

/* The character that the escape at **at (after its backslash) means; moves past it. CHAR_BAD when there is
 * none such. */
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
 * CHAR_END at the closing quote, which it passes too; CHAR_BAD, with a reason in *why, where RFC 8259 has no
 * such string. */
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

/* number = [ "-" ] ( "0" / digit1-9 *digit ) [ "." 1*digit ] [ "e" [ "+" / "-" ] 1*digit ]     (RFC 8259
 * section 6) */
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

/* Pops the keys above mark; refuses when two of them are equal. (Two keys of equal 64-bit hash pass for
 * equal: an honest file has none, and a hostile one gains nothing by being refused.) */
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

/* "-" and what follows it: a number, or the infinity that Python writes. */
static bool scan_negative(scan *s)
{
    if (s->end - s->at < 2 || s->at[1] != 'I')
        return scan_number(s);
    s->at++;
    return scan_word(s, "Infinity");
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
    case 'N': return scan_word(s, "NaN");
    case 'I': return scan_word(s, "Infinity");
    case '-': return scan_negative(s);
    default:
        if (is_digit(*s->at))
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
        return fail(err, SAEURON_EFORMAT,
                    "%s: begins with a byte-order mark, which JSON forbids: save it as UTF-8 without one",
                    path);
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
    return fail(err, SAEURON_EFORMAT, "%s: not valid JSON: line %zu, byte %zu: %s", path, line, column,
                s.why);
}

int json_open_object(json *v, const char *text, size_t size, const char *path, saeuron_error *err)
{
    const int code = json_open(v, text, size, path, err);
    if (code || json_kind(*v) == '{')
        return code;
    return fail(err, SAEURON_EFORMAT, "%s: must hold a JSON object, {...}, and holds something else", path);
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
    /* The loop passed strings and containers whole, but numbers and words only by their first character. */
    while (at < end && (!*at || !strchr(",}] \n\r\t:", *at)))
        at++;
    return at;
}

char json_kind(json v)
{
    if (!v.at)
        return 0;
    if (*v.at == 'I' || (*v.at == '-' && v.at[1] == 'I'))
        return 'N';
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
    for (int quote = 0; quote < 2; quote++) { /* the opening quote and the text, then the closing quote */
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

bool json_number(json v, double *x) { return json_kind(v) == '0' && io_scan_double(&v.at, v.end, x); }
bool json_integer(json v, int64_t *x) { return json_kind(v) == '0' && io_scan_int(&v.at, v.end, x); }
