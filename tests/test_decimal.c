/* test_decimal.c: decimal.c: ties, the ends of the range, and round trips; and JSON's numbers, which it
 * reads. Against Python's float and repr by the hundred thousand: tests/check_files.py. */
#include "test.h"
#include "scratch.h"
#include "files/decimal.h"
#include "files/json.h"

#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>

static int open_text(json *v, const char *text, saeuron_error *e)
{
    return json_open(v, text, strlen(text), "t", e);
}

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
        { "0", 0 }, { "-0", UINT64_C(1) << 63 }, { "1", 0x3FF0000000000000 }, { "0.1", 0x3FB999999999999A },
        { "1e22", 0x4480F0CF064DD592 }, { "1E22", 0x4480F0CF064DD592 },
        { "1e23", 0x44B52D02C7E14AF6 }, { "9007199254740993", 0x4340000000000000 },
        { "9007199254740993.00000000000000000000000000001", 0x4340000000000001 },
        { "9007199254740995", 0x4340000000000002 }, { "4.9406564584124654e-324", 1 },
        { "2.4703282292062327e-324", 0 }, { "2.4703282292062328e-324", 1 },
        { "7.4109846876186981e-324", 1 }, { "7.4109846876186982e-324", 2 },
        { "2.2250738585072011e-308", 0x000FFFFFFFFFFFFF }, { "2.2250738585072014e-308", 0x0010000000000000 },
        { "1.7976931348623157e308", 0x7FEFFFFFFFFFFFFF }, { "1.7976931348623158e308", 0x7FEFFFFFFFFFFFFF },
        { "123456789012345678901234567890", 0x45F8EE90FF6C373E },
        { "1e-400", 0 }, { "1e-99999999999999999999", 0 }, { "0e99999999999999999999", 0 },
    };
    double x;
    for (size_t i = 0; i < COUNT(table); i++)
        CHECK(io_parse_double(table[i].text, &x) && bits_of(x) == table[i].bits, "%s: %016" PRIx64,
              table[i].text, bits_of(x));
    static const char *const bad[] =
        { "", "-", ".", "e5", "1e", "1e+", "1ex", "1x", " 1", "1 ", "0x10", "nan", "inf", "1..2", "1,5",
          "1e400", "1.7976931348623159e308", "-1e99999999999999999999" };
    for (size_t i = 0; i < COUNT(bad); i++)
        CHECK(!io_parse_double(bad[i], &x), "%s: %g", bad[i], x);
    CHECK(io_parse_double("+.5", &x) && x == 0.5 && io_parse_double("5.", &x) && x == 5,
          "a person may leave out a side");
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
    CHECK(!open_text(&v, "1e999", NULL) && !json_number(v, &x), "a number beyond double became %g", x);
}

static void numbers_integer(void)
{
    static const struct { const char *text; bool ok; int64_t x; } table[] = {
        { "0", true, 0 }, { "-0", true, 0 }, { "3.0", true, 3 }, { "1e2", true, 100 }, { "1.50e1", true, 15 },
        { "3.5", false, 0 }, { "1e-1", false, 0 },
        { "9223372036854775807", true, INT64_MAX }, { "9223372036854775808", false, 0 },
        { "-9223372036854775808", true, INT64_MIN },
        { "-9223372036854775809", false, 0 }, { "18446744073709551616", false, 0 }, { "1e19", false, 0 },
        { "1e18", true, INT64_C(1000000000000000000) }, { "1e999", false, 0 },
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
    CHECK(io_parse_uint("18446744073709551615", &u) && u == UINT64_MAX &&
          !io_parse_uint("18446744073709551616", &u), "2^64");
    CHECK(!io_parse_uint("", &u) && !io_parse_uint("-1", &u) && !io_parse_uint("1 ", &u) &&
          !io_parse_uint("+1", &u), "no digits only");
}

/* Pairs and parts as options have them: "I/N" with I below N. */
static void numbers_paired(void)
{
    static const struct { const char *text; bool pair, part; uint64_t a, b; } table[] = {
        { "0/2", true, true, 0, 2 }, { "1/2", true, true, 1, 2 }, { "2/2", true, false, 2, 2 },
        { "0/0", true, false, 0, 0 }, { "0/18446744073709551615", true, false, 0, UINT64_MAX },
        { "7", false, false, 0, 0 }, { "1-2", false, false, 0, 0 }, { "/2", false, false, 0, 0 },
        { "1/", false, false, 0, 0 }, { "1/2/3", false, false, 0, 0 }, { "x/2", false, false, 0, 0 },
        { "00000000000000000000001/2", false, false, 0, 0 },
    };
    for (size_t i = 0; i < COUNT(table); i++) {
        uint64_t a = 0, b = 0;
        size_t part = 7, parts = 9;
        const bool pair = io_parse_pair(table[i].text, '/', &a, &b);
        CHECK(pair == table[i].pair && (!pair || (a == table[i].a && b == table[i].b)), "%s", table[i].text);
        CHECK(io_parse_part(table[i].text, &part, &parts) == table[i].part, "%s", table[i].text);
        CHECK(table[i].part ? part == table[i].a && parts == table[i].b : part == 7 && parts == 9,
              "%s: %zu of %zu", table[i].text, part, parts);
    }
}

static void numbers_print(void)
{
    static const struct { double x; const char *text; } table[] = {
        { 0, "0" }, { 1, "1" }, { -1.5, "-1.5" }, { 0.1, "0.1" }, { 100, "100" },
        { 1e15, "1000000000000000" }, { 1e16, "1e+16" }, { 1e-4, "0.0001" }, { 1e-5, "1e-05" },
        { 123456.789, "123456.789" }, { 0x1p-1074, "5e-324" }, { DBL_MAX, "1.7976931348623157e+308" },
        { 1.0 / 3, "0.3333333333333333" }, { 9007199254740993.0, "9007199254740992" },
        { 0x1p-44, "5.684341886080802e-14" }, { 9.5367431640625e-07, "9.5367431640625e-07" },
        { 1e100, "1e+100" },
    };
    char out[32];
    for (size_t i = 0; i < COUNT(table); i++)
        CHECK(io_format_double(out, sizeof out, table[i].x) == strlen(table[i].text) &&
              !strcmp(out, table[i].text), "%s is not %s", out, table[i].text);
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
    io_format_float(out, sizeof out, INFINITY);
    CHECK(!strcmp(out, "inf"), "%s", out);
    CHECK(io_format_double(out, 31, 1) == 0, "a number is printed where not every number has room");
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
            CHECK(strlen(out) <= 17 && io_parse_double(out, &y) && (float)y == f, "%08" PRIx32 " printed %s",
                  s, out);
        }
    }
}

const test_case decimal_tests[] = {
    { "read", numbers_read }, { "long", numbers_long }, { "integer", numbers_integer },
    { "paired", numbers_paired },
    { "print", numbers_print }, { "round_trip", numbers_round_trip }, { NULL, NULL },
};
