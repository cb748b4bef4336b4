/* deflate.c: zlib streams: written without compressing, in stored blocks; read whatever their blocks are.
 *
 *   bytes --stored blocks--> zlib stream          any zlib stream --Huffman codes, copies--> bytes
 *
 * Not here: what the bytes are (png.c). Source: RFC 1950 (zlib), RFC 1951 (deflate).
 * Why stored: a compressor would be one more algorithm to audit. What it costs: docs/formats.md, "PNG". */
#include "files/deflate.h"
#include "files/bytes.h"

#include <string.h>

/* Adler-32 (RFC 1950 section 8). */
static uint32_t adler32_of(const unsigned char *p, size_t n)
{
    uint32_t a = 1, b = 0;
    for (size_t i = 0; i < n; i++) {
        a = (a + p[i]) % 65521;
        b = (b + a) % 65521;
    }
    return b << 16 | a;
}

/* ---- writing ---- */

#define STORED_MAX ((size_t)65535) /* bytes of one stored block */

size_t deflate_stored_size(size_t size) { return 2 + size + 5 * (size / STORED_MAX + 1) + 4; }

size_t deflate_stored(unsigned char *out, const unsigned char *data, size_t size)
{
    unsigned char *p = out;
    size_t at = 0, some;
    *p++ = 0x78; /* deflate, window 32 KiB */
    *p++ = 0x01; /* makes both a multiple of 31 */
    do {
        some = size - at < STORED_MAX ? size - at : STORED_MAX;
        *p++ = at + some == size; /* the last block or not; kind 0: stored */
        put_le(p, some, 2);
        put_le(p + 2, ~(uint64_t)some, 2);
        if (some)
            memcpy(p + 4, data + at, some);
        p += 4 + some;
        at += some;
    } while (at < size);
    put_be32(p, adler32_of(data, size));
    return (size_t)(p + 4 - out);
}

/* ---- the alphabet of deflate (RFC 1951 section 3.2) ---- */

enum { END_OF_BLOCK = 256, LITERALS = 286, DISTANCES = 30, LENGTH_CODES = 19 };

/* Symbol 257 + i stands for lengths from length_base[i] with length_extra[i] more bits; distances alike. */
static const unsigned short length_base[29] = {
    3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195,
    227, 258
};
static const unsigned char length_extra[29] = {
    0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0
};
static const unsigned short distance_base[DISTANCES] = {
    1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537, 2049, 3073,
    4097, 6145, 8193, 12289, 16385, 24577
};
static const unsigned char distance_extra[DISTANCES] = {
    0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13
};
/* The order in which a block with its own codes stores the code lengths of its code-length code. */
static const unsigned char length_order[LENGTH_CODES] = {
    16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15
};

/* ---- reading ---- */

/* Reads bits from in, writes bytes to out. bad is set at the first thing that RFC 1951 does not allow, when
 * the input ends, and when out is full. From then on bits are 0 and nothing is written: loops end. */
typedef struct inflate {
    const unsigned char *in;
    size_t   in_size, in_at;
    unsigned hold;
    int      held;
    unsigned char *out;
    size_t   out_size, out_at;
    bool     bad;
} inflate;

static unsigned get_bits(inflate *z, int count)
{
    unsigned value = 0;
    for (int i = 0; i < count && !z->bad; i++) {
        if (z->held == 0) {
            if (z->in_at == z->in_size) {
                z->bad = true;
                return 0;
            }
            z->hold = z->in[z->in_at++];
            z->held = 8;
        }
        value |= (z->hold & 1) << i;
        z->hold >>= 1;
        z->held--;
    }
    return value;
}

static void put_byte(inflate *z, unsigned char byte)
{
    if (z->out_at == z->out_size)
        z->bad = true;
    if (!z->bad)
        z->out[z->out_at++] = byte;
}

/* A canonical code as counts a length and symbols in order of their codes. */
typedef struct huffman { unsigned short count[16], symbol[288]; } huffman;

/* Builds h from n code lengths. false when they ask for more codes than there are, or leave some unused. Two
 * such codes are allowed, which encoders write for distances that they do not need: a single code of one bit,
 * and none at all. */
static bool huffman_open(huffman *h, const unsigned char *length, int n)
{
    unsigned short at[16];
    int left = 1, used = 0;
    memset(h->count, 0, sizeof h->count);
    for (int i = 0; i < n; i++)
        h->count[length[i]]++;
    h->count[0] = 0;
    for (int bits = 1; bits < 16; bits++) {
        left = 2 * left - h->count[bits];
        used += h->count[bits];
        if (left < 0)
            return false;
    }
    at[1] = 0;
    for (int bits = 1; bits < 15; bits++)
        at[bits + 1] = (unsigned short)(at[bits] + h->count[bits]);
    for (int i = 0; i < n; i++)
        if (length[i])
            h->symbol[at[length[i]]++] = (unsigned short)i;
    return left == 0 || used == 0 || (used == 1 && h->count[1] == 1);
}

/* The next symbol; bad, and 0, when no code matches. */
static int get_symbol(inflate *z, const huffman *h)
{
    int code = 0, first = 0, index = 0;
    for (int bits = 1; bits < 16; bits++) {
        code |= (int)get_bits(z, 1);
        const int count = h->count[bits];
        if (code - first < count)
            return z->bad ? 0 : h->symbol[index + code - first];
        index += count;
        first = (first + count) << 1;
        code <<= 1;
    }
    z->bad = true;
    return 0;
}

/* The symbols of a block up to its end. */
static void inflate_symbols(inflate *z, const huffman *literals, const huffman *distances)
{
    while (!z->bad) {
        const int s = get_symbol(z, literals);
        if (z->bad || s == END_OF_BLOCK)
            return;
        if (s < END_OF_BLOCK) {
            put_byte(z, (unsigned char)s);
            continue;
        }
        if (s >= LITERALS)
            break;
        const size_t n = length_base[s - 257] + get_bits(z, length_extra[s - 257]);
        const int d = get_symbol(z, distances);
        if (d >= DISTANCES)
            break;
        const size_t distance = distance_base[d] + get_bits(z, distance_extra[d]);
        if (z->bad || distance > z->out_at)
            break;
        for (size_t i = 0; i < n; i++)
            put_byte(z, z->out[z->out_at - distance]);
    }
    z->bad = true;
}

static void inflate_stored(inflate *z)
{
    z->held = 0; /* the rest of a byte is padding */
    const unsigned n = get_bits(z, 16), check = get_bits(z, 16);
    if ((n ^ check) != 0xFFFF || z->in_size - z->in_at < n)
        z->bad = true;
    for (unsigned i = 0; i < n && !z->bad; i++)
        put_byte(z, z->in[z->in_at++]);
}

/* The fixed code has 288 literals and lengths and 32 distances; the last two of both stand for nothing. */
static void inflate_fixed(inflate *z)
{
    unsigned char l[288], d[32];
    huffman literals, distances;
    for (int i = 0; i < 288; i++)
        l[i] = i < 144 ? 8 : i < 256 ? 9 : i < 280 ? 7 : 8;
    memset(d, 5, sizeof d);
    huffman_open(&literals, l, 288);
    huffman_open(&distances, d, 32);
    inflate_symbols(z, &literals, &distances);
}

/* Reads n code lengths, which are themselves coded: 0..15 is a length, 16 the last one 3..6 times more,
 * 17 and 18 are 3..10 and 11..138 zeros. */
static void get_code_lengths(inflate *z, const huffman *code, unsigned char *length, int n)
{
    for (int i = 0; i < n && !z->bad;) {
        const int s = get_symbol(z, code);
        if (s < 16) {
            length[i++] = (unsigned char)s;
            continue;
        }
        if (s == 16 && i == 0)
            z->bad = true;
        const unsigned char value = s == 16 && i > 0 ? length[i - 1] : 0;
        int run = s == 16 ? 3 + (int)get_bits(z, 2)
                : s == 17 ? 3 + (int)get_bits(z, 3) : 11 + (int)get_bits(z, 7);
        if (run > n - i)
            z->bad = true;
        for (; run > 0 && !z->bad; run--)
            length[i++] = value;
    }
}

/* A block with codes of its own. */
static void inflate_dynamic(inflate *z)
{
    unsigned char length[320] = { 0 };
    huffman code, literals, distances;
    const int nl = 257 + (int)get_bits(z, 5), nd = 1 + (int)get_bits(z, 5), nc = 4 + (int)get_bits(z, 4);
    for (int i = 0; i < nc; i++)
        length[length_order[i]] = (unsigned char)get_bits(z, 3);
    if (z->bad || nl > LITERALS || nd > DISTANCES || !huffman_open(&code, length, LENGTH_CODES)) {
        z->bad = true;
        return;
    }
    memset(length, 0, sizeof length);
    get_code_lengths(z, &code, length, nl + nd);
    if (z->bad || !length[END_OF_BLOCK] || !huffman_open(&literals, length, nl) ||
        !huffman_open(&distances, length + nl, nd)) {
        z->bad = true;
        return;
    }
    inflate_symbols(z, &literals, &distances);
}

bool inflate_zlib(unsigned char *out, size_t out_size, const unsigned char *in, size_t in_size)
{
    inflate z = { .in = in, .in_size = in_size, .in_at = 2, .out = out, .out_size = out_size };
    bool last = false;
    if (in_size < 6 || (in[0] & 15) != 8 || in[0] >> 4 > 7 || (in[0] << 8 | in[1]) % 31 != 0 || (in[1] & 32))
        return false;
    while (!last && !z.bad) {
        last = get_bits(&z, 1) == 1;
        switch (get_bits(&z, 2)) {
        case 0: inflate_stored(&z); break;
        case 1: inflate_fixed(&z); break;
        case 2: inflate_dynamic(&z); break;
        default: z.bad = true;
        }
    }
    return !z.bad && z.out_at == out_size && in_size - z.in_at >= 4 &&
        get_be32(in + z.in_at) == adler32_of(out, out_size);
}
