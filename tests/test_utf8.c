/* test_utf8.c: utf8.c: every character there is, and what RFC 3629 forbids. */
#include "test.h"
#include "scratch.h"
#include "files/utf8.h"

#include <inttypes.h>
#include <string.h>

/* All 1,112,064 characters there and back; cut short, none; half of a surrogate pair is no character. */
static void every_character(void)
{
    char text[4];
    uint32_t back;
    for (uint32_t c = 0; c <= 0x10FFFF; c++) {
        const size_t n = io_utf8_put(text, c), want = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
        const bool real = c < 0xD800 || c > 0xDFFF;
        CHECK(n == want && io_utf8(text, n, &back) == (real ? n : 0) && (!real || back == c), "U+%04" PRIX32,
              c);
        CHECK(io_utf8(text, n - 1, &back) == 0, "U+%04" PRIX32 " without its end", c);
    }
}

static void refuses(void)
{
    static const struct { const char *text; size_t n; const char *why; } bad[] = {
        { "", 0, "nothing" }, { "\x80", 1, "a byte that goes on" },
        { "\xC3\x28", 2, "a byte that does not go on" },
        { "\xC0\xAF", 2, "two bytes for one" }, { "\xC1\xBF", 2, "two bytes for one" },
        { "\xE0\x9F\xBF", 3, "three bytes for two" },
        { "\xF0\x8F\xBF\xBF", 4, "four bytes for three" }, { "\xF4\x90\x80\x80", 4, "beyond U+10FFFF" },
        { "\xF8\x88\x80\x80\x80", 5, "five bytes" }, { "\xFE", 1, "no such byte" },
        { "\xFF", 1, "no such byte" },
    };
    uint32_t c;
    for (size_t i = 0; i < COUNT(bad); i++)
        CHECK(io_utf8(bad[i].text, bad[i].n, &c) == 0, "%s passes", bad[i].why);
}

const test_case utf8_tests[] =
    { { "every_character", every_character }, { "refuses", refuses }, { NULL, NULL } };
