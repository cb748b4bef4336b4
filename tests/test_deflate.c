/* test_deflate.c: deflate.c: stored streams as RFC 1951 lays them out, and streams of every kind of block
 * read. Hostile streams: test_png.c, fuzz_readers.c. Thousands of pictures by Pillow: check_files.py. */
#include "test.h"
#include "scratch.h"
#include "squeezed.h"
#include "files/deflate.h"

#include <stdlib.h>
#include <string.h>

/* Nothing, a byte, and each side of a block's end: the layout to the byte, and the way back. */
static void stored(void)
{
    static const size_t sizes[] = { 0, 1, 65534, 65535, 65536, 131070, 131071 };
    static const unsigned char abc[] = "\x78\x01\x01\x03\x00\xFC\xFF" "abc\x02\x4D\x01\x27";
    unsigned char small[32];
    CHECK(deflate_stored(small, (const unsigned char *)"abc", 3) == 14 && !memcmp(small, abc, 14),
          "other bytes");
    for (size_t s = 0; s < COUNT(sizes); s++) {
        const size_t n = sizes[s], blocks = n ? (n + 65534) / 65535 : 1;
        unsigned char *data = malloc(n + 1), *out = malloc(deflate_stored_size(n)), *back = malloc(n + 1);
        for (size_t i = 0; i < n; i++)
            data[i] = (unsigned char)random_bits();
        const size_t length = deflate_stored(out, data, n);
        CHECK(length == 2 + n + 5 * blocks + 4 && length <= deflate_stored_size(n), "%zu bytes of %zu",
              length, n);
        CHECK(out[2] == (blocks == 1) && inflate_zlib(back, n, out, length) && !memcmp(back, data, n),
              "%zu bytes: not read back", n);
        CHECK(!inflate_zlib(back, n + 1, out, length) && (!n || !inflate_zlib(back, n - 1, out, length)),
              "%zu bytes: another size", n);
        free(back);
        free(out);
        free(data);
    }
}

static size_t stream_of(const unsigned char *png, const unsigned char **z)
{
    *z = png + SQUEEZED_ZLIB;
    return (size_t)png[SQUEEZED_ZLIB - 6] << 8 | png[SQUEEZED_ZLIB - 5];
}

/* Both codes, to the byte. */
static void squeezed(void)
{
    const unsigned char *const png[2] = { squeezed_fixed, squeezed_dynamic };
    unsigned char rows[SQUEEZED_ROWS];
    for (int k = 0; k < 2; k++) {
        const unsigned char *z;
        const size_t n = stream_of(png[k], &z);
        CHECK((z[2] >> 1 & 3) == 1 + k, "not the kind of block that was meant");
        CHECK(inflate_zlib(rows, sizeof rows, z, n), "kind %d is refused", 1 + k);
        for (int i = 0; i < SQUEEZED_ROWS; i++) {
            const int want = i % 30 == 0 ? i / 30 % 5 : i % 120 < 90 ? i * i / 11 % 7 * (i % 5) : 250;
            CHECK(rows[i] == want, "kind %d, byte %d: %d, not %d", 1 + k, i, rows[i], want);
        }
    }
}

/* Bits of a stream, the lowest first; a Huffman code is stored from its first bit. */
typedef struct bits { unsigned char *p; size_t n; } bits;

static void put(bits *b, unsigned value, int count)
{
    for (int i = 0; i < count; i++, b->n++)
        b->p[b->n / 8] |= (unsigned char)((value >> i & 1) << b->n % 8);
}

static void put_code(bits *b, unsigned code, int length)
{
    for (int i = length - 1; i >= 0; i--)
        put(b, code >> i & 1, 1);
}

/* A copy of n bytes from `distance` before, in the fixed code; RFC 1951's tables of lengths and distances as
 * formulas. */
static void put_copy(bits *b, unsigned n, unsigned distance)
{
    unsigned extra = 0, symbol = n + 254, x = n - 3;
    if (n == 258)
        symbol = 285;
    else if (x >= 8) {
        while (x >> (extra + 3))
            extra++;
        symbol = 261 + 4 * extra + (x >> extra & 3);
    }
    put_code(b, symbol < 280 ? symbol - 256 : 0xC0 + symbol - 280, symbol < 280 ? 7 : 8);
    put(b, x, n == 258 ? 0 : (int)extra);
    x = distance - 1;
    for (extra = 0; x >> extra >= 4;)
        extra++;
    put_code(b, x < 4 ? x : 2 * extra + (x >> extra), 5);
    put(b, x, (int)extra);
}

/* The least distance of a code. */
static unsigned first_distance(unsigned code)
{
    return 1 + (code < 4 ? code : (2 + code % 2) << (code / 2 - 1));
}

/* Every length from both ends of a distance's code, over 32,768 bytes of noise. Some of it stands before each
 * copy, too: what copies leave repeats itself, so that another distance would give the same bytes. */
static void copies(void)
{
    enum { WINDOW = 32768, ROOM = 1 << 22 };
    unsigned char *z = calloc(ROOM, 1), *want = malloc(ROOM), *back = malloc(ROOM);
    bits   b = { z, 16 };
    size_t n = WINDOW;
    uint32_t sum = 1, sums = 0;
    z[0] = 0x78, z[1] = 0x01;
    for (size_t i = 0; i < n; i++)
        want[i] = (unsigned char)random_bits();
    put(&b, 0, 8); /* a stored block, not the last */
    put(&b, WINDOW, 16);
    put(&b, ~(unsigned)WINDOW & 0xFFFF, 16);
    memcpy(z + b.n / 8, want, n);
    b.n += 8 * n;
    put(&b, 3, 3); /* the last block, in the fixed code */
    for (unsigned length = 3; length <= 258; length++)
        for (unsigned end = 0; end < 60; end++) {
            const unsigned d = end % 2 ? first_distance(end / 2 + 1) - 1 : first_distance(end / 2);
            for (int i = 0; i < 8; i++) {
                want[n] = (unsigned char)(random_bits() % 144);
                put_code(&b, 0x30u + want[n++], 8);
            }
            put_copy(&b, length, d);
            for (unsigned i = 0; i < length; i++, n++)
                want[n] = want[n - d];
        }
    put_code(&b, 0, 7);
    for (size_t i = 0; i < n; i++) {
        sum = (sum + want[i]) % 65521;
        sums = (sums + sum) % 65521;
    }
    const size_t length = (b.n + 7) / 8;
    be32(z + length, sums << 16 | sum);
    CHECK(n < ROOM && length < ROOM - 4, "no room: %zu, %zu", n, length);
    CHECK(inflate_zlib(back, n, z, length + 4) && !memcmp(back, want, n), "other bytes");
    free(back);
    free(want);
    free(z);
}

/* Each stream breaks one rule. */
static void refuses(void)
{
    static const struct { const char *bytes; size_t n, out; const char *why; } bad[] = {
        { "\x78\x02\x01\x00\x00\xFF\xFF\x00\x00\x00\x01", 11, 0, "a head that is no multiple of 31" },
        { "\x77\x09\x01\x00\x00\xFF\xFF\x00\x00\x00\x01", 11, 0, "method 7" },
        { "\x78\x20\x01\x00\x00\xFF\xFF\x00\x00\x00\x01", 11, 0, "a preset dictionary" },
        { "\x78\x01\x07\x00\x00\xFF\xFF\x00\x00\x00\x01", 11, 0, "a block of kind 3" },
        { "\x78\x01\x01\x00\x00\xFF\xFE\x00\x00\x00\x01", 11, 0, "a length that its complement denies" },
        { "\x78\x01\x01\x01\x00\xFE\xFF\x00\x00\x00\x01", 11, 1, "an end inside Adler-32" },
        { "\x78\x01\x01\x00\x00\xFF\xFF\x00\x00\x00\x02", 11, 0, "a wrong Adler-32" },
        { "\x78\x01\x03\x00\x00\x00\x00\x02", 8, 0, "a wrong Adler-32 after the fixed code" },
        { "\x78\x01\x03\x02\x00\x00\x03\x00\x01", 9, 3, "a copy from before the beginning, where zeros lie" },
    };
    unsigned char out[16] = { 0 };
    CHECK(inflate_zlib(out, 0, (const unsigned char *)"\x78\x01\x03\x00\x00\x00\x00\x01", 8),
          "the empty stream is one");
    for (size_t i = 0; i < COUNT(bad); i++)
        CHECK(!inflate_zlib(out + 8, bad[i].out, (const unsigned char *)bad[i].bytes, bad[i].n), "%s passes",
              bad[i].why);
}

/* Cut anywhere: refused. Every bit turned: refused, at the latest by Adler-32, or the same bytes (the head
 * may name a smaller window, a copy may come from another equal place, and the bits after the last block mean
 * nothing). */
static void damaged(void)
{
    const unsigned char *const png[2] = { squeezed_fixed, squeezed_dynamic };
    unsigned char rows[SQUEEZED_ROWS], whole[SQUEEZED_ROWS];
    for (int k = 0; k < 2; k++) {
        const unsigned char *z;
        const size_t n = stream_of(png[k], &z);
        inflate_zlib(whole, sizeof whole, z, n);
        CHECK(!inflate_zlib(rows, sizeof rows, z, n - 1), "kind %d: a byte beyond its end was read", 1 + k);
        for (size_t i = 0; i < n; i++) {
            unsigned char *copy = malloc(n), *cut = malloc(i + !i);
            memcpy(copy, z, n);
            memcpy(cut, z, i);
            CHECK(!inflate_zlib(rows, sizeof rows, cut, i), "kind %d: accepted when cut to %zu bytes", 1 + k,
                  i);
            for (int bit = 0; bit < 8; bit++) {
                copy[i] ^= (unsigned char)(1 << bit);
                const bool read = inflate_zlib(rows, sizeof rows, copy, n);
                CHECK(!read || !memcmp(rows, whole, sizeof rows),
                      "kind %d: bit %d of byte %zu gives other bytes", 1 + k, bit, i);
                copy[i] ^= (unsigned char)(1 << bit);
            }
            free(cut);
            free(copy);
        }
    }
}

const test_case deflate_tests[] = {
    { "stored", stored }, { "squeezed", squeezed }, { "copies", copies }, { "refuses", refuses },
    { "damaged", damaged },
    { NULL, NULL },
};
