/* test_unicode.c: unicode.c: the standard's examples of NFC, and characters at the edges of each table.
 * All code points, against the tokenizers library: tests/unicode_tables.py --check. */
#include "test.h"
#include "files/unicode.h"

#include <string.h>

/* The standard's own examples: order of marks, blocking, Hangul, exclusions; one of each would break
 * alone. */
static void nfc(void)
{
    static const struct { const char *from; uint32_t to[4]; size_t n; } examples[] = {
        { "e\xCC\x81", { 0xE9 }, 1 },                      { "\xC3\xA9", { 0xE9 }, 1 },
        { "q\xCC\x87\xCC\xA3", { 'q', 0x323, 0x307 }, 3 }, { "d\xCC\x87\xCC\xA3", { 0x1E0D, 0x307 }, 2 },
        { "a\xCC\x81\xCC\x81", { 0xE1, 0x301 }, 2 },       { "\xE2\x84\xAB", { 0xC5 }, 1 },
        { "\xE1\x84\x80\xE1\x85\xA1\xE1\x86\xA8", { 0xAC01 }, 1 }, { "\xEA\xB0\x81", { 0xAC01 }, 1 },
        { "\xEA\xB0\x81\xE1\x86\xA8", { 0xAC01, 0x11A8 }, 2 },
        { "\xE0\xA5\x98", { 0x915, 0x93C }, 2 },           { "\xE0\xA7\x87\xE0\xA6\xBE", { 0x9CB }, 1 },
        { "\xE0\xA7\x87\xCC\xA1\xE0\xA6\xBE", { 0x9C7, 0x321, 0x9BE }, 3 }, { "\xCC\x81", { 0x301 }, 1 },
        { "", { 0 }, 0 },
    };
    for (size_t i = 0; i < sizeof examples / sizeof *examples; i++) {
        uint32_t y[32], scratch[32];
        const size_t n = unicode_nfc(y, scratch, examples[i].from, strlen(examples[i].from));
        CHECK(n == examples[i].n && !memcmp(y, examples[i].to, n * sizeof *y),
              "example %zu: %zu characters, the first U+%04X", i, n, (unsigned)(n ? y[0] : 0));
    }
}

static void classes(void)
{
    uint32_t low[2];
    CHECK(unicode_lower(low, 0x130) == 2 && low[0] == 'i' && low[1] == 0x307, "U+0130");
    CHECK(unicode_lower(low, 0x3A3) == 1 && low[0] == 0x3C3, "a final sigma is not known here");
    CHECK(unicode_lower(low, 0x101) == 1 && low[0] == 0x101 && unicode_lower(low, 0x100) == 1 &&
          low[0] == 0x101, "a run with stride 2");
    CHECK(unicode_lower(low, 0x10FFFF) == 1 && low[0] == 0x10FFFF, "U+10FFFF");
    CHECK(unicode_is_letter('A') && unicode_is_letter(0x4E00) && !unicode_is_letter('1') &&
          !unicode_is_letter(0x301), "letters");
    CHECK(unicode_is_number('0') && unicode_is_number(0xBD) && unicode_is_number(0x2160) &&
          !unicode_is_number(0x4E00), "numbers");
    CHECK(unicode_is_word('a') && unicode_is_word('_') && unicode_is_word('7') && unicode_is_word(0x301) &&
          unicode_is_word(0x200D) && unicode_is_word(0x24B6) && !unicode_is_word('-') &&
          !unicode_is_word(0xBD) && !unicode_is_word(0x1F600), "parts of words");
    CHECK(unicode_is_space(0x85) && unicode_is_space(0x3000) && !unicode_is_space(0x200B) &&
          !unicode_is_space(0x1C), "white space");
}

const test_case unicode_tests[] = { { "nfc", nfc }, { "classes", classes }, { NULL, NULL } };
