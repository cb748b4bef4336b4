/* test_json.c: json.c: what it accepts and refuses, rule by rule; walking; strings both ways. (Numbers:
 * test_decimal.c.) What other programs think of our reading is tests/check_files.py's subject;
 * tests/fuzz_readers.c goes further. */
#include "test.h"
#include "scratch.h"
#include "files/json.h"
#include "files/system.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int open_text(json *v, const char *text, saeuron_error *e)
{
    return json_open(v, text, strlen(text), "t", e);
}

static void json_accepts(void)
{
    static const char *const good[] = {
        "0", "-0", "-1.5e+10", "1E5", "\"\"", "true", "false", "null", "[]", "{}", " \t\r\n[ 1 , 2 ] ",
        "[[],[[]],{}]",
        "{\"a\":{\"a\":1},\"b\":[{\"a\":2},{\"a\":3}]}", "\"\\u00e9\\uD83D\\uDE00\\n\\/\"",
        "\"\xC3\xA9\xF0\x9F\x98\x80\x7F\"", "\"\\u0000\"",
        "\"\\uE000\"", "NaN", "Infinity", "[-Infinity,-1,NaN]",
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
        { "", "ends where" }, { " ", "ends where" }, { "x", "expected a value" },
        { "tru", "expected a value" }, { "truex", "follows" },
        { "1 2", "follows" }, { "[1", "ends inside an array" }, { "[1,", "ends where" },
        { "[1,]", "expected a value" }, { "[1 2]", "',' or ']'" },
        { "{", "key" }, { "{\"a\"", "':'" }, { "{\"a\":", "ends where" },
        { "{\"a\":1", "ends inside an object" }, { "{\"a\":1,}", "key" }, { "{a:1}", "key" },
        { "{\"a\" 1}", "':'" }, { "[1}", "',' or ']'" }, { "]", "expected a value" },
        { "01", "begin with 0" }, { "-", "digit" }, { "1.", "digit" },
        { ".5", "expected a value" }, { "+1", "expected a value" }, { "1e", "digit" }, { "1e+", "digit" },
        { "Nan", "expected a value" }, { "nan", "expected a value" }, { "Infinit", "expected a value" },
        { "-Inf", "expected a value" }, { "-NaN", "digit" }, { "+Infinity", "expected a value" },
        { "NaN1", "follows" },
        { "\"a", "inside a string" }, { "\"\\", "escape" }, { "\"\\x\"", "escape" },
        { "\"\\u12g4\"", "hexadecimal" }, { "\"\\u12", "hexadecimal" },
        { "\"\\uD800\"", "surrogate" }, { "\"\\uD800x\"", "surrogate" },
        { "\"\\uD800\\u0041\"", "surrogate" },
        { "\"\\uD800\\n0041\"", "surrogate" },
        { "\"\\uD800uD800\"", "surrogate" }, { "\"\\uD800\\uE000\"", "surrogate" },
        { "\"\\uDC00\"", "surrogate" },
        { "\"\\uDC00\\uDC00\"", "surrogate" },
        { "\"\n\"", "escaped" }, { "\"\x01\"", "escaped" }, { "\"\x80\"", "UTF-8" },
        { "\"\xC0\x80\"", "UTF-8" }, { "\"\xE0\x80\x80\"", "UTF-8" },
        { "\"\xED\xA0\x80\"", "UTF-8" }, { "\"\xF4\x90\x80\x80\"", "UTF-8" },
        { "\"\xF8\x88\x80\x80\x80\"", "UTF-8" }, { "\"\xC3\"", "UTF-8" },
        { "\xEF\xBB\xBF{}", "byte-order mark" }, { "/* */ 1", "expected a value" },
        { "{\"a\":1,\"a\":2}", "twice" }, { "{\"a\":1,\"b\":2,\"\\u0061\":2}", "twice" },
        { "[{\"b\":[{\"x\":1,\"y\":0,\"x\":1}]}]", "twice" },
    };
    json v;
    saeuron_error e;
    for (size_t i = 0; i < COUNT(bad); i++) {
        const int code = open_text(&v, bad[i].text, &e);
        CHECK(code == SAEURON_EFORMAT && strstr(e.text, bad[i].why), "%s: code %d, %s", bad[i].text, code,
              code ? e.text : "accepted");
        CHECK(!v.at, "%s: a view of a refused text", bad[i].text);
    }
    CHECK(open_text(&v, &"\xEF\xBB\xBF{}"[3], &e) == SAEURON_OK, "saved without the mark: %s", e.text);
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
    CHECK(!open_text(&v, " { \"a\" : [ 1 , \"]\\\"}\" , { } , [ ] , -2.5 ] , \"b\":{\"c\":true} , "
                     "\"\\u0064\":null}", NULL), "refused");
    CHECK(json_kind(v) == '{' && json_length(v) == 3, "%zu members", json_length(v));
    CHECK(json_get(v, "a", &a) && json_kind(a) == '[' && json_length(a) == 5, "a");
    static const char kinds[] = "0\"{[0";
    for (json_iter it = json_begin(a); json_next(&it, &k, &x); n++)
        CHECK(json_kind(x) == kinds[n], "element %d is %c", n, json_kind(x));
    CHECK(n == 5, "%d elements", n);
    CHECK(json_get(v, "b", &a) && json_get(a, "c", &x) && json_bool(x, &b) && b, "b.c");
    CHECK(json_get(v, "d", &x) && json_kind(x) == 'n' && !json_bool(x, &b), "d");
    CHECK(!json_get(v, "c", &x) && !json_get(x, "a", &a) && !json_get((json){ NULL, NULL }, "a", &a),
          "found what is not there");
    CHECK(!json_number(v, &d) && json_length(x) == 0 && json_kind((json){ NULL, NULL }) == 0, "wrong kinds");
    CHECK(!open_text(&v, "[]", NULL) && json_length(v) == 0, "an empty array has elements");
    int64_t whole;
    CHECK(!open_text(&v, "{\"a\":[-Infinity,NaN , Infinity]}", NULL) && json_get(v, "a", &a),
          "Python's words");
    n = 0;
    for (json_iter it = json_begin(a); json_next(&it, &k, &x); n++)
        CHECK(json_kind(x) == 'N' && !json_number(x, &d) && !json_integer(x, &whole), "element %d is %c", n,
              json_kind(x));
    CHECK(n == 3, "%d of Python's words", n);
}

static void json_strings(void)
{
    json v;
    char out[16];
    size_t n = 99;
    open_text(&v, "\"a\\u00e9\\ud83d\\ude00\\\"\\\\\\/\\b\\f\\n\"", NULL);
    CHECK(json_string(v, out, sizeof out, &n) && n == 13 &&
          !strcmp(out, "a\xC3\xA9\xF0\x9F\x98\x80\"\\/\b\f\n"), "%zu: %s", n, out);
    CHECK(json_equals(v, out) && !json_equals(v, "a") &&
          !json_equals(v, "a\xC3\xA9\xF0\x9F\x98\x80\"\\/\b\f\nx"), "equality");
    CHECK(json_string(v, out, 14, NULL) && !json_string(v, out, 13, NULL),
          "13 bytes and a NUL need exactly 14");
    open_text(&v, "\"a\\u0000b\"", NULL);
    CHECK(!json_string(v, out, sizeof out, NULL) && !json_equals(v, "a"), "a zero inside ended the string");
    open_text(&v, "\"\"", NULL);
    CHECK(json_string(v, out, 1, &n) && n == 0 && json_equals(v, ""), "the empty string");
    CHECK(!json_string(v, out, 0, NULL), "the empty string has an end that needs room");
    open_text(&v, "7", NULL);
    CHECK(!json_string(v, out, sizeof out, NULL) && !json_equals(v, "7"), "a number is no string");
    for (const char *digit = "123456789abcdefABCDEF"; *digit; digit++) { /* the first and last of each kind */
        char text[16];
        snprintf(text, sizeof text, "\"\\u000%c\"", *digit);
        open_text(&v, text, NULL);
        CHECK(json_string(v, out, sizeof out, NULL) &&
                  out[0] == (char)strtol((char[]){ *digit, 0 }, NULL, 16), "%s is %d", text, out[0]);
    }
}

/* The key stack holds JSON_KEYS; beyond it a duplicate passes, and nothing is overwritten. */
static void json_many_keys(void)
{
    char *text = malloc(1 << 20);
    json  v, x;
    for (int last = 0; last < 2; last++) {
        size_t n = 0;
        for (int i = 0; i < 2 * JSON_KEYS; i++)
            n += (size_t)sprintf(text + n, "%c\"k%d\":%d", i ? ',' : '{', i == JSON_KEYS - 1 + last ? 0 : i,
                                 i);
        text[n++] = '}';
        CHECK((json_open(&v, text, n, "t", NULL) == SAEURON_OK) == (last == 1), "key %d",
              JSON_KEYS - 1 + last);
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

static void quoting(void)
{
    static const char text[] = "a\"\\\n\x01\x7F\xC3\xA9\xF0\x9F\x98\x80";
    char out[64], back[64];
    json v;
    const size_t n = json_quote(out, sizeof out, text);
    CHECK(n == json_quote(NULL, 0, text) && n < sizeof out, "%zu", n);
    CHECK(json_open(&v, out, n, "t", NULL) == SAEURON_OK && json_string(v, back, sizeof back, NULL) &&
          !strcmp(back, text), "%.*s", (int)n, out);
    CHECK(json_quote(out, sizeof out, "\xFF") == 5 && !memcmp(out, "\"\xEF\xBF\xBD\"", 5),
          "a stray byte becomes U+FFFD");
    memset(out, 'x', sizeof out);
    for (size_t size = 0; size < 20; size++) {
        CHECK(json_quote(out, size, text) == n, "length at %zu", size);
        CHECK(out[size] == 'x', "wrote beyond %zu", size);
    }
}

const test_case json_tests[] = {
    { "accepts", json_accepts }, { "refuses", json_refuses }, { "ends_in_time", json_ends_in_time },
    { "depth", json_depth }, { "walks", json_walks }, { "strings", json_strings },
    { "many_keys", json_many_keys }, { "vocabulary_speed", json_vocabulary_speed }, { "quoting", quoting },
    { NULL, NULL },
};
