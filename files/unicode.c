/* unicode.c: NFC, lower case and three character classes.
 *
 *   UTF-8 --decompose--> code points --order marks--> NFD --compose--> NFC
 *
 * Not here: UTF-8 (utf8.c), what a tokenizer does with all this (tokenizer.c), the tables
 * (unicode_tables.h, written by tests/unicode_tables.py from what the tokenizers library answers).
 * Source: The Unicode Standard, section 3.11 (normalization forms) and 3.12 (Hangul). */
#include "files/unicode.h"
#include "files/utf8.h"
#include "files/unicode_tables.h"

#include <string.h>

#define COUNT(table) (sizeof (table) / sizeof *(table))

/* ---- classes ---- */

static bool in_ranges(const unicode_range *r, size_t n, uint32_t c)
{
    while (n > 0) {
        const size_t half = n / 2;
        if (c < r[half].first) {
            n = half;
        } else if (c > r[half].last) {
            r += half + 1;
            n -= half + 1;
        } else {
            return true;
        }
    }
    return false;
}

bool unicode_is_letter(uint32_t c) { return in_ranges(unicode_letters, COUNT(unicode_letters), c); }
bool unicode_is_number(uint32_t c) { return in_ranges(unicode_numbers, COUNT(unicode_numbers), c); }
bool unicode_is_word(uint32_t c)
{
    return unicode_is_letter(c) || in_ranges(unicode_marks, COUNT(unicode_marks), c);
}
bool unicode_is_space(uint32_t c)  { return in_ranges(unicode_spaces, COUNT(unicode_spaces), c); }

/* Canonical_Combining_Class. */
static unsigned order_of(uint32_t c)
{
    size_t low = 0, high = COUNT(unicode_classes);
    while (low < high) {
        const size_t half = (low + high) / 2;
        if (c < unicode_classes[half].first)
            high = half;
        else if (c > unicode_classes[half].last)
            low = half + 1;
        else
            return unicode_classes[half].order;
    }
    return 0;
}

size_t unicode_lower(uint32_t *out, uint32_t c)
{
    size_t low = 0, high = COUNT(unicode_lower_runs);
    out[0] = c;
    if (c == 0x130) { /* capital I with a dot: the one character with two */
        out[0] = 'i';
        out[1] = 0x307;
        return 2;
    }
    while (low < high) {
        const size_t half = (low + high) / 2;
        const unicode_lower_run *r = &unicode_lower_runs[half];
        if (c < r->first) {
            high = half;
        } else if (c > r->last) {
            low = half + 1;
        } else {
            if ((c - r->first) % r->stride == 0)
                out[0] = (uint32_t)((int32_t)c + r->delta);
            break;
        }
    }
    return 1;
}

/* ---- NFC ---- */

enum { S_FIRST = 0xAC00, L_FIRST = 0x1100, V_FIRST = 0x1161, T_BEFORE = 0x11A7, L_COUNT = 19, V_COUNT = 21,
       T_COUNT = 28,
       S_COUNT = L_COUNT * V_COUNT * T_COUNT };

/* The canonical decomposition of c into y [4]; its length. */
static size_t decompose(uint32_t *y, uint32_t c)
{
    const uint32_t s = c - S_FIRST;
    if (c >= S_FIRST && s < S_COUNT) {
        y[0] = L_FIRST + s / (V_COUNT * T_COUNT);
        y[1] = V_FIRST + s / T_COUNT % V_COUNT;
        y[2] = T_BEFORE + s % T_COUNT;
        return s % T_COUNT ? 3 : 2;
    }
    size_t low = 0, high = COUNT(unicode_steps);
    while (low < high) {
        const size_t half = (low + high) / 2;
        const unicode_step *step = &unicode_steps[half];
        if (c < step->c) {
            high = half;
        } else if (c > step->c) {
            low = half + 1;
        } else {
            size_t n = decompose(y, step->a); /* at most three deep: only the first part decomposes further */
            if (step->b)
                y[n++] = step->b;
            return n;
        }
    }
    y[0] = c;
    return 1;
}

/* The one character that a, b compose to, or 0. */
static uint32_t compose_pair(uint32_t a, uint32_t b)
{
    if (b < 0x300) /* no second part is below the combining marks */
        return 0;
    if (a - L_FIRST < L_COUNT && b - V_FIRST < V_COUNT)
        return S_FIRST + ((a - L_FIRST) * V_COUNT + (b - V_FIRST)) * T_COUNT;
    if (a - S_FIRST < S_COUNT && (a - S_FIRST) % T_COUNT == 0 && b > T_BEFORE && b < T_BEFORE + T_COUNT)
        return a + (b - T_BEFORE);
    size_t low = 0, high = COUNT(unicode_composed);
    while (low < high) {
        const size_t half = (low + high) / 2;
        const unicode_step *step = &unicode_steps[unicode_composed[half]];
        if (a < step->a || (a == step->a && b < step->b))
            high = half;
        else if (a > step->a || b > step->b)
            low = half + 1;
        else
            return step->c;
    }
    return 0;
}

/* Sorts a run of combining marks y [n] by class, equal classes as they stand. A counting sort: a prompt may
 * be one megabyte of marks. */
static void order_run(uint32_t *y, uint32_t *scratch, size_t n)
{
    size_t place[257] = { 0 };
    for (size_t i = 0; i < n; i++)
        place[order_of(y[i]) + 1]++;
    for (size_t k = 1; k < 257; k++)
        place[k] += place[k - 1];
    for (size_t i = 0; i < n; i++)
        scratch[place[order_of(y[i])]++] = y[i];
    memcpy(y, scratch, n * sizeof *y);
}

/* Canonical ordering of y [n]. */
static void order_marks(uint32_t *y, uint32_t *scratch, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const size_t first = i;
        bool sorted = true;
        for (unsigned before = 0, k; i < n && (k = order_of(y[i])) != 0; before = k, i++)
            sorted = sorted && before <= k;
        if (!sorted)
            order_run(y + first, scratch, i - first);
    }
}

/* Canonical composition of y [n] in place; the new length. A character joins the last starter unless one of
 * the same or a higher class, or another starter, stands between. */
static size_t compose(uint32_t *y, size_t n)
{
    size_t   length = 0, starter = SIZE_MAX;
    unsigned before = 0; /* class of y[length - 1] */
    for (size_t i = 0; i < n; i++) {
        const unsigned k = order_of(y[i]);
        if (starter != SIZE_MAX && (starter + 1 == length || before < k)) {
            const uint32_t joined = compose_pair(y[starter], y[i]);
            if (joined) {
                y[starter] = joined;
                continue;
            }
        }
        if (k == 0)
            starter = length;
        before = k;
        y[length++] = y[i];
    }
    return length;
}

size_t unicode_nfc(uint32_t *y, uint32_t *scratch, const char *s, size_t n)
{
    size_t   length = 0;
    uint32_t c;
    for (size_t used; n > 0 && (used = io_utf8(s, n, &c)) != 0; s += used, n -= used)
        length += decompose(y + length, c);
    order_marks(y, scratch, length);
    return compose(y, length);
}
