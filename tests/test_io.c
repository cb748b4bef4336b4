/* test_io.c: io.c, json.c and png.c: what they read back, what they refuse, what they leave behind.
 *
 * Hostile input comes three ways: tables of made files with the words that the message must hold, every truncation, every
 * byte changed (best run under -fsanitize=address,undefined; tests/fuzz_io.c goes further). Every allocation of every
 * loader fails once. What other programs think of our files is tests/check_io.py's subject. */
#define _POSIX_C_SOURCE 200809L
#include "test.h"
#include "arithmetic/nn.h"
#include "arithmetic/rng.h"
#include "files/decimal.h"
#include "files/npy.h"
#include "files/png.h"

#include <dirent.h>
#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define COUNT(a) (sizeof(a) / sizeof *(a))

/* ---- help ---- */

/* A path in this run's folder; the result of the last four calls stays valid. */
static const char *at(const char *name)
{
    static char paths[4][1200];
    static int  next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", test_tmp(), name);
    return path;
}

/* The whole file, to be freed. */
static unsigned char *read_bytes(const char *path, size_t *n)
{
    unsigned char *p = malloc(1 << 22);
    FILE *f = fopen(path, "rb");
    *n = f ? fread(p, 1, 1 << 22, f) : 0;
    if (f)
        fclose(f);
    return p;
}

/* Files of this run's folder whose name contains part. */
static int files_like(const char *part)
{
    int n = 0;
    DIR *d = opendir(test_tmp());
    for (struct dirent *e; d && (e = readdir(d)) != NULL;)
        n += strstr(e->d_name, part) != NULL;
    if (d)
        closedir(d);
    return n;
}

static void le(unsigned char *p, uint64_t x, int n)
{
    for (int i = 0; i < n; i++, x >>= 8)
        p[i] = (unsigned char)(x & 255);
}

static void be32(unsigned char *p, uint32_t x)
{
    for (int i = 0; i < 4; i++)
        p[i] = (unsigned char)(x >> (24 - 8 * i) & 255);
}

/* A host whose memory counts, and fails at the allocation number fail_at (from 1; 0: never). */
typedef struct counting { long calls, live, fail_at; } counting;

static void *count_alloc(void *user, size_t size)
{
    counting *c = user;
    if (++c->calls == c->fail_at)
        return NULL;
    void *p = malloc(size);
    c->live += p != NULL;
    return p;
}

static void count_free(void *user, void *p)
{
    counting *c = user;
    c->live -= p != NULL;
    free(p);
}

/* A host whose only file is a buffer called "memory". */
typedef struct one_file { const void *data; size_t size; int mapped; } one_file;

static const void *map_one(void *user, const char *path, size_t *size)
{
    one_file *f = user;
    if (strcmp(path, "memory"))
        return NULL;
    f->mapped++;
    *size = f->size;
    return f->data;
}

static void unmap_one(void *user, const void *data, size_t size)
{
    one_file *f = user;
    f->mapped -= data == f->data && size == f->size;
}

static uint64_t random_bits(void)
{
    static uint64_t n;
    return rng_mix(++n);
}

/* ---- errors, memory, paths ---- */

/* A file name from a hostile folder must not move the cursor or end the line. */
static void fail_is_one_line(void)
{
    saeuron_error e;
    CHECK(fail(&e, SAEURON_EIO, "a\nb\x1b[2J\x7f \xC2\x9B é") == SAEURON_EIO && e.code == SAEURON_EIO, "code %d", e.code);
    CHECK(!strcmp(e.text, "a?b?[2J? ?? é"), "\"%s\"", e.text);
    char longer[1000];
    memset(longer, 'x', sizeof longer);
    longer[478] = '\xC3', longer[479] = '\xA9', longer[999] = 0; /* é across the buffer's end */
    fail(&e, SAEURON_EUSAGE, "%s", longer);
    CHECK(strlen(e.text) == 478, "%zu bytes: half a character was left, or more", strlen(e.text));
    CHECK(fail(NULL, SAEURON_ENAN, "x") == SAEURON_ENAN, "NULL is allowed");
}

static void memory_products(void)
{
    CHECK(!io_alloc(NULL, SIZE_MAX / 2, 3), "an overflowing product was allocated");
    void *p = io_alloc(NULL, 0, 8);
    CHECK(p, "nothing at all is still something");
    io_free(NULL, p);
    io_free(NULL, NULL);
}

static void path_joins(void)
{
    char out[8];
    CHECK(io_join(out, sizeof out, "a", "b") && !strcmp(out, "a/b"), "%s", out);
    CHECK(io_join(out, sizeof out, "a/", "b") && !strcmp(out, "a/b"), "%s", out);
    CHECK(io_join(out, sizeof out, "", "b") && !strcmp(out, "b"), "%s", out);
    CHECK(io_join(out, sizeof out, "abc", "def") && !io_join(out, sizeof out, "abc", "defg"), "seven bytes fit in eight");
}

/* ---- JSON ---- */

static int open_text(json *v, const char *text, saeuron_error *e) { return json_open(v, text, strlen(text), "t", e); }

static void json_accepts(void)
{
    static const char *const good[] = {
        "0", "-0", "-1.5e+10", "1E5", "\"\"", "true", "false", "null", "[]", "{}", " \t\r\n[ 1 , 2 ] ", "[[],[[]],{}]",
        "{\"a\":{\"a\":1},\"b\":[{\"a\":2},{\"a\":3}]}", "\"\\u00e9\\uD83D\\uDE00\\n\\/\"", "\"\xC3\xA9\xF0\x9F\x98\x80\x7F\"", "\"\\u0000\"",
    };
    json v;
    saeuron_error e;
    for (size_t i = 0; i < COUNT(good); i++)
        CHECK(open_text(&v, good[i], &e) == SAEURON_OK, "%s: %s", good[i], e.text);
}

/* Each line names one rule of RFC 8259 or RFC 3629, and the words that the message must hold. */
static void json_refuses(void)
{
    static const struct { const char *text, *why; } bad[] = {
        { "", "ends where" }, { " ", "ends where" }, { "x", "expected a value" }, { "tru", "expected a value" }, { "truex", "follows" },
        { "1 2", "follows" }, { "[1", "ends inside an array" }, { "[1,", "ends where" }, { "[1,]", "expected a value" }, { "[1 2]", "',' or ']'" },
        { "{", "key" }, { "{\"a\"", "':'" }, { "{\"a\":", "ends where" }, { "{\"a\":1", "ends inside an object" }, { "{\"a\":1,}", "key" }, { "{a:1}", "key" },
        { "{\"a\" 1}", "':'" }, { "[1}", "',' or ']'" }, { "]", "expected a value" }, { "01", "begin with 0" }, { "-", "digit" }, { "1.", "digit" },
        { ".5", "expected a value" }, { "+1", "expected a value" }, { "1e", "digit" }, { "1e+", "digit" }, { "NaN", "expected a value" },
        { "\"a", "inside a string" }, { "\"\\", "escape" }, { "\"\\x\"", "escape" }, { "\"\\u12g4\"", "hexadecimal" }, { "\"\\u12", "hexadecimal" },
        { "\"\\uD800\"", "surrogate" }, { "\"\\uD800x\"", "surrogate" }, { "\"\\uD800\\u0041\"", "surrogate" }, { "\"\\uDC00\"", "surrogate" }, { "\"\\uDC00\\uDC00\"", "surrogate" },
        { "\"\n\"", "escaped" }, { "\"\x01\"", "escaped" }, { "\"\x80\"", "UTF-8" }, { "\"\xC0\x80\"", "UTF-8" }, { "\"\xE0\x80\x80\"", "UTF-8" },
        { "\"\xED\xA0\x80\"", "UTF-8" }, { "\"\xF4\x90\x80\x80\"", "UTF-8" }, { "\"\xF8\x88\x80\x80\x80\"", "UTF-8" }, { "\"\xC3\"", "UTF-8" },
        { "\xEF\xBB\xBF{}", "byte-order mark" }, { "/* */ 1", "expected a value" }, { "{\"a\":1,\"a\":2}", "twice" }, { "{\"a\":1,\"b\":2,\"\\u0061\":2}", "twice" },
        { "[{\"b\":[{\"x\":1,\"y\":0,\"x\":1}]}]", "twice" },
    };
    json v;
    saeuron_error e;
    for (size_t i = 0; i < COUNT(bad); i++) {
        const int code = open_text(&v, bad[i].text, &e);
        CHECK(code == SAEURON_EFORMAT && strstr(e.text, bad[i].why), "%s: code %d, %s", bad[i].text, code, code ? e.text : "accepted");
        CHECK(!v.at, "%s: a view of a refused text", bad[i].text);
    }
    open_text(&v, "{\n \"a\": 1,\n \"b\": x}", &e);
    CHECK(strstr(e.text, "line 3, byte 7"), "%s", e.text);
    CHECK(json_open(&v, "\"a\0b\"", 5, "t", &e) == SAEURON_EFORMAT, "a zero byte passed");
    CHECK(json_open(&v, "\"\\\0\"", 4, "t", &e) == SAEURON_EFORMAT, "an escaped zero byte passed");
}

/* A view must end where its size says, not at a NUL that a mapped file lacks. */
static void json_ends_in_time(void)
{
    static const char text[] = "{\"key\":[1.5e3,\"\\u00e9\xC3\xA9\",true,null]}";
    json v;
    for (size_t n = 0; n < sizeof text - 1; n++) {
        char *copy = malloc(n + 1); /* the sanitizer sees any byte read beyond n + 1; give exactly n below */
        char *tight = realloc(copy, n ? n : 1);
        memcpy(tight, text, n);
        CHECK(json_open(&v, tight, n, "t", NULL) == SAEURON_EFORMAT, "accepted when cut to %zu bytes", n);
        free(tight);
    }
}

static void json_depth(void)
{
    char text[200];
    json v;
    for (int n = 63; n <= 65; n++) {
        memset(text, '[', (size_t)n);
        memset(text + n, ']', (size_t)n);
        text[2 * n] = 0;
        CHECK((open_text(&v, text, NULL) == SAEURON_OK) == (n <= 64), "depth %d", n);
    }
    char *deep = malloc(1000000);
    memset(deep, '[', 1000000);
    CHECK(json_open(&v, deep, 1000000, "t", NULL) == SAEURON_EFORMAT, "a million brackets");
    free(deep);
}

static void json_walks(void)
{
    json v, a, k, x;
    double d;
    bool   b = false;
    int    n = 0;
    CHECK(!open_text(&v, " { \"a\" : [ 1 , \"]\\\"}\" , { } , [ ] , -2.5 ] , \"b\":{\"c\":true} , \"\\u0064\":null}", NULL), "refused");
    CHECK(json_kind(v) == '{' && json_length(v) == 3, "%zu members", json_length(v));
    CHECK(json_get(v, "a", &a) && json_kind(a) == '[' && json_length(a) == 5, "a");
    static const char kinds[] = "0\"{[0";
    for (json_iter it = json_begin(a); json_next(&it, &k, &x); n++)
        CHECK(json_kind(x) == kinds[n], "element %d is %c", n, json_kind(x));
    CHECK(n == 5, "%d elements", n);
    CHECK(json_get(v, "b", &a) && json_get(a, "c", &x) && json_bool(x, &b) && b, "b.c");
    CHECK(json_get(v, "d", &x) && json_kind(x) == 'n' && !json_bool(x, &b), "d");
    CHECK(!json_get(v, "c", &x) && !json_get(x, "a", &a) && !json_get((json){ NULL, NULL }, "a", &a), "found what is not there");
    CHECK(!json_number(v, &d) && json_length(x) == 0 && json_kind((json){ NULL, NULL }) == 0, "wrong kinds");
    CHECK(!open_text(&v, "[]", NULL) && json_length(v) == 0, "an empty array has elements");
}

static void json_strings(void)
{
    json v;
    char out[16];
    size_t n = 99;
    open_text(&v, "\"a\\u00e9\\ud83d\\ude00\\\"\\\\\\/\\b\\f\\n\"", NULL);
    CHECK(json_string(v, out, sizeof out, &n) && n == 13 && !strcmp(out, "a\xC3\xA9\xF0\x9F\x98\x80\"\\/\b\f\n"), "%zu: %s", n, out);
    CHECK(json_equals(v, out) && !json_equals(v, "a") && !json_equals(v, "a\xC3\xA9\xF0\x9F\x98\x80\"\\/\b\f\nx"), "equality");
    CHECK(json_string(v, out, 14, NULL) && !json_string(v, out, 13, NULL), "13 bytes and a NUL need exactly 14");
    open_text(&v, "\"a\\u0000b\"", NULL);
    CHECK(!json_string(v, out, sizeof out, NULL) && !json_equals(v, "a"), "a zero inside ended the string");
    open_text(&v, "\"\"", NULL);
    CHECK(json_string(v, out, 1, &n) && n == 0 && json_equals(v, ""), "the empty string");
    open_text(&v, "7", NULL);
    CHECK(!json_string(v, out, sizeof out, NULL) && !json_equals(v, "7"), "a number is no string");
}

/* The key stack holds JSON_KEYS; beyond it a duplicate passes, and nothing is overwritten. */
static void json_many_keys(void)
{
    char *text = malloc(1 << 20);
    json  v, x;
    for (int last = 0; last < 2; last++) {
        size_t n = 0;
        for (int i = 0; i < 2 * JSON_KEYS; i++)
            n += (size_t)sprintf(text + n, "%c\"k%d\":%d", i ? ',' : '{', i == JSON_KEYS - 1 + last ? 0 : i, i);
        text[n++] = '}';
        CHECK((json_open(&v, text, n, "t", NULL) == SAEURON_OK) == (last == 1), "key %d", JSON_KEYS - 1 + last);
    }
    CHECK(json_get(v, "k2000", &x) && json_length(v) == 2 * JSON_KEYS, "the last of many");
    free(text);
}

/* CLIP's vocab.json has 49,408 members; it opens in a few milliseconds. */
static void json_vocabulary_speed(void)
{
    char *text = malloc(2 << 20);
    json  v, key, value;
    size_t n = 0;
    int64_t sum = 0, x;
    char name[64];
    for (int i = 0; i < 49408; i++)
        n += (size_t)sprintf(text + n, "%c\"\\u0120w%d</w>\": %d", i ? ',' : '{', i, i);
    text[n++] = '}';
    const double start = os_seconds();
    CHECK(json_open(&v, text, n, "vocab", NULL) == SAEURON_OK, "refused");
    for (json_iter it = json_begin(v); json_next(&it, &key, &value);)
        sum += json_string(key, name, sizeof name, NULL) && json_integer(value, &x) ? x : -1;
    const double ms = 1000 * (os_seconds() - start);
    CHECK(sum == INT64_C(49408) * 49407 / 2, "sum %" PRId64, sum);
    test_note("opened and walked in %.1f ms (bar 50)", ms);
    CHECK(ms < 5000, "%.0f ms: something is quadratic", ms);
    free(text);
}

/* ---- numbers ---- */

static uint64_t bits_of(double x)
{
    uint64_t b;
    memcpy(&b, &x, 8);
    return b;
}

/* Ties, the ends of the range, and digits beyond any that a table of powers could hold. */
static void numbers_read(void)
{
    static const struct { const char *text; uint64_t bits; } table[] = {
        { "0", 0 }, { "-0", UINT64_C(1) << 63 }, { "1", 0x3FF0000000000000 }, { "0.1", 0x3FB999999999999A }, { "1e22", 0x4480F0CF064DD592 },
        { "1e23", 0x44B52D02C7E14AF6 }, { "9007199254740993", 0x4340000000000000 }, { "9007199254740993.00000000000000000000000000001", 0x4340000000000001 },
        { "9007199254740995", 0x4340000000000002 }, { "4.9406564584124654e-324", 1 }, { "2.4703282292062327e-324", 0 }, { "2.4703282292062328e-324", 1 },
        { "7.4109846876186981e-324", 1 }, { "7.4109846876186982e-324", 2 }, { "2.2250738585072011e-308", 0x000FFFFFFFFFFFFF }, { "2.2250738585072014e-308", 0x0010000000000000 },
        { "1.7976931348623157e308", 0x7FEFFFFFFFFFFFFF }, { "1.7976931348623158e308", 0x7FEFFFFFFFFFFFFF }, { "123456789012345678901234567890", 0x45F8EE90FF6C373E },
        { "1e-400", 0 }, { "1e-99999999999999999999", 0 }, { "0e99999999999999999999", 0 },
    };
    double x;
    for (size_t i = 0; i < COUNT(table); i++)
        CHECK(io_parse_double(table[i].text, &x) && bits_of(x) == table[i].bits, "%s: %016" PRIx64, table[i].text, bits_of(x));
    static const char *const bad[] = { "", "-", ".", "e5", "1e", "1e+", "1x", " 1", "1 ", "0x10", "nan", "inf", "1..2", "1,5", "1e400", "1.7976931348623159e308", "-1e99999999999999999999" };
    for (size_t i = 0; i < COUNT(bad); i++)
        CHECK(!io_parse_double(bad[i], &x), "%s: %g", bad[i], x);
    CHECK(io_parse_double("+.5", &x) && x == 0.5 && io_parse_double("5.", &x) && x == 5, "a person may leave out a side");
}

/* Half of the least subnormal, followed by 1,000 zeros and a one: the 801st digit decides. */
static void numbers_long(void)
{
    char text[4000];
    double x, exact = 1;
    json v;
    strcpy(text, "1");
    memset(text + 1, '0', 2000);
    strcpy(text + 2001, "e-2000");
    CHECK(io_parse_double(text, &x) && x == exact, "%g", x);
    strcpy(text, "0.");
    memset(text + 2, '0', 3000);
    strcpy(text + 3002, "1e3001");
    CHECK(!open_text(&v, text, NULL) && json_number(v, &x) && x == 1, "%g", x);
    strcpy(text, "9007199254740993.");
    memset(text + 17, '0', 3000);
    strcpy(text + 3017, "1");
    CHECK(io_parse_double(text, &x) && x == 9007199254740994.0, "%.1f: digits beyond 800 were forgotten", x);
}

static void numbers_integer(void)
{
    static const struct { const char *text; bool ok; int64_t x; } table[] = {
        { "0", true, 0 }, { "-0", true, 0 }, { "3.0", true, 3 }, { "1e2", true, 100 }, { "1.50e1", true, 15 }, { "3.5", false, 0 }, { "1e-1", false, 0 },
        { "9223372036854775807", true, INT64_MAX }, { "9223372036854775808", false, 0 }, { "-9223372036854775808", true, INT64_MIN },
        { "-9223372036854775809", false, 0 }, { "18446744073709551616", false, 0 }, { "1e19", false, 0 }, { "1e18", true, INT64_C(1000000000000000000) }, { "1e999", false, 0 },
        { "0e999", true, 0 }, { "99999999999999999999999", false, 0 },
    };
    for (size_t i = 0; i < COUNT(table); i++) {
        json v;
        int64_t x = 7;
        open_text(&v, table[i].text, NULL);
        const bool ok = json_integer(v, &x);
        CHECK(ok == table[i].ok && (!ok || x == table[i].x), "%s: %d, %" PRId64, table[i].text, ok, x);
    }
    uint64_t u;
    CHECK(io_parse_uint("18446744073709551615", &u) && u == UINT64_MAX && !io_parse_uint("18446744073709551616", &u), "2^64");
    CHECK(!io_parse_uint("", &u) && !io_parse_uint("-1", &u) && !io_parse_uint("1 ", &u) && !io_parse_uint("+1", &u), "no digits only");
}

static void numbers_print(void)
{
    static const struct { double x; const char *text; } table[] = {
        { 0, "0" }, { 1, "1" }, { -1.5, "-1.5" }, { 0.1, "0.1" }, { 100, "100" }, { 1e15, "1000000000000000" }, { 1e16, "1e+16" }, { 1e-4, "0.0001" }, { 1e-5, "1e-05" },
        { 123456.789, "123456.789" }, { 0x1p-1074, "5e-324" }, { DBL_MAX, "1.7976931348623157e+308" }, { 1.0 / 3, "0.3333333333333333" }, { 9007199254740993.0, "9007199254740992" },
        { 0x1p-44, "5.684341886080802e-14" }, { 9.5367431640625e-07, "9.5367431640625e-07" }, { 1e100, "1e+100" },
    };
    char out[32];
    for (size_t i = 0; i < COUNT(table); i++)
        CHECK(io_format_double(out, sizeof out, table[i].x) == strlen(table[i].text) && !strcmp(out, table[i].text), "%s is not %s", out, table[i].text);
    io_format_double(out, sizeof out, -0.0);
    CHECK(!strcmp(out, "-0"), "%s", out);
    io_format_float(out, sizeof out, 0.1f);
    CHECK(!strcmp(out, "0.1"), "%s: a float's shortest text, not its double's", out);
    io_format_float(out, sizeof out, FLT_MAX);
    CHECK(!strcmp(out, "3.4028235e+38"), "%s", out);
    io_format_double(out, sizeof out, (double)NAN);
    CHECK(!strcmp(out, "nan"), "%s", out);
    io_format_float(out, sizeof out, -INFINITY);
    CHECK(!strcmp(out, "-inf"), "%s", out);
}

static void numbers_round_trip(void)
{
    char out[32];
    for (int i = 0; i < 4000; i++) {
        const uint64_t b = random_bits();
        const uint32_t s = (uint32_t)(b >> 32);
        double x, y;
        float  f;
        memcpy(&x, &b, 8);
        memcpy(&f, &s, 4);
        if (x - x == 0) {
            io_format_double(out, sizeof out, x);
            CHECK(io_parse_double(out, &y) && bits_of(x) == bits_of(y), "%016" PRIx64 " printed %s", b, out);
        }
        if (f - f == 0) {
            io_format_float(out, sizeof out, f);
            CHECK(strlen(out) <= 17 && io_parse_double(out, &y) && (float)y == f, "%08" PRIx32 " printed %s", s, out);
        }
    }
}

static void quoting(void)
{
    static const char text[] = "a\"\\\n\x01\x7F\xC3\xA9\xF0\x9F\x98\x80";
    char out[64], back[64];
    json v;
    const size_t n = json_quote(out, sizeof out, text);
    CHECK(n == json_quote(NULL, 0, text) && n < sizeof out, "%zu", n);
    CHECK(json_open(&v, out, n, "t", NULL) == SAEURON_OK && json_string(v, back, sizeof back, NULL) && !strcmp(back, text), "%.*s", (int)n, out);
    CHECK(json_quote(out, sizeof out, "\xFF") == 5 && !memcmp(out, "\"\xEF\xBF\xBD\"", 5), "a stray byte becomes U+FFFD");
    memset(out, 'x', sizeof out);
    for (size_t size = 0; size < 20; size++) {
        CHECK(json_quote(out, size, text) == n, "length at %zu", size);
        CHECK(out[size] == 'x', "wrote beyond %zu", size);
    }
}

/* ---- safetensors ---- */

/* A file with the given header and data_size bytes of data (0, 1, 2, ...). */
static size_t make_safetensors(unsigned char *out, const char *header, size_t data_size)
{
    const size_t n = strlen(header);
    le(out, n, 8);
    memcpy(out + 8, header, n);
    for (size_t i = 0; i < data_size; i++)
        out[8 + n + i] = (unsigned char)i;
    return 8 + n + data_size;
}

static const float some_values[6] = { 0, 1, -2.5f, 65504, 0x1p-24f, -0.0f };
static const tensor_out some_tensors[] = {
    { "z.weight", DT_F32, 2, { 2, 3 }, some_values }, { "a.bias", DT_F16, 1, { 6 }, some_values },
    { "empty", DT_F32, 2, { 0, 5 }, some_values }, { "scalar \"\xC3\xA9\"", DT_F16, 0, { 0 }, some_values + 2 },
};
static const char *const some_metadata[] = { "hook", "up.1.1", "prompt", "a \"b\"\n\xC3\xA9", NULL };

static void safetensors_round_trip(void)
{
    saeuron_error e;
    tensors t;
    char text[32];
    json v;
    const char *path = at("round.safetensors");
    CHECK(tensors_save(NULL, path, some_tensors, COUNT(some_tensors), some_metadata, &e) == SAEURON_OK, "%s", e.text);
    CHECK(tensors_open(&t, NULL, path, &e) == SAEURON_OK, "%s", e.text);
    CHECK(t.count == 4 && !strcmp(t.list[0].name, "a.bias") && !strcmp(t.list[3].name, "z.weight"), "%zu tensors, or not sorted", t.count);
    CHECK((t.list[0].data - t.files[0].data) % 2 == 0 && tensors_find(&t, "z.weight")->data == t.files[0].data + 8 + ((size_t)t.files[0].data[0] | (size_t)t.files[0].data[1] << 8),
          "the first tensor given is not the first stored");
    CHECK(t.files[0].data[0] % 8 == 0, "the data does not begin at a multiple of 8");
    for (size_t i = 0; i < COUNT(some_tensors); i++) {
        const tensor_out *o = &some_tensors[i];
        const tensor *x = tensors_find(&t, o->name);
        CHECK(x && x->type == o->type && x->ndim == o->ndim && !memcmp(x->shape, o->shape, (size_t)o->ndim * sizeof(size_t)), "%s", o->name);
        for (size_t j = 0; x && j < x->count; j++) {
            float y;
            nn_widen(&y, (weight){ .data = x->data, .type = x->type }, j, 1);
            CHECK(y == o->values[j] && signbit(y) == signbit(o->values[j]), "%s[%zu] = %g", o->name, j, (double)y);
        }
    }
    CHECK(!tensors_find(&t, "") && !tensors_find(&t, "zz") && !tensors_find(&t, "a.bia"), "found what is not there");
    CHECK(json_get(t.metadata, "prompt", &v) && json_string(v, text, sizeof text, NULL) && !strcmp(text, some_metadata[3]), "metadata");
    tensors_close(&t);
    CHECK(tensors_save(NULL, path, NULL, 0, NULL, &e) == SAEURON_OK && tensors_open(&t, NULL, path, &e) == SAEURON_OK && t.count == 0 && !t.metadata.at, "a file of nothing");
    tensors_close(&t);
    tensors_close(&t);
}

static void safetensors_dtypes(void)
{
    static const struct { const char *name; dtype type; } all[] = {
        { "F64", DT_F64 }, { "F32", DT_F32 }, { "F16", DT_F16 }, { "BF16", DT_BF16 }, { "I64", DT_I64 },
        { "I32", DT_I32 }, { "I16", DT_I16 }, { "I8", DT_I8 }, { "U8", DT_U8 }, { "BOOL", DT_BOOL },
    };
    unsigned char file[512];
    char header[256];
    for (size_t i = 0; i < COUNT(all); i++) {
        tensors t;
        saeuron_error e;
        const size_t bytes = 3 * dtype_size(all[i].type);
        snprintf(header, sizeof header, "{\"x\":{\"dtype\":\"%s\",\"shape\":[3],\"data_offsets\":[0,%zu]}}", all[i].name, bytes);
        test_write_file(at("dtype.safetensors"), file, make_safetensors(file, header, bytes));
        CHECK(tensors_open(&t, NULL, at("dtype.safetensors"), &e) == SAEURON_OK && t.list[0].type == all[i].type && t.list[0].bytes == bytes, "%s: %s", all[i].name, e.text);
        tensors_close(&t);
    }
}

#define X(dtype, shape, offsets) "\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets

/* Each file breaks one rule of the format; the message must say which. All have 16 bytes of data. */
static void safetensors_refuses(void)
{
    static const struct { const char *header, *why; } bad[] = {
        { "[]", "'{'" }, { " {}", "'{'" }, { "{", "not valid JSON" }, { "{}", "its tensors end at byte 0" },
        { "{\"a\":1}", "no object" }, { "{\"a\":{}}", "dtype (none)" },
        { "{\"a\":{" X("F8_E4M3", "[16]", "[0,16]") "}}", "F8_E4M3" },
        { "{\"a\":{" X("F32", "4", "[0,16]") "}}", "shape" }, { "{\"a\":{" X("F32", "[-4]", "[0,16]") "}}", "dimension 0" },
        { "{\"a\":{" X("F32", "[4.5]", "[0,16]") "}}", "dimension 0" }, { "{\"a\":{" X("F32", "[1,1,1,1,1,1,1,1,4]", "[0,16]") "}}", "more than 8" },
        { "{\"a\":{" X("F32", "[4294967296,4294967296,4294967296]", "[0,16]") "}}", "more elements" },
        { "{\"a\":{" X("F32", "[4611686018427387905]", "[0,4]") "}}", "does not fit" }, /* 2^62 + 1, times 4 wraps to 4 */
        { "{\"a\":{" X("F32", "[4611686018427387908]", "[0,16]") "}}", "does not fit" },
        { "{\"a\":{" X("F32", "[99999999999999999999]", "[0,16]") "}}", "dimension 0" },
        { "{\"a\":{" X("F32", "[3]", "[0,16]") "}}", "does not fit" }, { "{\"a\":{" X("F32", "[4]", "[0]") "}}", "data_offsets" },
        { "{\"a\":{" X("F32", "[4]", "[0,8,16]") "}}", "data_offsets" }, { "{\"a\":{" X("F32", "[4]", "[16,0]") "}}", "data_offsets" },
        { "{\"a\":{" X("F32", "[4]", "[-16,0]") "}}", "data_offsets" }, { "{\"a\":{" X("F32", "[5]", "[0,20]") "}}", "ends at byte 20" },
        { "{\"a\":{" X("F32", "[4]", "[9223372036854775792,9223372036854775807]") "}}", "ends at byte" },
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":[4]}}", "data_offsets" }, { "{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,16]}}", "shape" },
        { "{\"a\":{" X("F32", "[4]", "[0,16]") ",\"x\":1}}", "unknown field" },
        { "{\"a\":{" X("F32", "[3]", "[4,16]") "}}", "begins at byte 4" }, { "{\"a\":{" X("F32", "[3]", "[0,12]") "}}", "end at byte 12" },
        { "{\"a\":{" X("F32", "[3]", "[0,12]") "},\"b\":{" X("F32", "[2]", "[8,16]") "}}", "begins at byte 8" },
        { "{\"a\":{" X("F32", "[1]", "[0,4]") "},\"b\":{" X("F32", "[2]", "[8,16]") "}}", "begins at byte 8" },
        { "{\"a\":{" X("F32", "[4]", "[0,16]") "},\"b\":{" X("F32", "[4]", "[0,16]") "}}", "begins at byte 0" },
        { "{\"a\":{" X("F32", "[0]", "[8,8]") "},\"b\":{" X("F32", "[4]", "[0,16]") "}}", "begins at byte 8" },
        { "{\"a\":{" X("F32", "[2]", "[0,8]") "},\"a\":{" X("F32", "[2]", "[8,16]") "}}", "twice" },
        { "{\"__metadata__\":[],\"a\":{" X("F32", "[4]", "[0,16]") "}}", "__metadata__" },
        { "{\"__metadata__\":{\"a\":1},\"a\":{" X("F32", "[4]", "[0,16]") "}}", "__metadata__" },
        { "{\"a\\u0000b\":{" X("F32", "[4]", "[0,16]") "}}", "holds a zero" },
    };
    unsigned char file[512];
    for (size_t i = 0; i < COUNT(bad); i++) {
        tensors t;
        saeuron_error e;
        test_write_file(at("bad.safetensors"), file, make_safetensors(file, bad[i].header, 16));
        const int code = tensors_open(&t, NULL, at("bad.safetensors"), &e);
        CHECK(code == SAEURON_EFORMAT && strstr(e.text, bad[i].why), "%s: %s", bad[i].header, code ? e.text : "accepted");
        CHECK(code == 0 || strstr(e.text, "bad.safetensors"), "the message does not name the file: %s", e.text);
        tensors_close(&t);
    }
}

/* Names of 255 bytes pass and of 256 do not; a duplicate beyond JSON's own check is found; the header's size is checked. */
static void safetensors_limits(void)
{
    tensors t;
    saeuron_error e;
    char name[257], header[512];
    unsigned char file[1024];
    for (size_t n = 255; n <= 256; n++) {
        memset(name, 'n', n);
        name[n] = 0;
        snprintf(header, sizeof header, "{\"%s\":{" X("F32", "[4]", "[0,16]") "}}", name);
        test_write_file(at("l.safetensors"), file, make_safetensors(file, header, 16));
        CHECK((tensors_open(&t, NULL, at("l.safetensors"), &e) == SAEURON_OK) == (n == 255), "a name of %zu bytes", n);
        tensors_close(&t);
    }
    char *many = malloc(1 << 20);
    size_t n = 1;
    many[0] = '{';
    for (int i = 0; i <= JSON_KEYS; i++)
        n += (size_t)sprintf(many + n, "%s\"t%d\":{" X("F32", "[0]", "[0,0]") "}", i ? "," : "", i == JSON_KEYS ? 3 : i);
    strcpy(many + n, "}");
    unsigned char *big = malloc((1 << 20) + 8);
    test_write_file(at("l.safetensors"), big, make_safetensors(big, many, 0));
    CHECK(tensors_open(&t, NULL, at("l.safetensors"), &e) == SAEURON_EFORMAT && strstr(e.text, "t3 is there twice"), "%s", e.text);
    free(big);
    free(many);
    static const struct { uint64_t size; const char *why; } headers[] = {
        { 100000001, "no safetensors" }, { 99999999, "cut short" }, { UINT64_MAX, "no safetensors" }, { UINT64_MAX - 7, "no safetensors" }, { 9, "cut short" }, { 0, "JSON" },
    };
    for (size_t i = 0; i < COUNT(headers); i++) {
        memset(file, ' ', 16);
        le(file, headers[i].size, 8);
        test_write_file(at("l.safetensors"), file, 16);
        CHECK(tensors_open(&t, NULL, at("l.safetensors"), &e) == SAEURON_EFORMAT && strstr(e.text, headers[i].why), "header of %" PRIu64 ": %s", headers[i].size, e.text);
    }
}

/* Opens a buffer as "memory" exactly as long as it is, so that a sanitizer sees a byte too far. */
static int open_buffer(const unsigned char *bytes, size_t n, saeuron_error *e)
{
    unsigned char *tight = malloc(n ? n : 1);
    memcpy(tight, bytes, n);
    one_file f = { tight, n, 0 };
    const saeuron_host host = { .user = &f, .map = map_one, .unmap = unmap_one };
    tensors t;
    const int code = tensors_open(&t, &host, "memory", e);
    for (size_t i = 0; i < t.count; i++)
        CHECK(t.list[i].data >= tight && t.list[i].bytes <= (size_t)(tight + n - t.list[i].data), "%s lies outside the file", t.list[i].name);
    tensors_close(&t);
    CHECK(f.mapped == 0, "%d maps were not given back", f.mapped);
    free(tight);
    return code;
}

static void safetensors_truncated_and_changed(void)
{
    saeuron_error e;
    size_t n;
    tensors_save(NULL, at("t.safetensors"), some_tensors, COUNT(some_tensors), some_metadata, NULL);
    unsigned char *file = read_bytes(at("t.safetensors"), &n);
    CHECK(open_buffer(file, n, &e) == SAEURON_OK, "%s", e.text);
    for (size_t i = 0; i < n; i++)
        CHECK(open_buffer(file, i, &e) == SAEURON_EFORMAT && strchr(e.text, ':'), "accepted when cut to %zu of %zu bytes", i, n);
    static const unsigned char to[] = { 0, '"', '{', '}', '[', ']', ',', ':', '9', '-', '\\', 0x80, 0xFF };
    const size_t header = 8 + file[0] + 256u * file[1];
    for (size_t i = 0; i < header; i++)
        for (size_t k = 0; k < COUNT(to); k++) {
            const unsigned char was = file[i];
            file[i] = to[k];
            open_buffer(file, n, &e);
            file[i] = was;
        }
    free(file);
}

static void write_text(const char *name, const char *text) { test_write_file(at(name), text, strlen(text)); }

static void safetensors_sharded(void)
{
    tensors t;
    saeuron_error e;
    unsigned char file[512];
    test_write_file(at("s1.safetensors"), file, make_safetensors(file, "{\"__metadata__\":{\"k\":\"v\"},\"b\":{" X("F32", "[1]", "[0,4]") "},\"d\":{" X("U8", "[3]", "[4,7]") "}}", 7));
    test_write_file(at("s2.safetensors"), file, make_safetensors(file, "{\"a\":{" X("F16", "[2]", "[0,4]") "}}", 4));
    test_write_file(at("s3.safetensors"), file, make_safetensors(file, "{\"b\":{" X("F16", "[2]", "[0,4]") "}}", 4));
    write_text("m.safetensors.index.json", "{\"metadata\":{\"total_size\":11},\"weight_map\":{\"a\":\"s2.safetensors\",\"b\":\"s1.safetensors\",\"d\":\"s1.safetensors\"}}");
    CHECK(tensors_open_model(&t, NULL, test_tmp(), "m", &e) == SAEURON_OK && t.count == 3 && t.file_count == 2, "%s", e.text);
    CHECK(!strcmp(t.list[0].name, "a") && tensors_find(&t, "d")->data[2] == 6 && tensors_find(&t, "d")->type == DT_U8, "the tensors of both files");
    tensors_close(&t);
    static const struct { const char *index, *why; int code; } bad[] = {
        { "{\"weight_map\":{\"a\":\"../s2.safetensors\"}}", "same folder", SAEURON_EFORMAT }, { "{\"weight_map\":{\"a\":\"/etc/passwd\"}}", "same folder", SAEURON_EFORMAT },
        { "{\"weight_map\":{\"a\":\"..\"}}", "same folder", SAEURON_EFORMAT }, { "{\"weight_map\":{\"a\":\"\"}}", "same folder", SAEURON_EFORMAT }, { "{\"weight_map\":{\"a\":1}}", "file name", SAEURON_EFORMAT },
        { "{\"weight_map\":[]}", "no weight_map", SAEURON_EFORMAT }, { "{}", "no weight_map", SAEURON_EFORMAT }, { "[", "not valid JSON", SAEURON_EFORMAT },
        { "{\"weight_map\":{\"a\":\"s2.safetensors\",\"x\":\"s1.safetensors\"}}", "tensor x", SAEURON_EFORMAT },
        { "{\"weight_map\":{\"b\":\"s1.safetensors\",\"a\":\"s3.safetensors\"}}", "b is there twice", SAEURON_EFORMAT },
        { "{\"weight_map\":{\"a\":\"absent.safetensors\"}}", "absent.safetensors", SAEURON_ENOENT },
    };
    for (size_t i = 0; i < COUNT(bad); i++) {
        write_text("bad.index.json", bad[i].index);
        const int code = tensors_open(&t, NULL, at("bad.index.json"), &e);
        CHECK(code == bad[i].code && strstr(e.text, bad[i].why), "%s: %s", bad[i].index, code ? e.text : "accepted");
        tensors_close(&t);
    }
}

static void model_names(void)
{
    tensors t;
    saeuron_error e;
    unsigned char file[256];
    const size_t n = make_safetensors(file, "{\"a\":{" X("F16", "[2]", "[0,4]") "}}", 4);
    CHECK(tensors_open_model(&t, NULL, test_tmp(), "net", &e) == SAEURON_ENOENT && strstr(e.text, "net.safetensors"), "%s", e.text);
    test_write_file(at("net.bin"), file, 4);
    CHECK(tensors_open_model(&t, NULL, test_tmp(), "net", &e) == SAEURON_ENOENT && strstr(e.text, "pickle"), "%s", e.text);
    test_write_file(at("net.fp16.safetensors"), file, n);
    CHECK(tensors_open_model(&t, NULL, test_tmp(), "net", &e) == SAEURON_OK && t.count == 1 && strstr(t.path, "fp16"), "%s", e.text);
    tensors_close(&t);
    test_write_file(at("net.safetensors"), file, n);
    CHECK(tensors_open_model(&t, NULL, test_tmp(), "net", &e) == SAEURON_OK && !strstr(t.path, "fp16"), "the plain name comes first");
    tensors_close(&t);
    CHECK(tensors_open(&t, NULL, at("nowhere.safetensors"), &e) == SAEURON_ENOENT && strstr(e.text, "no such file"), "%s", e.text);
#ifndef SAEURON_PLAIN_C
    CHECK(tensors_open(&t, NULL, test_tmp(), &e) == SAEURON_EIO && strstr(e.text, "folder"), "%s", e.text);
#endif
}

static void save_refuses(void)
{
    static const float big[2] = { 1, 65520 }, nan2[2] = { 0, NAN }, inf2[2] = { -INFINITY, 0 }, fine[2] = { 0, 0 };
    static const struct { tensor_out list[2]; size_t count; int code; const char *why; } bad[] = {
        { { { "x", DT_F16, 1, { 2 }, big } }, 1, SAEURON_ENAN, "element 1 is 65520, which F16" },
        { { { "x", DT_F32, 1, { 2 }, nan2 } }, 1, SAEURON_ENAN, "element 1 is nan" },
        { { { "x", DT_F32, 1, { 2 }, inf2 } }, 1, SAEURON_ENAN, "element 0 is -inf" },
        { { { "x", DT_I32, 1, { 2 }, fine } }, 1, SAEURON_EUSAGE, "only F32" },
        { { { "x", DT_F32, 1, { 2 }, fine }, { "x", DT_F32, 1, { 2 }, fine } }, 2, SAEURON_EUSAGE, "two tensors" },
        { { { "", DT_F32, 1, { 2 }, fine } }, 1, SAEURON_EUSAGE, "cannot name" },
        { { { "__metadata__", DT_F32, 1, { 2 }, fine } }, 1, SAEURON_EUSAGE, "cannot name" },
        { { { "x", DT_F32, 2, { SIZE_MAX, 2 }, fine } }, 1, SAEURON_EUSAGE, "shape" },
        { { { "x", DT_F32, 1, { SIZE_MAX / 2 }, fine } }, 1, SAEURON_EUSAGE, "shape" },
    };
    for (size_t i = 0; i < COUNT(bad); i++) {
        saeuron_error e;
        const int code = tensors_save(NULL, at("never.safetensors"), bad[i].list, bad[i].count, NULL, &e);
        CHECK(code == bad[i].code && strstr(e.text, bad[i].why), "case %zu: %s", i, code ? e.text : "accepted");
    }
    CHECK(files_like("never") == 0, "%d files were left", files_like("never"));
}

/* ---- .npy ---- */

static size_t make_npy(unsigned char *out, int version, const char *header, const void *data, size_t data_size)
{
    const size_t n = strlen(header), start = version == 1 ? 10 : 12;
    memcpy(out, "\x93NUMPY", 6);
    out[6] = (unsigned char)version;
    out[7] = 0;
    le(out + 8, n, version == 1 ? 2 : 4);
    memcpy(out + start, header, n);
    if (data_size)
        memcpy(out + start + n, data, data_size);
    return start + n + data_size;
}

static int load_npy(const unsigned char *bytes, size_t n, float **values, size_t *shape, int *ndim, saeuron_error *e)
{
    unsigned char *tight = malloc(n ? n : 1);
    memcpy(tight, bytes, n);
    one_file f = { tight, n, 0 };
    const saeuron_host host = { .user = &f, .map = map_one, .unmap = unmap_one };
    const int code = npy_load(&host, "memory", values, shape, ndim, e);
    CHECK(f.mapped == 0 && (code == 0) == (*values != NULL), "code %d", code);
    free(tight);
    return code;
}

static void npy_round_trip(void)
{
    static const float values[6] = { 0, -1, 0x1p-149f, FLT_MAX, 0.1f, -0.0f };
    static const size_t shapes[][3] = { { 2, 3 }, { 6 }, { 1, 6, 1 }, { 0, 7 } };
    static const int ndims[] = { 2, 1, 3, 2 };
    static const char head[] = "\x93NUMPY\x01\x00\x76\x00{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }";
    saeuron_error e;
    float *back;
    size_t shape[TENSOR_DIMS], n;
    int ndim;
    for (size_t i = 0; i < COUNT(shapes); i++) {
        CHECK(npy_save(NULL, at("a.npy"), values, shapes[i], ndims[i], &e) == SAEURON_OK, "%s", e.text);
        CHECK(npy_load(NULL, at("a.npy"), &back, shape, &ndim, &e) == SAEURON_OK, "%s", e.text);
        CHECK(ndim == ndims[i] && !memcmp(shape, shapes[i], (size_t)ndim * sizeof *shape), "shape %zu", i);
        CHECK(i == 3 || !memcmp(back, values, sizeof values), "values");
        io_free(NULL, back);
    }
    npy_save(NULL, at("a.npy"), values, shapes[0], 2, NULL);
    unsigned char *file = read_bytes(at("a.npy"), &n);
    CHECK(n == 128 + 24 && !memcmp(file, head, sizeof head - 1) && file[127] == '\n' && file[126] == ' ', "not what numpy.save writes (%zu bytes)", n);
    free(file);
    static const size_t grows[8] = { 0, 11111, 11111, 11111, 11111, 11111, 11111, 11111 }; /* 116 bytes, and room to grow: 136 */
    npy_save(NULL, at("a.npy"), values, grows, 8, NULL);
    free(read_bytes(at("a.npy"), &n));
    CHECK(n == 192, "%zu bytes: numpy.save leaves room for the first dimension to grow", n);
    CHECK(npy_save(NULL, at("s.npy"), values + 4, shapes[0], 0, &e) == SAEURON_OK && npy_load(NULL, at("s.npy"), &back, shape, &ndim, &e) == SAEURON_OK && ndim == 0 && back[0] == 0.1f, "a scalar: %s", e.text);
    io_free(NULL, back);
}

static void npy_types(void)
{
    static const unsigned char half[4] = { 0x00, 0x3C, 0x01, 0x80 }, two[16] = { [6] = 0xF0, [7] = 0x3F, [8] = 0x01, [14] = 0xF0, [15] = 0xBF };
    unsigned char file[512];
    float *v;
    size_t shape[TENSOR_DIMS];
    int ndim;
    saeuron_error e;
    CHECK(!load_npy(file, make_npy(file, 1, "{'descr': '<f2', 'fortran_order': False, 'shape': (2,), }\n", half, 4), &v, shape, &ndim, &e) && v[0] == 1 && v[1] == -0x1p-24f, "F16: %s", e.text);
    io_free(NULL, v);
    CHECK(!load_npy(file, make_npy(file, 2, "{'shape':(2,1),'fortran_order':False,'descr':'<f8'}", two, 16), &v, shape, &ndim, &e) && v[0] == 1 && v[1] == -1 && ndim == 2, "F64 rounds: %s", e.text);
    io_free(NULL, v);
}

static void npy_refuses(void)
{
#define H(descr, order, shape) "{'descr': '" descr "', 'fortran_order': " order ", 'shape': " shape ", }\n"
    static const unsigned char fine[8] = { 0 }, nan1[8] = { [6] = 0xC0, [7] = 0x7F }, huge8[8] = { [4] = 0x10, [6] = 0xF0, [7] = 0x47 }; /* 2^128 and more */
    static const struct { int version; const char *header; const unsigned char *data; size_t size; int code; const char *why; } bad[] = {
        { 1, H("<f4", "True", "(2,)"), fine, 8, SAEURON_EFORMAT, "Fortran" }, { 1, H("<i4", "False", "(2,)"), fine, 8, SAEURON_EFORMAT, "dtype" },
        { 1, H(">f4", "False", "(2,)"), fine, 8, SAEURON_EFORMAT, "dtype" }, { 1, H("|O", "False", "(1,)"), fine, 8, SAEURON_EFORMAT, "dtype" },
        { 1, H("<f4", "False", "(3,)"), fine, 8, SAEURON_EFORMAT, "3 elements" }, { 1, H("<f4", "False", "(1,)"), fine, 8, SAEURON_EFORMAT, "1 elements" },
        { 1, H("<f4", "False", "(2"), fine, 8, SAEURON_EFORMAT, "shape" }, { 1, H("<f4", "False", "(-2,)"), fine, 8, SAEURON_EFORMAT, "shape" },
        { 1, H("<f4", "False", "(1,1,1,1,1,1,1,1,2)"), fine, 8, SAEURON_EFORMAT, "shape" }, { 1, H("<f4", "False", "(99999999999999999999,)"), fine, 8, SAEURON_EFORMAT, "shape" },
        { 1, H("<f4", "False", "(4294967296, 4294967296, 4)"), fine, 8, SAEURON_EFORMAT, "more elements" },
        { 1, H("<f4", "False", "(4611686018427387906,)"), fine, 8, SAEURON_EFORMAT, "elements" },
        { 1, "{'descr': '<f4', 'shape': (2,), }\n", fine, 8, SAEURON_EFORMAT, "lacks" }, { 1, "hello", fine, 8, SAEURON_EFORMAT, "dictionary" }, { 1, "{'x': 1}", fine, 8, SAEURON_EFORMAT, "damaged" },
        { 1, "{", fine, 8, SAEURON_EFORMAT, "damaged" }, { 3, H("<f4", "False", "(2,)"), fine, 8, SAEURON_EFORMAT, "version 3" },
        { 1, H("<f4", "False", "(2,)"), nan1, 8, SAEURON_ENAN, "element 1" }, { 1, H("<f8", "False", "(1,)"), huge8, 8, SAEURON_ENAN, "element 0" },
    };
    unsigned char file[512];
    float *v;
    size_t shape[TENSOR_DIMS];
    int ndim;
    saeuron_error e;
    for (size_t i = 0; i < COUNT(bad); i++) {
        const int code = load_npy(file, make_npy(file, bad[i].version, bad[i].header, bad[i].data, bad[i].size), &v, shape, &ndim, &e);
        CHECK(code == bad[i].code && strstr(e.text, bad[i].why), "%s: %s", bad[i].header, code ? e.text : "accepted");
        io_free(NULL, v);
    }
    const size_t n = make_npy(file, 1, H("<f4", "False", "(2,)"), fine, 8);
    for (size_t i = 0; i < n; i++)
        CHECK(load_npy(file, i, &v, shape, &ndim, &e) == SAEURON_EFORMAT, "accepted when cut to %zu bytes", i);
    for (size_t i = 0; i < n; i++)
        for (int k = 0; k < 256; k += 5) {
            const unsigned char was = file[i];
            file[i] = (unsigned char)k;
            load_npy(file, n, &v, shape, &ndim, &e);
            io_free(NULL, v);
            file[i] = was;
        }
#undef H
}

/* ---- PNG ---- */

/* Pictures that press on different parts of the compressor. */
static void paint(unsigned char *rgb, size_t W, size_t H, int kind)
{
    for (size_t y = 0; y < H; y++)
        for (size_t x = 0; x < W; x++)
            for (size_t c = 0; c < 3; c++)
                *rgb++ = (unsigned char)(kind == 0 ? 255                                                                   /* flat: long matches, one distance */
                                         : kind == 1 ? random_bits()                                                      /* noise: literals only */
                                         : kind == 2 ? 3 * x + 5 * y + 40 * c                                             /* slope: filters */
                                         : kind == 3 ? ((x - W / 2) * (x - W / 2) + (y - H / 2) * (y - H / 2) < W * H / 6 ? 20 + 90 * c : 250) /* a disc, like an emoji */
                                                     : (x * y) >> 3 ^ (x * 7 + c));                                        /* a pattern */
}

static void png_round_trip(void)
{
    static const size_t sizes[][2] = { { 1, 1 }, { 1, 7 }, { 7, 1 }, { 2, 3 }, { 64, 64 }, { 255, 33 }, { 300, 301 } };
    saeuron_error e;
    for (size_t s = 0; s < COUNT(sizes); s++)
        for (int kind = 0; kind < 5; kind++) {
            const size_t W = sizes[s][0], H = sizes[s][1];
            unsigned char *rgb = malloc(3 * W * H), *back = NULL;
            size_t w, h;
            paint(rgb, W, H, kind);
            CHECK(png_save(NULL, at("a.png"), rgb, W, H, NULL, &e) == SAEURON_OK, "%s", e.text);
            CHECK(png_load(NULL, at("a.png"), &back, &w, &h, &e) == SAEURON_OK && w == W && h == H, "%zu x %zu, kind %d: %s", W, H, kind, e.text);
            CHECK(back && !memcmp(rgb, back, 3 * W * H), "%zu x %zu, kind %d: other pixels", W, H, kind);
            io_free(NULL, back);
            free(rgb);
        }
}

static void png_texts(void)
{
    static const char *const texts[] = { "prompt", "A \"b\"\nc", "title", "\xC5\xBDlu\xC5\xA5 \xF0\x9F\x98\x80", "empty", "", NULL };
    static const unsigned char rgb[3] = { 1, 2, 3 };
    char out[64];
    saeuron_error e;
    size_t n;
    CHECK(png_save(NULL, at("t.png"), rgb, 1, 1, texts, &e) == SAEURON_OK, "%s", e.text);
    for (size_t i = 0; texts[i]; i += 2)
        CHECK(png_text(NULL, at("t.png"), texts[i], out, sizeof out, &e) == SAEURON_OK && !strcmp(out, texts[i + 1]), "%s: %s", texts[i], e.text);
    unsigned char *file = read_bytes(at("t.png"), &n);
    CHECK(n > 60 && !memcmp(file + 37, "tEXtprompt", 11), "ASCII goes to tEXt");
    free(file);
    CHECK(png_text(NULL, at("t.png"), "prom", out, sizeof out, &e) == SAEURON_ENOENT && strstr(e.text, "prom"), "%s", e.text);
    CHECK(png_text(NULL, at("t.png"), "prompt", out, 8, &e) == SAEURON_OK && png_text(NULL, at("t.png"), "prompt", out, 7, &e) == SAEURON_EUSAGE, "7 bytes and a NUL need 8");
    static const char *const bad[][3] = { { "x", "\xFF", NULL }, { "", "a", NULL },
                                          { "kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk", "a", NULL } };
    for (size_t i = 0; i < COUNT(bad); i++)
        CHECK(png_save(NULL, at("no.png"), rgb, 1, 1, bad[i], &e) == SAEURON_EUSAGE, "text %zu was taken", i);
    CHECK(png_save(NULL, at("no.png"), rgb, 0, 1, NULL, &e) == SAEURON_EUSAGE && png_save(NULL, at("no.png"), rgb, 1, 40000, NULL, &e) == SAEURON_EUSAGE, "impossible sizes");
    CHECK(files_like("no.png") == 0, "a refused picture left a file");
}

static uint32_t slow_crc(const unsigned char *p, size_t n)
{
    uint32_t c = 0xFFFFFFFF;
    for (size_t i = 0; i < n; i++) {
        c ^= p[i];
        for (int k = 0; k < 8; k++)
            c = c & 1 ? c >> 1 ^ 0xEDB88320 : c >> 1;
    }
    return ~c;
}

/* The file of a given picture is the same everywhere, for ever: this is its CRC-32. */
static void png_bytes(void)
{
    static const char *const texts[] = { "prompt", "An image of Cats.", "title", "\xC5\xBDlu\xC5\xA5", NULL };
    static unsigned char rgb[3 * 64 * 64];
    size_t n;
    paint(rgb, 64, 64, 4);
    png_save(NULL, at("b.png"), rgb, 64, 64, texts, NULL);
    unsigned char *file = read_bytes(at("b.png"), &n);
    CHECK(n == 6123 && slow_crc(file, n) == 0x40F520B2, "%zu bytes, CRC %08" PRIx32, n, slow_crc(file, n));
    free(file);
}

static size_t add_chunk(unsigned char *out, size_t at_, const char *type, const unsigned char *data, size_t n)
{
    be32(out + at_, (uint32_t)n);
    memcpy(out + at_ + 4, type, 4);
    if (n)
        memcpy(out + at_ + 8, data, n);
    be32(out + at_ + 8 + n, slow_crc(out + at_ + 4, n + 4));
    return at_ + 12 + n;
}

static size_t stored_zlib(unsigned char *out, const unsigned char *raw, size_t n)
{
    uint32_t a = 1, b = 0;
    memcpy(out, "\x78\x01\x01", 3);
    le(out + 3, n, 2);
    le(out + 5, ~(uint64_t)n & 0xFFFF, 2);
    memcpy(out + 7, raw, n);
    for (size_t i = 0; i < n; i++) {
        a = (a + raw[i]) % 65521;
        b = (b + a) % 65521;
    }
    be32(out + 7 + n, b << 16 | a);
    return n + 11;
}

/* A made picture: header fields, the chunks between, the raw rows. */
typedef struct made { uint32_t W, H; int bits, colour, interlace; const char *palette; size_t palette_size; const char *alpha; size_t alpha_size; const char *raw; size_t raw_size; } made;

static size_t make_png(unsigned char *out, const made *m)
{
    unsigned char header[13] = { 0 }, z[256];
    be32(header, m->W);
    be32(header + 4, m->H);
    header[8] = (unsigned char)m->bits;
    header[9] = (unsigned char)m->colour;
    header[12] = (unsigned char)m->interlace;
    memcpy(out, "\x89PNG\r\n\x1A\n", 8);
    size_t n = add_chunk(out, 8, "IHDR", header, 13);
    if (m->palette)
        n = add_chunk(out, n, "PLTE", (const unsigned char *)m->palette, m->palette_size);
    if (m->alpha)
        n = add_chunk(out, n, "tRNS", (const unsigned char *)m->alpha, m->alpha_size);
    n = add_chunk(out, n, "IDAT", z, stored_zlib(z, (const unsigned char *)m->raw, m->raw_size));
    return add_chunk(out, n, "IEND", header, 0);
}

static int load_png(const unsigned char *bytes, size_t n, unsigned char **rgb, size_t *W, size_t *H, saeuron_error *e)
{
    unsigned char *tight = malloc(n ? n : 1);
    memcpy(tight, bytes, n);
    one_file f = { tight, n, 0 };
    const saeuron_host host = { .user = &f, .map = map_one, .unmap = unmap_one };
    const int code = png_load(&host, "memory", rgb, W, H, e);
    CHECK(f.mapped == 0 && (code == 0) == (*rgb != NULL), "code %d", code);
    free(tight);
    return code;
}

/* Every colour type and depth that we read, alpha over white, and each filter. */
static void png_kinds(void)
{
#define RAW(s) s, sizeof(s) - 1
    static const struct { made m; unsigned char rgb[12]; } table[] = {
        { { 2, 1, 8, 0, 0, NULL, 0, NULL, 0, RAW("\0\x10\xFF") }, { 16, 16, 16, 255, 255, 255 } },
        { { 4, 1, 1, 0, 0, NULL, 0, NULL, 0, RAW("\0\xA0") }, { 255, 255, 255, 0, 0, 0, 255, 255, 255, 0, 0, 0 } },
        { { 4, 1, 2, 0, 0, NULL, 0, NULL, 0, RAW("\0\x1B") }, { 0, 0, 0, 85, 85, 85, 170, 170, 170, 255, 255, 255 } },
        { { 3, 1, 4, 0, 0, NULL, 0, NULL, 0, RAW("\0\x1F\x80") }, { 17, 17, 17, 255, 255, 255, 136, 136, 136 } },
        { { 1, 2, 2, 0, 0, NULL, 0, RAW("\0\x02"), RAW("\0\x80\0\x40") }, { 255, 255, 255, 85, 85, 85 } },
        { { 2, 1, 8, 2, 0, NULL, 0, NULL, 0, RAW("\0\1\2\3\4\5\6") }, { 1, 2, 3, 4, 5, 6 } },
        { { 2, 1, 8, 2, 0, NULL, 0, RAW("\0\4\0\5\0\6"), RAW("\0\1\2\3\4\5\6") }, { 1, 2, 3, 255, 255, 255 } },
        { { 3, 1, 8, 3, 0, RAW("\1\2\3\4\5\6"), RAW("\xFF\0"), RAW("\0\0\1\7") }, { 1, 2, 3, 255, 255, 255, 0, 0, 0 } },
        { { 2, 1, 4, 3, 0, RAW("\1\2\3\4\5\6"), NULL, 0, RAW("\0\x10") }, { 4, 5, 6, 1, 2, 3 } },
        { { 2, 1, 8, 4, 0, NULL, 0, NULL, 0, RAW("\0\x10\xFF\1\x80") }, { 16, 16, 16, 128, 128, 128 } },
        { { 2, 1, 8, 6, 0, NULL, 0, NULL, 0, RAW("\0\1\2\3\xFF\0\xFF\x80\0") }, { 1, 2, 3, 255, 255, 255 } },
        { { 2, 1, 8, 2, 0, NULL, 0, NULL, 0, RAW("\1\1\2\3\4\5\6") }, { 1, 2, 3, 5, 7, 9 } },
        { { 1, 2, 8, 2, 0, NULL, 0, NULL, 0, RAW("\0\1\2\3\2\4\5\xFF") }, { 1, 2, 3, 5, 7, 2 } },
        { { 2, 2, 8, 0, 0, NULL, 0, NULL, 0, RAW("\0\x10\x20\3\1\1") }, { 16, 16, 16, 32, 32, 32, 9, 9, 9, 21, 21, 21 } },
        { { 2, 2, 8, 0, 0, NULL, 0, NULL, 0, RAW("\0\x10\x20\4\1\1") }, { 16, 16, 16, 32, 32, 32, 17, 17, 17, 33, 33, 33 } },
    };
    unsigned char file[512], *rgb;
    size_t W, H;
    saeuron_error e;
    for (size_t i = 0; i < COUNT(table); i++) {
        const int code = load_png(file, make_png(file, &table[i].m), &rgb, &W, &H, &e);
        CHECK(code == SAEURON_OK, "case %zu: %s", i, e.text);
        for (size_t k = 0; !code && k < 3 * W * H; k++)
            CHECK(rgb[k] == table[i].rgb[k], "case %zu: byte %zu is %d, not %d", i, k, rgb[k], table[i].rgb[k]);
        io_free(NULL, rgb);
    }
}

static void png_refuses(void)
{
    static const struct { made m; const char *why; } bad[] = {
        { { 1, 1, 16, 0, 0, NULL, 0, NULL, 0, RAW("\0\0\0") }, "16 bits" }, { { 1, 1, 8, 0, 1, NULL, 0, NULL, 0, RAW("\0\0") }, "interlaced" },
        { { 1, 1, 8, 1, 0, NULL, 0, NULL, 0, RAW("\0\0") }, "colour type 1" }, { { 1, 1, 8, 7, 0, NULL, 0, NULL, 0, RAW("\0\0") }, "colour type 7" },
        { { 1, 1, 4, 2, 0, NULL, 0, NULL, 0, RAW("\0\0") }, "colour type 2" }, { { 1, 1, 3, 0, 0, NULL, 0, NULL, 0, RAW("\0\0") }, "3 bits" },
        { { 0, 1, 8, 0, 0, NULL, 0, NULL, 0, RAW("\0") }, "0 x 1" }, { { 32769, 1, 8, 0, 0, NULL, 0, NULL, 0, RAW("\0") }, "32769" },
        { { 0xFFFFFFFF, 0xFFFFFFFF, 8, 6, 0, NULL, 0, NULL, 0, RAW("\0") }, "4294967295" }, { { 32768, 32768, 8, 6, 0, NULL, 0, NULL, 0, RAW("\0\0") }, "cannot hold" },
        { { 2, 1, 8, 0, 0, NULL, 0, NULL, 0, RAW("\0\0") }, "compressed pixels" }, { { 1, 1, 8, 0, 0, NULL, 0, NULL, 0, RAW("\0\0\0") }, "compressed pixels" },
        { { 1, 1, 8, 0, 0, NULL, 0, NULL, 0, RAW("\5\0") }, "compressed pixels" }, { { 1, 1, 8, 3, 0, NULL, 0, NULL, 0, RAW("\0\0") }, "palette is missing" },
        { { 1, 1, 8, 3, 0, RAW("\1\2"), NULL, 0, RAW("\0\0") }, "palette is damaged" }, { { 1, 1, 8, 3, 0, RAW("\1\2\3"), RAW("\1\2"), RAW("\0\0") }, "tRNS" },
        { { 1, 1, 8, 6, 0, NULL, 0, RAW("\1\2"), RAW("\0\0\0\0\0") }, "tRNS" },
    };
    static const unsigned char nothing[13] = { 0 };
    unsigned char file[512], *rgb;
    size_t W, H;
    saeuron_error e;
    for (size_t i = 0; i < COUNT(bad); i++) {
        const int code = load_png(file, make_png(file, &bad[i].m), &rgb, &W, &H, &e);
        CHECK(code == SAEURON_EFORMAT && strstr(e.text, bad[i].why), "case %zu: %s", i, code ? e.text : "accepted");
        io_free(NULL, rgb);
    }
    static const made fine = { 1, 1, 8, 0, 0, NULL, 0, NULL, 0, RAW("\0\7") };
    const size_t n = make_png(file, &fine);
    file[n - 12 - 4 - 4]++; /* in Adler-32, behind its chunk's CRC */
    CHECK(load_png(file, n, &rgb, &W, &H, &e) == SAEURON_EFORMAT && strstr(e.text, "checksum of chunk IDAT"), "%s", e.text);
    be32(file + n - 16, slow_crc(file + n - 12 - 4 - 13 - 4, 17));
    CHECK(load_png(file, n, &rgb, &W, &H, &e) == SAEURON_EFORMAT && strstr(e.text, "compressed pixels"), "a wrong Adler-32: %s", e.text);
    make_png(file, &fine);
    add_chunk(file, n - 12, "IDAZ", nothing, 0);
    add_chunk(file, n, "IEND", nothing, 0);
    CHECK(load_png(file, n + 12, &rgb, &W, &H, &e) == SAEURON_EFORMAT && strstr(e.text, "IDAZ"), "an unknown critical chunk: %s", e.text);
    add_chunk(file, n - 12, "idAZ", nothing, 0);
    CHECK(load_png(file, n + 12, &rgb, &W, &H, &e) == SAEURON_OK, "an unknown ancillary chunk: %s", e.text);
    io_free(NULL, rgb);
    CHECK(load_png((const unsigned char *)"GIF89a......", 12, &rgb, &W, &H, &e) == SAEURON_EFORMAT && strstr(e.text, "no PNG"), "%s", e.text);
#undef RAW
}

/* Every truncation is noticed; every changed byte is, by a CRC at the latest; and with CRCs made right again nothing breaks. */
static void png_truncated_and_changed(void)
{
    static unsigned char rgb[3 * 16 * 16];
    static const char *const texts[] = { "a", "b", "c", "\xC3\xA9", NULL };
    unsigned char *back;
    size_t n, W, H;
    char out[64];
    paint(rgb, 16, 16, 4);
    png_save(NULL, at("c.png"), rgb, 16, 16, texts, NULL);
    unsigned char *file = read_bytes(at("c.png"), &n);
    for (size_t i = 0; i < n; i++) {
        CHECK(load_png(file, i, &back, &W, &H, NULL) == SAEURON_EFORMAT, "accepted when cut to %zu of %zu bytes", i, n);
        io_free(NULL, back);
    }
    for (size_t i = 0; i < n; i++) {
        file[i] ^= 0x40;
        CHECK(load_png(file, i < n ? n : i, &back, &W, &H, NULL) == SAEURON_EFORMAT, "a change of byte %zu passed", i);
        io_free(NULL, back);
        file[i] ^= 0x40;
    }
    for (int round = 0; round < 20000; round++) {
        unsigned char *copy = malloc(n);
        memcpy(copy, file, n);
        for (int k = 0; k < 1 + round % 3; k++)
            copy[8 + random_bits() % (n - 8)] = (unsigned char)random_bits();
        for (size_t at_ = 8; n - at_ >= 12;) {
            const size_t size = (size_t)copy[at_] << 24 | (size_t)copy[at_ + 1] << 16 | (size_t)copy[at_ + 2] << 8 | copy[at_ + 3];
            if (size > n - at_ - 12)
                break;
            be32(copy + at_ + 8 + size, slow_crc(copy + at_ + 4, size + 4));
            at_ += 12 + size;
        }
        one_file f = { copy, n, 0 };
        const saeuron_host host = { .user = &f, .map = map_one, .unmap = unmap_one };
        png_load(&host, "memory", &back, &W, &H, NULL);
        io_free(NULL, back);
        png_text(&host, "memory", "c", out, sizeof out, NULL);
        free(copy);
    }
    free(file);
}

/* Not far from what zlib makes of the same filtered rows: at level 6 this disc takes 1,0xx bytes. */
static void png_size(void)
{
    static unsigned char rgb[3 * 256 * 256];
    struct stat s = { 0 };
    paint(rgb, 256, 256, 3);
    png_save(NULL, at("d.png"), rgb, 256, 256, NULL, NULL);
    stat(at("d.png"), &s);
    CHECK(s.st_size > 0 && s.st_size < 2000, "%ld bytes", (long)s.st_size);
}

/* ---- output files ---- */

static void write_replaces(void)
{
    saeuron_error e;
    size_t n;
    CHECK(io_write_file(NULL, at("w"), "old", 3, &e) == SAEURON_OK && io_write_file(NULL, at("w"), "newer", 5, &e) == SAEURON_OK, "%s", e.text);
    unsigned char *p = read_bytes(at("w"), &n);
    CHECK(n == 5 && !memcmp(p, "newer", 5), "%zu bytes", n);
    free(p);
    CHECK(io_write_file(NULL, at("w0"), "", 0, &e) == SAEURON_OK && io_exists(NULL, at("w0")) && !io_exists(NULL, at("w1")), "an empty file");
    io_file f;
    CHECK(io_open(&f, NULL, at("w0"), &e) == SAEURON_OK && f.size == 0, "%s", e.text);
    io_close(&f);
    io_out o;
    CHECK(io_out_open(&o, at("w"), &e) == SAEURON_OK && io_out_write(&o, "x", 1, &e) == SAEURON_OK && files_like(".tmp-") == 1, "while writing");
    io_out_abort(&o);
    CHECK(files_like(".tmp-") == 0 && io_out_write(&o, "x", 1, &e) == SAEURON_EIO && io_out_commit(&o, &e) == SAEURON_EIO, "after abort");
    p = read_bytes(at("w"), &n);
    CHECK(n == 5, "an aborted file replaced the old one");
    free(p);
}

static void write_fails_cleanly(void)
{
    saeuron_error e;
    size_t n;
    struct rlimit old, small = { 4096, 4096 };
    static unsigned char rgb[3 * 64 * 64], zeros[100000];
    static const size_t shape[1] = { 3000 };
    CHECK(io_write_file(NULL, at("no/such/x"), "x", 1, &e) != SAEURON_OK && strstr(e.text, "no/such/x"), "%s", e.text);
    CHECK(io_write_file(NULL, test_tmp(), "x", 1, &e) != SAEURON_OK, "wrote over a folder");
    io_write_file(NULL, at("full"), "old", 3, NULL);
    paint(rgb, 64, 64, 1);
    getrlimit(RLIMIT_FSIZE, &old);
    small.rlim_max = old.rlim_max;
    void (*was)(int) = signal(SIGXFSZ, SIG_IGN);
    fflush(stdout);
    if (setrlimit(RLIMIT_FSIZE, &small) == 0) {
        const tensor_out big = { "x", DT_F32, 1, { 3000 }, (const float *)(const void *)zeros };
        CHECK(io_write_file(NULL, at("full"), zeros, sizeof zeros, &e) == SAEURON_EIO && strstr(e.text, "full: "), "%s", e.text);
        CHECK(png_save(NULL, at("full"), rgb, 64, 64, NULL, &e) == SAEURON_EIO, "png_save");
        CHECK(npy_save(NULL, at("full"), big.values, shape, 1, &e) == SAEURON_EIO, "npy_save");
        CHECK(tensors_save(NULL, at("full"), &big, 1, NULL, &e) == SAEURON_EIO, "tensors_save");
        setrlimit(RLIMIT_FSIZE, &old);
    }
    signal(SIGXFSZ, was);
    unsigned char *p = read_bytes(at("full"), &n);
    CHECK(n == 3 && !memcmp(p, "old", 3), "the old file is gone: %zu bytes", n);
    free(p);
    CHECK(files_like(".tmp-") == 0, "%d half-written files were left", files_like(".tmp-"));
#ifndef SAEURON_PLAIN_C
    if (access("/dev/full", W_OK) == 0)
        CHECK(io_write_file(NULL, "/dev/full", zeros, sizeof zeros, &e) == SAEURON_EIO && strstr(e.text, "disk full"), "%s", e.text);
    CHECK(io_write_file(NULL, "/dev/null", "x", 1, &e) == SAEURON_OK && access("/dev/null", W_OK) == 0, "a device is written, not replaced");
#endif
}

static void folders(void)
{
    saeuron_error e;
#ifdef SAEURON_PLAIN_C
    CHECK(io_make_dir(test_tmp(), &e) == SAEURON_OK && io_make_dir(at("d/e"), &e) == SAEURON_EIO, "%s", e.text);
#else
    CHECK(io_make_dir(at("d/e/f"), &e) == SAEURON_OK && io_make_dir(at("d/e/f/"), &e) == SAEURON_OK && io_make_dir("/", &e) == SAEURON_OK, "%s", e.text);
    CHECK(io_write_file(NULL, at("d/e/f/g"), "x", 1, &e) == SAEURON_OK, "%s", e.text);
    CHECK(io_make_dir(at("d/e/f/g"), &e) == SAEURON_EIO && io_make_dir(at("d/e/f/g/h"), &e) == SAEURON_EIO, "a file is no folder");
#endif
}

/* ---- every allocation fails once ---- */

static tensors        last_tensors;
static float         *last_values;
static unsigned char *last_rgb;

static int run_open(const saeuron_host *h, saeuron_error *e) { return tensors_open(&last_tensors, h, at("f.safetensors"), e); }
static int run_index(const saeuron_host *h, saeuron_error *e) { return tensors_open(&last_tensors, h, at("f.index.json"), e); }
static int run_save(const saeuron_host *h, saeuron_error *e) { return tensors_save(h, at("f2.safetensors"), some_tensors, COUNT(some_tensors), some_metadata, e); }
static int run_png_save(const saeuron_host *h, saeuron_error *e)
{
    static const unsigned char rgb[12] = { 1, 2, 3 };
    static const char *const texts[] = { "a", "b", NULL };
    return png_save(h, at("f2.png"), rgb, 2, 2, texts, e);
}
static int run_png_load(const saeuron_host *h, saeuron_error *e)
{
    size_t W, H;
    return png_load(h, at("f.png"), &last_rgb, &W, &H, e);
}
static int run_npy(const saeuron_host *h, saeuron_error *e)
{
    size_t shape[TENSOR_DIMS];
    int ndim;
    return npy_load(h, at("f.npy"), &last_values, shape, &ndim, e);
}

static void allocations_fail(void)
{
    static int (*const runs[])(const saeuron_host *, saeuron_error *) = { run_open, run_index, run_save, run_png_save, run_png_load, run_npy };
    static const unsigned char rgb[12] = { 9 };
    static const size_t shape[1] = { 6 };
    tensors_save(NULL, at("f.safetensors"), some_tensors, COUNT(some_tensors), NULL, NULL);
    write_text("f.index.json", "{\"weight_map\":{\"empty\":\"f.safetensors\"}}");
    png_save(NULL, at("f.png"), rgb, 2, 2, NULL, NULL);
    npy_save(NULL, at("f.npy"), some_values, shape, 1, NULL);
    for (size_t r = 0; r < COUNT(runs); r++) {
        bool done = false;
        long n;
        for (n = 1; n < 100 && !done; n++) {
            counting c = { 0, 0, n };
            const saeuron_host host = { .user = &c, .alloc = count_alloc, .free = count_free };
            saeuron_error e = { 0 };
            last_values = NULL, last_rgb = NULL;
            memset(&last_tensors, 0, sizeof last_tensors);
            const int code = runs[r](&host, &e);
            done = c.calls < n; /* it needed fewer: this run was the good one */
            CHECK(code == (done ? SAEURON_OK : SAEURON_ENOMEM) && (done || strstr(e.text, "memory")), "loader %zu, allocation %ld: code %d, %s", r, n, code, e.text);
            tensors_close(&last_tensors);
            io_free(&host, last_values);
            io_free(&host, last_rgb);
            CHECK(c.live == 0, "loader %zu, allocation %ld: %ld pieces were not freed", r, n, c.live);
        }
        CHECK(done && n > 2, "loader %zu used %ld allocations", r, n - 2);
    }
    CHECK(files_like(".tmp-") == 0, "half-written files were left");
}

/* With map and alloc given, nothing else is touched: "memory" exists nowhere. */
static void host_only(void)
{
    size_t n;
    saeuron_error e;
    tensors t;
    tensors_save(NULL, at("h.safetensors"), some_tensors, COUNT(some_tensors), NULL, NULL);
    unsigned char *bytes = read_bytes(at("h.safetensors"), &n);
    one_file f = { bytes, n, 0 };
    saeuron_host host = { .user = &f, .map = map_one, .unmap = unmap_one };
    CHECK(io_exists(&host, "memory") && !io_exists(&host, at("h.safetensors")) && f.mapped == 0, "a file of the system was seen");
    CHECK(tensors_open(&t, &host, "memory", &e) == SAEURON_OK && t.list[0].data > bytes && t.list[0].data < bytes + n, "the caller's bytes are not used where they lie");
    tensors_close(&t);
    CHECK(f.mapped == 0, "not given back");
    CHECK(tensors_open(&t, &host, at("h.safetensors"), &e) == SAEURON_ENOENT, "a file of the system was opened");
    host.unmap = NULL;
    CHECK(tensors_open(&t, &host, "memory", &e) == SAEURON_OK, "unmap may be NULL");
    tensors_close(&t);
    free(bytes);
}

/* A file that cannot be mapped, here a pipe, is read until its end. */
static void reads_a_pipe(void)
{
    int fd[2];
    char path[64];
    io_file f;
    saeuron_error e;
    static unsigned char bytes[200000];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (unsigned char)(i * 7 >> 3);
    if (pipe(fd) != 0 || access("/dev/fd", R_OK) != 0) {
        test_skip("no /dev/fd here");
        return;
    }
    fflush(stdout);
    const pid_t child = fork();
    if (child == 0) {
        size_t done = 0;
        close(fd[0]);
        while (done < sizeof bytes) {
            const ssize_t n = write(fd[1], bytes + done, sizeof bytes - done);
            if (n <= 0)
                break;
            done += (size_t)n;
        }
        _exit(0);
    }
    close(fd[1]);
    snprintf(path, sizeof path, "/dev/fd/%d", fd[0]);
    CHECK(io_open(&f, NULL, path, &e) == SAEURON_OK && f.size == sizeof bytes && !memcmp(f.data, bytes, sizeof bytes), "%s", e.text);
    io_close(&f);
    close(fd[0]);
    waitpid(child, NULL, 0);
}

/* ---- the operating system ---- */

static void interrupt_flag(void)
{
    int status = 0;
    fflush(stdout);
    const pid_t child = fork();
    if (child == 0) {
        os_catch_interrupt();
        const bool before = os_interrupted();
        raise(SIGINT);
        if (!before && os_interrupted())
            raise(SIGINT); /* ends the program */
        _exit(1);
    }
    waitpid(child, &status, 0);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGINT, "status %d: the first should set a flag, the second end the program", status);
}

static void clock_and_cores(void)
{
    const double a = os_seconds(), b = os_seconds();
    CHECK(a > 0 && b >= a && b - a < 60, "%f %f", a, b);
    CHECK(os_cores() >= 1 && os_terminal_width() >= 0, "%d cores", os_cores());
}

const test_case io_tests[] = {
    { "fail_is_one_line", fail_is_one_line }, { "memory_products", memory_products }, { "path_joins", path_joins },
    { "json_accepts", json_accepts }, { "json_refuses", json_refuses }, { "json_ends_in_time", json_ends_in_time }, { "json_depth", json_depth },
    { "json_walks", json_walks }, { "json_strings", json_strings }, { "json_many_keys", json_many_keys }, { "json_vocabulary_speed", json_vocabulary_speed },
    { "numbers_read", numbers_read }, { "numbers_long", numbers_long }, { "numbers_integer", numbers_integer }, { "numbers_print", numbers_print },
    { "numbers_round_trip", numbers_round_trip }, { "quoting", quoting },
    { "safetensors_round_trip", safetensors_round_trip }, { "safetensors_dtypes", safetensors_dtypes }, { "safetensors_refuses", safetensors_refuses },
    { "safetensors_limits", safetensors_limits }, { "safetensors_truncated_and_changed", safetensors_truncated_and_changed },
    { "safetensors_sharded", safetensors_sharded }, { "model_names", model_names }, { "save_refuses", save_refuses },
    { "npy_round_trip", npy_round_trip }, { "npy_types", npy_types }, { "npy_refuses", npy_refuses },
    { "png_round_trip", png_round_trip }, { "png_bytes", png_bytes }, { "png_texts", png_texts }, { "png_kinds", png_kinds }, { "png_refuses", png_refuses },
    { "png_truncated_and_changed", png_truncated_and_changed }, { "png_size", png_size },
    { "write_replaces", write_replaces }, { "write_fails_cleanly", write_fails_cleanly }, { "folders", folders },
    { "allocations_fail", allocations_fail }, { "host_only", host_only }, { "reads_a_pipe", reads_a_pipe },
    { "interrupt_flag", interrupt_flag }, { "clock_and_cores", clock_and_cores },
    { NULL, NULL },
};
