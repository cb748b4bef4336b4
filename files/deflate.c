/* deflate.c: zlib streams written and read.
 *
 *   bytes --LZ77, Huffman--> zlib stream          and the same way back
 *
 * Not here: what the bytes are (png.c). Source: RFC 1950 (zlib), RFC 1951 (deflate).
 * The same bytes give the same stream on every machine: only integers, no choice left to the surroundings. */
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

/* ---- deflate: what both directions share (RFC 1951 section 3.2) ---- */

enum { END_OF_BLOCK = 256, LITERALS = 286, DISTANCES = 30, LENGTH_CODES = 19, MATCH_MIN = 3, MATCH_MAX = 258 };

/* Symbol 257 + i stands for lengths from length_base[i] with length_extra[i] more bits; distances alike. */
static const unsigned short length_base[29] = { 3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115,
                                                131, 163, 195, 227, 258 };
static const unsigned char length_extra[29] = { 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0 };
static const unsigned short distance_base[30] = { 1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537,
                                                  2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577 };
static const unsigned char distance_extra[30] = { 0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13 };
/* The order in which the lengths of the code-length code are stored. */
static const unsigned char length_order[LENGTH_CODES] = { 16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15 };

/* Code lengths of the fixed code: 288 literals and lengths, of which the last two are never used, and 30 distances. */
static void fixed_lengths(unsigned char literals[288], unsigned char distances[DISTANCES])
{
    for (int i = 0; i < 288; i++)
        literals[i] = i < 144 ? 8 : i < 256 ? 9 : i < 280 ? 7 : 8;
    memset(distances, 5, DISTANCES);
}

/* ---- deflate: compressing ---- */

static void put_bits(deflate *z, uint32_t value, int count)
{
    z->hold |= (uint64_t)value << z->held;
    for (z->held += count; z->held >= 8; z->held -= 8, z->hold >>= 8)
        z->out[z->n++] = (unsigned char)(z->hold & 0xFF);
}

/* Depth of each used symbol in a Huffman tree of these counts: the two lightest nodes join until one is left. */
static int huffman_depths(const uint32_t *count, int n, unsigned char *length)
{
    uint32_t mass[2 * LITERALS];
    int parent[2 * LITERALS], nodes = n, deepest = 0;
    for (int i = 0; i < n; i++)
        mass[i] = count[i];
    for (;;) {
        int a = -1, b = -1; /* lightest, second lightest; the lower index first */
        for (int i = 0; i < nodes; i++) {
            if (mass[i] == 0)
                continue;
            if (a < 0 || mass[i] < mass[a]) {
                b = a;
                a = i;
            } else if (b < 0 || mass[i] < mass[b])
                b = i;
        }
        if (b < 0) {
            parent[a] = -1;
            break;
        }
        mass[nodes] = mass[a] + mass[b];
        mass[a] = mass[b] = 0;
        parent[a] = parent[b] = nodes++;
    }
    for (int i = 0; i < n; i++) {
        int depth = 0;
        if (count[i])
            for (int at = i; parent[at] >= 0; at = parent[at])
                depth++;
        length[i] = (unsigned char)depth;
        deepest = depth > deepest ? depth : deepest;
    }
    return deepest;
}

/* Code lengths of at most limit bits for the counts of n symbols; symbols never counted get 0. At least two get a code,
 * as some decoders want. A tree too deep is built again from halved counts, until it fits. */
static void huffman_lengths(uint32_t *count, int n, int limit, unsigned char *length)
{
    int used = 0;
    for (int i = 0; i < n; i++)
        used += count[i] > 0;
    for (int i = 0; used < 2; i++)
        if (count[i] == 0) {
            count[i] = 1;
            used++;
        }
    while (huffman_depths(count, n, length) > limit)
        for (int i = 0; i < n; i++)
            count[i] = count[i] / 2 + (count[i] > 0);
}

/* Canonical codes of the given lengths, reversed as put_bits wants them     (RFC 1951 section 3.2.2) */
static void huffman_codes(const unsigned char *length, int n, uint16_t *code)
{
    unsigned next[16] = { 0 }, counts[16] = { 0 };
    for (int i = 0; i < n; i++)
        counts[length[i]]++;
    counts[0] = 0;
    for (int bits = 1; bits < 16; bits++)
        next[bits] = (next[bits - 1] + counts[bits - 1]) << 1;
    for (int i = 0; i < n; i++) {
        unsigned c = next[length[i]]++, reversed = 0;
        for (int b = 0; b < length[i]; b++, c >>= 1)
            reversed = reversed << 1 | (c & 1);
        code[i] = (uint16_t)reversed;
    }
}

/* The index of the last base that is at most x. */
static int symbol_of(const unsigned short *base, int n, unsigned x)
{
    int i = n - 1;
    while (base[i] > x)
        i--;
    return i;
}

/* The two codes of a block: lengths and codes of literals/lengths and of distances. */
typedef struct codes {
    unsigned char literal_length[288], distance_length[DISTANCES];
    uint16_t literal[288], distance[DISTANCES];
} codes;

/* How often each symbol stands in the block, END_OF_BLOCK included. */
static void count_symbols(const deflate *z, uint32_t literals[LITERALS], uint32_t distances[DISTANCES])
{
    memset(literals, 0, LITERALS * sizeof *literals);
    memset(distances, 0, DISTANCES * sizeof *distances);
    literals[END_OF_BLOCK] = 1;
    for (size_t i = 0; i < z->token_count; i++) {
        const uint32_t t = z->tokens[i];
        if (t >> 9) {
            literals[257 + symbol_of(length_base, 29, t & 511)]++;
            distances[symbol_of(distance_base, DISTANCES, t >> 9)]++;
        } else
            literals[t]++;
    }
}

/* Bits that the block's symbols take with these code lengths; the extra bits are the same for any. */
static size_t symbol_bits(const codes *c, const uint32_t *literals, const uint32_t *distances)
{
    size_t bits = 0;
    for (int i = 0; i < LITERALS; i++)
        bits += (size_t)literals[i] * c->literal_length[i];
    for (int i = 0; i < DISTANCES; i++)
        bits += (size_t)distances[i] * c->distance_length[i];
    return bits;
}

static void put_symbols(deflate *z, const codes *c)
{
    for (size_t i = 0; i < z->token_count; i++) {
        const uint32_t t = z->tokens[i];
        if (!(t >> 9)) {
            put_bits(z, c->literal[t], c->literal_length[t]);
            continue;
        }
        const int l = symbol_of(length_base, 29, t & 511), d = symbol_of(distance_base, DISTANCES, t >> 9);
        put_bits(z, c->literal[257 + l], c->literal_length[257 + l]);
        put_bits(z, (t & 511) - length_base[l], length_extra[l]);
        put_bits(z, c->distance[d], c->distance_length[d]);
        put_bits(z, (t >> 9) - distance_base[d], distance_extra[d]);
    }
    put_bits(z, c->literal[END_OF_BLOCK], c->literal_length[END_OF_BLOCK]);
}

/* The code lengths of a dynamic block as run-length symbols: 0..15 a length; 16 the last one 3..6 times; 17 and 18 zeros,
 * 3..10 and 11..138 of them. The count beyond the least stands in the upper byte. Returns how many symbols. */
static int run_lengths(const unsigned char *length, int n, uint16_t *symbol)
{
    int count = 0;
    for (int i = 0; i < n;) {
        int run = 1;
        while (i + run < n && length[i + run] == length[i])
            run++;
        if (length[i] == 0 && run >= 3) {
            run = run > 138 ? 138 : run;
            symbol[count++] = (uint16_t)(run >= 11 ? 18 | (run - 11) << 8 : 17 | (run - 3) << 8);
        } else if (i > 0 && length[i] == length[i - 1] && run >= 3) {
            run = run > 6 ? 6 : run;
            symbol[count++] = (uint16_t)(16 | (run - 3) << 8);
        } else {
            run = 1;
            symbol[count++] = length[i];
        }
        i += run;
    }
    return count;
}

/* The head of a dynamic block (RFC 1951 section 3.2.7); with z NULL only its length in bits. */
static size_t put_code_lengths(deflate *z, const codes *c)
{
    static const unsigned char extra[LENGTH_CODES] = { [16] = 2, [17] = 3, [18] = 7 };
    unsigned char all[LITERALS + DISTANCES], length[LENGTH_CODES];
    uint16_t symbol[LITERALS + DISTANCES], code[LENGTH_CODES];
    uint32_t count[LENGTH_CODES] = { 0 };
    int literals = LITERALS, distances = DISTANCES, lengths = LENGTH_CODES;
    while (literals > 257 && c->literal_length[literals - 1] == 0)
        literals--;
    while (distances > 1 && c->distance_length[distances - 1] == 0)
        distances--;
    memcpy(all, c->literal_length, (size_t)literals);
    memcpy(all + literals, c->distance_length, (size_t)distances);
    const int symbols = run_lengths(all, literals + distances, symbol);
    for (int i = 0; i < symbols; i++)
        count[symbol[i] & 255]++;
    huffman_lengths(count, LENGTH_CODES, 7, length);
    huffman_codes(length, LENGTH_CODES, code);
    while (lengths > 4 && length[length_order[lengths - 1]] == 0)
        lengths--;
    size_t bits = 14 + 3 * (size_t)lengths;
    for (int i = 0; i < symbols; i++)
        bits += (size_t)length[symbol[i] & 255] + extra[symbol[i] & 255];
    if (!z)
        return bits;
    put_bits(z, (uint32_t)(literals - 257), 5);
    put_bits(z, (uint32_t)(distances - 1), 5);
    put_bits(z, (uint32_t)(lengths - 4), 4);
    for (int i = 0; i < lengths; i++)
        put_bits(z, length[length_order[i]], 3);
    for (int i = 0; i < symbols; i++) {
        const int s = symbol[i] & 255;
        put_bits(z, code[s], length[s]);
        put_bits(z, symbol[i] >> 8, extra[s]);
    }
    return bits;
}

/* Writes the tokens as one block, with the fixed code or one of its own, whichever is shorter. */
static void end_block(deflate *z, bool last)
{
    codes fixed, own;
    uint32_t literals[LITERALS], distances[DISTANCES], l[LITERALS], d[DISTANCES];
    fixed_lengths(fixed.literal_length, fixed.distance_length);
    count_symbols(z, literals, distances);
    memcpy(l, literals, sizeof l);
    memcpy(d, distances, sizeof d);
    huffman_lengths(l, LITERALS, 15, own.literal_length);
    huffman_lengths(d, DISTANCES, 15, own.distance_length);
    const bool use_own = put_code_lengths(NULL, &own) + symbol_bits(&own, literals, distances) < symbol_bits(&fixed, literals, distances);
    codes *c = use_own ? &own : &fixed;
    put_bits(z, last, 1);
    put_bits(z, use_own ? 2 : 1, 2);
    if (use_own)
        put_code_lengths(z, &own);
    huffman_codes(c->literal_length, use_own ? LITERALS : 288, c->literal);
    huffman_codes(c->distance_length, DISTANCES, c->distance);
    put_symbols(z, c);
    z->token_count = 0;
}

static void put_token(deflate *z, uint32_t token)
{
    if (z->token_count == BLOCK_TOKENS)
        end_block(z, false);
    z->tokens[z->token_count++] = token;
}

static size_t hash3(const unsigned char *p) { return ((size_t)p[0] << 10 ^ (size_t)p[1] << 5 ^ p[2]) & (WINDOW - 1); }

/* Remembers that three bytes stand at i. */
static void remember(deflate *z, size_t i)
{
    if (i + MATCH_MIN > z->size)
        return;
    const size_t h = hash3(z->data + i);
    z->previous[i % WINDOW] = z->head[h];
    z->head[h] = (uint32_t)(i + 1);
}

/* The longest earlier run equal to the bytes at i, the nearest of the longest; its length, 0 for none. */
static size_t find_match(const deflate *z, size_t i, size_t *distance)
{
    const size_t most = z->size - i < MATCH_MAX ? z->size - i : MATCH_MAX;
    size_t best = 0, at;
    if (most < MATCH_MIN)
        return 0;
    at = z->head[hash3(z->data + i)];
    for (int chain = 0; chain < CHAIN && at > 0 && i - (at - 1) <= WINDOW && best < most; chain++) {
        const unsigned char *a = z->data + at - 1, *b = z->data + i;
        size_t n = 0;
        if (best == 0 || a[best] == b[best])
            while (n < most && a[n] == b[n])
                n++;
        if (n > best) {
            best = n;
            *distance = i - (at - 1);
        }
        const size_t before = z->previous[(at - 1) % WINDOW];
        if (before >= at)
            break; /* its slot has been used again: too far back */
        at = before;
    }
    return best < MATCH_MIN || (best == MATCH_MIN && *distance > 4096) ? 0 : best; /* a far short match costs more than bytes */
}

/* data as a zlib stream (RFC 1950); its length returned. out has room for deflate_bound(size) bytes. */
size_t compress_into(deflate *z, unsigned char *out, const unsigned char *data, size_t size)
{
    memset(z, 0, sizeof *z);
    z->data = data;
    z->size = size;
    z->out = out;
    put_bits(z, 0x9C78, 16); /* deflate, window 32 KiB; a multiple of 31 when read the other way round */
    size_t distance = 0, next_distance = 0, n = find_match(z, 0, &distance);
    for (size_t i = 0; i < size;) {
        remember(z, i);
        const size_t next = n < LAZY ? find_match(z, i + 1, &next_distance) : 0;
        if (n == 0 || next > n) {
            put_token(z, data[i++]);
            n = next;
            distance = next_distance;
            continue;
        }
        put_token(z, (uint32_t)(distance << 9 | n));
        for (size_t k = 1; k < n; k++)
            remember(z, i + k);
        i += n;
        n = find_match(z, i, &distance);
    }
    end_block(z, true);
    put_bits(z, 0, (8 - z->held) & 7);
    put_be32(z->out + z->n, adler32_of(data, size));
    return z->n + 4;
}

/* With the fixed code three bytes take at most 31 bits, a byte at most 9; a block adds less than 2 bytes. */
size_t compress_bound(size_t size) { return size + size / 3 + size / 4096 + 64; }

/* ---- inflate ---- */

/* Reads bits from in, writes bytes to out. bad is set at the first thing that RFC 1951 does not allow, at the end of the
 * input, and when out is full; from then on every bit read is 0 and nothing is written, so loops end. */
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

/* Builds h from n code lengths. false when they promise more codes than there are, or leave some unused (allowed only
 * for a single code of one bit, or for none at all: what encoders write for distances they do not need). */
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

static void inflate_fixed(inflate *z)
{
    unsigned char l[288], d[DISTANCES + 2];
    huffman literals, distances;
    fixed_lengths(l, d);
    d[30] = d[31] = 5; /* these two take part in the code but stand for nothing */
    huffman_open(&literals, l, 288);
    huffman_open(&distances, d, 32);
    inflate_symbols(z, &literals, &distances);
}

/* Reads n code lengths, which are themselves coded (run_lengths above writes them). */
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
        int run = s == 16 ? 3 + (int)get_bits(z, 2) : s == 17 ? 3 + (int)get_bits(z, 3) : 11 + (int)get_bits(z, 7);
        if (run > n - i)
            z->bad = true;
        for (; run > 0 && !z->bad; run--)
            length[i++] = value;
    }
}

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
    if (z->bad || !length[END_OF_BLOCK] || !huffman_open(&literals, length, nl) || !huffman_open(&distances, length + nl, nd)) {
        z->bad = true;
        return;
    }
    inflate_symbols(z, &literals, &distances);
}

/* The zlib stream in[0..in_size) into exactly out_size bytes; false when it is not that. */
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
    return !z.bad && z.out_at == out_size && in_size - z.in_at >= 4 && get_be32(in + z.in_at) == adler32_of(out, out_size);
}
