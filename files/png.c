/* png.c: pictures: PNG written and read, with deflate and inflate of our own.
 *
 *   pixels --filter a row--> --LZ77, Huffman--> zlib stream --chunks--> file          and the same way back
 *
 * Not here: what a picture's texts say (saeuron.c), hashes of pixels (saeuron.c, digest).
 * Source: PNG (W3C Recommendation, third edition), RFC 1950 (zlib), RFC 1951 (deflate).
 * The same pixels and texts give the same bytes on every machine: only integers, no choice left to the surroundings. */
#include "files/png.h"
#include "arithmetic/memory.h"
#include "files/system.h"
#include "files/utf8.h"

#include <inttypes.h>
#include <string.h>

#define SIDE_MAX 32768u /* pixels; no model here draws more, and every product below fits 64 bits */

static const unsigned char signature[8] = { 0x89, 'P', 'N', 'G', '\r', '\n', 0x1A, '\n' };

static uint32_t get_be32(const unsigned char *p) { return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3]; }

static void put_be32(unsigned char *p, uint32_t x)
{
    for (int i = 0; i < 4; i++)
        p[i] = (unsigned char)(x >> (24 - 8 * i) & 0xFF);
}

/* ---- checksums ---- */

/* CRC-32 of PNG, section 5.5 and annex D: x^32 + x^26 + ... + 1 reversed, four bits at a time. Start with crc = 0. */
static uint32_t crc32_of(uint32_t crc, const unsigned char *p, size_t n)
{
    static const uint32_t table[16] = {
        0x00000000, 0x1DB71064, 0x3B6E20C8, 0x26D930AC, 0x76DC4190, 0x6B6B51F4, 0x4DB26158, 0x5005713C,
        0xEDB88320, 0xF00F9344, 0xD6D6A3E8, 0xCB61B38C, 0x9B64C2B0, 0x86D3D2D4, 0xA00AE278, 0xBDBDF21C,
    };
    crc = ~crc;
    for (size_t i = 0; i < n; i++) {
        crc ^= p[i];
        crc = crc >> 4 ^ table[crc & 15];
        crc = crc >> 4 ^ table[crc & 15];
    }
    return ~crc;
}

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

enum { END_OF_BLOCK = 256, LITERALS = 286, DISTANCES = 30, LENGTH_CODES = 19, WINDOW = 32768, MATCH_MIN = 3, MATCH_MAX = 258 };

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

#define BLOCK_TOKENS 16384
#define CHAIN 128       /* earlier places looked at for each match */
#define LAZY 64         /* a match as long as this is taken without looking one byte further */

typedef struct deflate {
    const unsigned char *data;
    size_t    size;
    uint32_t  head[WINDOW];         /* by hash of three bytes: 1 + the last place they stood at, 0: none */
    uint32_t  previous[WINDOW];     /* by place modulo WINDOW: 1 + the place before it with the same hash */
    uint32_t  tokens[BLOCK_TOKENS]; /* a byte, or distance << 9 | length */
    size_t    token_count;
    unsigned char *out;             /* bits from the lowest up */
    size_t    n;
    uint64_t  hold;
    int       held;
} deflate;

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
static size_t compress_into(deflate *z, unsigned char *out, const unsigned char *data, size_t size)
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
static size_t compress_bound(size_t size) { return size + size / 3 + size / 4096 + 64; }

/* ---- filters (PNG section 9) ---- */

/* What filter type expects at a byte whose neighbours left, above and above left are a, b and c. */
static int predict(int type, int a, int b, int c)
{
    const int p = a + b - c, pa = p > a ? p - a : a - p, pb = p > b ? p - b : b - p, pc = p > c ? p - c : c - p;
    switch (type) {
    case 1: return a;
    case 2: return b;
    case 3: return (a + b) / 2;
    case 4: return pa <= pb && pa <= pc ? a : pb <= pc ? b : c; /* Paeth */
    default: return 0;
    }
}

/* One row of n bytes, filtered: out[0] the type, out[1..n] the differences. above NULL: zeros. Returns their sum of
 * absolute values as signed bytes. */
static size_t filter_row(unsigned char *out, int type, const unsigned char *row, const unsigned char *above, size_t n)
{
    size_t sum = 0;
    out[0] = (unsigned char)type;
    for (size_t i = 0; i < n; i++) {
        const int a = i >= 3 ? row[i - 3] : 0, b = above ? above[i] : 0, c = i >= 3 && above ? above[i - 3] : 0;
        const unsigned d = (unsigned)(row[i] - predict(type, a, b, c)) & 255;
        out[i + 1] = (unsigned char)d;
        sum += d < 128 ? d : 256 - d;
    }
    return sum;
}

/* Every row with the filter of the least sum, the lower type of two: the usual guess at what compresses best. */
static void filter_picture(unsigned char *out, const unsigned char *rgb, size_t W, size_t H)
{
    const size_t n = 3 * W;
    for (size_t y = 0; y < H; y++, out += n + 1, rgb += n) {
        const unsigned char *above = y ? rgb - n : NULL;
        size_t least = SIZE_MAX;
        int best = 0;
        for (int type = 0; type < 5; type++) {
            const size_t sum = filter_row(out, type, rgb, above, n);
            if (sum < least) {
                least = sum;
                best = type;
            }
        }
        filter_row(out, best, rgb, above, n);
    }
}

/* ---- writing ---- */

static int put_chunk(io_out *o, const char *type, const unsigned char *data, size_t n, saeuron_error *err)
{
    unsigned char head[8], tail[4];
    put_be32(head, (uint32_t)n);
    memcpy(head + 4, type, 4);
    put_be32(tail, crc32_of(crc32_of(0, head + 4, 4), data, n));
    int code = io_out_write(o, head, 8, err);
    if (!code)
        code = io_out_write(o, data, n, err);
    return code ? code : io_out_write(o, tail, 4, err);
}

/* A text chunk: tEXt for ASCII, else iTXt, which is UTF-8     (PNG section 11.3.3) */
static int put_text_chunk(const saeuron_host *host, io_out *o, const char *keyword, const char *value, saeuron_error *err)
{
    const size_t k = strlen(keyword), n = strlen(value);
    bool ascii = true;
    uint32_t c;
    for (size_t at = 0, used; at < n; at += used) {
        used = io_utf8(value + at, n - at, &c);
        if (used == 0)
            return fail(err, SAEURON_EUSAGE, "%s: the text \"%s\" is not UTF-8", o->path, keyword);
        ascii = ascii && used == 1;
    }
    if (k == 0 || k > 79 || n > 1 << 30)
        return fail(err, SAEURON_EUSAGE, "%s: a keyword must have 1 to 79 bytes, \"%s\" has %zu", o->path, keyword, k);
    const size_t gap = ascii ? 1 : 5; /* NUL; or NUL, not compressed, method 0, no language, no translation */
    unsigned char *chunk = io_alloc(host, k + gap + n, 1);
    if (!chunk)
        return fail(err, SAEURON_ENOMEM, "%s: not enough memory for its texts", o->path);
    memcpy(chunk, keyword, k);
    memset(chunk + k, 0, gap);
    memcpy(chunk + k + gap, value, n);
    const int code = put_chunk(o, ascii ? "tEXt" : "iTXt", chunk, k + gap + n, err);
    io_free(host, chunk);
    return code;
}

/* All chunks; zlib [n] is the compressed picture. */
static int put_chunks(const saeuron_host *host, io_out *o, const unsigned char *zlib, size_t n, size_t W, size_t H, const char *const *texts, saeuron_error *err)
{
    unsigned char header[13] = { 0 };
    const size_t piece = (size_t)1 << 30; /* a chunk may have 2^31 - 1 bytes */
    put_be32(header, (uint32_t)W);
    put_be32(header + 4, (uint32_t)H);
    header[8] = 8; /* bits a sample */
    header[9] = 2; /* RGB; compression, filter and interlace methods 0 */
    int code = io_out_write(o, signature, 8, err);
    if (!code)
        code = put_chunk(o, "IHDR", header, 13, err);
    for (; texts && texts[0] && !code; texts += 2)
        code = put_text_chunk(host, o, texts[0], texts[1], err);
    for (size_t at = 0; at < n && !code; at += piece)
        code = put_chunk(o, "IDAT", zlib + at, n - at < piece ? n - at : piece, err);
    return code ? code : put_chunk(o, "IEND", header, 0, err);
}

int png_save(const saeuron_host *host, const char *path, const unsigned char *rgb, size_t W, size_t H, const char *const *texts, saeuron_error *err)
{
    io_out o;
    if (W == 0 || H == 0 || W > SIDE_MAX || H > SIDE_MAX || (uint64_t)W * H > SIZE_MAX / 8)
        return fail(err, SAEURON_EUSAGE, "%s: a picture of %zu x %zu pixels cannot be written: 1 to %u each way", path, W, H, SIDE_MAX);
    const size_t raw_size = H * (3 * W + 1);
    unsigned char *raw = io_alloc(host, raw_size, 1), *zlib = io_alloc(host, compress_bound(raw_size), 1);
    deflate *z = io_alloc(host, 1, sizeof *z);
    int code = raw && zlib && z ? SAEURON_OK : fail(err, SAEURON_ENOMEM, "%s: not enough memory to compress the picture", path);
    if (!code) {
        filter_picture(raw, rgb, W, H);
        const size_t n = compress_into(z, zlib, raw, raw_size);
        code = io_out_open(&o, path, err);
        if (!code)
            code = put_chunks(host, &o, zlib, n, W, H, texts, err);
        if (!code)
            code = io_out_commit(&o, err);
        if (code)
            io_out_abort(&o);
    }
    io_free(host, z);
    io_free(host, zlib);
    io_free(host, raw);
    return code;
}

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
static bool inflate_zlib(unsigned char *out, size_t out_size, const unsigned char *in, size_t in_size)
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

/* ---- reading ---- */

/* One chunk, its bytes where the file lies. */
typedef struct chunk { const unsigned char *type, *data; size_t size; } chunk;

/* The chunk at *at, which moves past it. Checks its length against the file's end, and its CRC. */
static int next_chunk(const io_file *f, size_t *at, chunk *c, saeuron_error *err)
{
    const size_t left = f->size - *at;
    if (left < 12 || get_be32(f->data + *at) > left - 12)
        return fail(err, SAEURON_EFORMAT, "%s: ends inside a chunk: it was cut short, fetch it again", f->path);
    c->size = get_be32(f->data + *at);
    c->type = f->data + *at + 4;
    c->data = c->type + 4;
    *at += 12 + c->size;
    if (crc32_of(0, c->type, c->size + 4) != get_be32(c->data + c->size))
        return fail(err, SAEURON_EFORMAT, "%s: the checksum of chunk %.4s is wrong: it is damaged, fetch it again", f->path, (const char *)c->type);
    return SAEURON_OK;
}

static bool chunk_is(const chunk *c, const char *type) { return !memcmp(c->type, type, 4); }

static int check_signature(const io_file *f, saeuron_error *err)
{
    if (f->size < 8 || memcmp(f->data, signature, 8) != 0)
        return fail(err, SAEURON_EFORMAT, "%s: is no PNG file: convert it", f->path);
    return SAEURON_OK;
}

/* What the chunks say about a picture, and its compressed bytes in one piece. */
typedef struct picture {
    size_t W, H;
    int    bits, colour, channels;
    unsigned char palette[256][4];      /* RGBA */
    int    palette_size;
    int    key[3];                      /* a transparent colour of a picture without alpha; -1: none */
    unsigned char *zlib;
    size_t zlib_size;
    bool   has_data;
} picture;

static int read_header(picture *p, const chunk *c, const char *path, saeuron_error *err)
{
    static const signed char channels[7] = { 1, -1, 3, 1, 2, -1, 4 };
    if (!chunk_is(c, "IHDR") || c->size != 13)
        return fail(err, SAEURON_EFORMAT, "%s: does not begin with an IHDR chunk: it is damaged, fetch it again", path);
    const uint32_t W = get_be32(c->data), H = get_be32(c->data + 4);
    p->bits = c->data[8];
    p->colour = c->data[9];
    if (W == 0 || H == 0 || W > SIDE_MAX || H > SIDE_MAX)
        return fail(err, SAEURON_EFORMAT, "%s: %" PRIu32 " x %" PRIu32 " pixels: 1 to %u each way can be read", path, W, H, SIDE_MAX);
    if (p->bits == 16)
        return fail(err, SAEURON_EFORMAT, "%s: has 16 bits a sample: convert it to 8", path);
    if (c->data[12] == 1)
        return fail(err, SAEURON_EFORMAT, "%s: is interlaced: save it without interlacing", path);
    const bool known = p->colour < 7 && channels[p->colour] > 0;
    const bool small = p->bits == 1 || p->bits == 2 || p->bits == 4;
    if (!known || !(p->bits == 8 || (small && (p->colour == 0 || p->colour == 3))) || c->data[10] || c->data[11] || c->data[12])
        return fail(err, SAEURON_EFORMAT, "%s: colour type %d with %d bits, methods %d %d %d: no such PNG exists", path, p->colour, p->bits,
                    c->data[10], c->data[11], c->data[12]);
    p->W = W;
    p->H = H;
    p->channels = channels[p->colour];
    return SAEURON_OK;
}

static int read_palette(picture *p, const chunk *c, const char *path, saeuron_error *err)
{
    if (c->size == 0 || c->size % 3 || c->size > 768 || p->has_data || p->palette_size)
        return fail(err, SAEURON_EFORMAT, "%s: its palette is damaged: fetch it again", path);
    p->palette_size = (int)(c->size / 3);
    for (int i = 0; i < 256; i++) {
        if (i < p->palette_size)
            memcpy(p->palette[i], c->data + 3 * i, 3);
        p->palette[i][3] = 255;
    }
    return SAEURON_OK;
}

/* tRNS: an alpha for each palette entry, or one transparent colour. */
static int read_transparency(picture *p, const chunk *c, const char *path, saeuron_error *err)
{
    const size_t expect = p->colour == 0 ? 2 : p->colour == 2 ? 6 : 0;
    if (p->colour == 3 && c->size <= (size_t)p->palette_size && !p->has_data)
        for (size_t i = 0; i < c->size; i++)
            p->palette[i][3] = c->data[i];
    else if (expect && c->size == expect && !p->has_data)
        for (size_t i = 0; i < 3; i++)
            p->key[i] = c->data[(2 * i) % expect] << 8 | c->data[(2 * i) % expect + 1];
    else
        return fail(err, SAEURON_EFORMAT, "%s: its tRNS chunk is damaged: fetch it again", path);
    return SAEURON_OK;
}

/* Walks all chunks; compressed bytes are appended to p->zlib, which has room for the whole file. */
static int read_chunks(picture *p, const io_file *f, saeuron_error *err)
{
    chunk c;
    size_t at = 8;
    bool data_ended = false;
    int code = next_chunk(f, &at, &c, err);
    if (!code)
        code = read_header(p, &c, f->path, err);
    while (!code && (code = next_chunk(f, &at, &c, err)) == SAEURON_OK && !chunk_is(&c, "IEND")) {
        const bool data = chunk_is(&c, "IDAT");
        data_ended |= p->has_data && !data;
        if (data && !data_ended) {
            memcpy(p->zlib + p->zlib_size, c.data, c.size);
            p->zlib_size += c.size;
            p->has_data = true;
        } else if (chunk_is(&c, "PLTE"))
            code = read_palette(p, &c, f->path, err);
        else if (chunk_is(&c, "tRNS"))
            code = read_transparency(p, &c, f->path, err);
        else if (!(c.type[0] & 32)) /* a capital: whoever does not know this chunk cannot show the picture */
            code = fail(err, SAEURON_EFORMAT, "%s: has a chunk %.4s out of place or unknown: convert it", f->path, (const char *)c.type);
    }
    if (!code && p->colour == 3 && !p->palette_size)
        code = fail(err, SAEURON_EFORMAT, "%s: its palette is missing: fetch it again", f->path);
    return code;
}

/* Takes the filters off, in place: rows of 1 + n bytes; bpp bytes a pixel, at least 1. false for an unknown filter. */
static bool unfilter(unsigned char *raw, size_t rows, size_t n, size_t bpp)
{
    for (size_t y = 0; y < rows; y++, raw += n + 1) {
        unsigned char *row = raw + 1;
        const unsigned char *above = y ? row - n - 1 : NULL;
        if (raw[0] > 4)
            return false;
        for (size_t i = 0; i < n; i++) {
            const int a = i >= bpp ? row[i - bpp] : 0, b = above ? above[i] : 0, c = i >= bpp && above ? above[i - bpp] : 0;
            row[i] = (unsigned char)(row[i] + predict(raw[0], a, b, c));
        }
    }
    return true;
}

/* Sample x of a row, of bits bits. */
static int sample(const unsigned char *row, size_t x, int bits)
{
    const size_t bit = x * (size_t)bits;
    return row[bit / 8] >> (8 - bits - (int)(bit % 8)) & ((1 << bits) - 1);
}

/* Pixel x of an unfiltered row as RGBA. A palette index beyond the palette is black, as the standard suggests. */
static void read_pixel(const picture *p, const unsigned char *row, size_t x, int rgba[4])
{
    const int first = sample(row, x * (size_t)p->channels, p->bits), most = (1 << p->bits) - 1;
    rgba[3] = 255;
    if (p->colour == 3) {
        for (int i = 0; i < 4; i++)
            rgba[i] = p->palette[first][i];
        return;
    }
    for (size_t i = 0; i < 3; i++)
        rgba[i] = p->channels >= 3 ? row[x * (size_t)p->channels + i] : first;
    if (p->channels % 2 == 0)
        rgba[3] = row[(x + 1) * (size_t)p->channels - 1];
    else if (rgba[0] == p->key[0] && rgba[1] == p->key[1] && rgba[2] == p->key[2])
        rgba[3] = 0;
    for (int i = 0; i < 3; i++)
        rgba[i] = rgba[i] * 255 / most;
}

/* The decompressed rows as RGB over white. */
static void to_rgb(const picture *p, const unsigned char *raw, size_t row_bytes, unsigned char *rgb)
{
    int rgba[4];
    for (size_t y = 0; y < p->H; y++, raw += row_bytes + 1)
        for (size_t x = 0; x < p->W; x++) {
            read_pixel(p, raw + 1, x, rgba);
            for (int i = 0; i < 3; i++)
                *rgb++ = (unsigned char)((rgba[i] * rgba[3] + 255 * (255 - rgba[3]) + 127) / 255);
        }
}

/* The pixels of a picture whose chunks were read. */
static int decode(const picture *p, const saeuron_host *host, const char *path, unsigned char **rgb, saeuron_error *err)
{
    const size_t row_bits = p->W * (size_t)p->channels * (size_t)p->bits, row_bytes = (row_bits + 7) / 8, bpp = ((size_t)p->channels * (size_t)p->bits + 7) / 8;
    size_t raw_size, rgb_size;
    if (!nn_mul(p->H, row_bytes + 1, &raw_size) || !nn_mul(p->H, 3 * p->W, &rgb_size) || raw_size / 1032 > p->zlib_size)
        return fail(err, SAEURON_EFORMAT, "%s: %zu compressed bytes cannot hold %zu x %zu pixels: it is damaged, fetch it again", path, p->zlib_size, p->W, p->H);
    int code = SAEURON_OK;
    unsigned char *raw = io_alloc(host, raw_size, 1), *out = io_alloc(host, rgb_size, 1);
    if (!raw || !out)
        code = fail(err, SAEURON_ENOMEM, "%s: not enough memory for its pixels", path);
    else if (!inflate_zlib(raw, raw_size, p->zlib, p->zlib_size) || !unfilter(raw, p->H, row_bytes, bpp))
        code = fail(err, SAEURON_EFORMAT, "%s: its compressed pixels are damaged: fetch it again", path);
    else
        to_rgb(p, raw, row_bytes, out);
    io_free(host, raw);
    if (code)
        io_free(host, out);
    else
        *rgb = out;
    return code;
}

int png_load(const saeuron_host *host, const char *path, unsigned char **rgb, size_t *W, size_t *H, saeuron_error *err)
{
    io_file f;
    picture p = { .key = { -1, -1, -1 } };
    *rgb = NULL;
    int code = io_open(&f, host, path, err);
    if (code)
        return code;
    code = check_signature(&f, err);
    if (!code && !(p.zlib = io_alloc(host, f.size, 1)))
        code = fail(err, SAEURON_ENOMEM, "%s: not enough memory for its bytes", path);
    if (!code)
        code = read_chunks(&p, &f, err);
    if (!code)
        code = decode(&p, host, path, rgb, err);
    *W = p.W;
    *H = p.H;
    io_free(host, p.zlib);
    io_close(&f);
    return code;
}

/* The value of a tEXt or iTXt chunk after its keyword, as UTF-8 into out. latin1: every byte is a character. */
static int copy_text(const unsigned char *value, size_t n, bool latin1, char *out, size_t size, const char *path, saeuron_error *err)
{
    size_t used = 0, step;
    uint32_t c;
    for (size_t at = 0; at < n; at += step) {
        char bytes[4];
        c = value[at];
        step = latin1 ? 1 : io_utf8((const char *)value + at, n - at, &c);
        if (step == 0 || c == 0)
            return fail(err, SAEURON_EFORMAT, "%s: one of its texts is damaged", path);
        const size_t k = io_utf8_put(bytes, c);
        if (k >= size - used)
            return fail(err, SAEURON_EUSAGE, "%s: one of its texts is longer than %zu bytes", path, size - 1);
        memcpy(out + used, bytes, k);
        used += k;
    }
    out[used] = 0;
    return SAEURON_OK;
}

/* Where the text of an iTXt chunk begins after its keyword: flag, method, language NUL, translation NUL. 0 when damaged
 * or compressed. */
static size_t itxt_start(const unsigned char *p, size_t n)
{
    const unsigned char *language = n >= 2 && p[0] == 0 ? memchr(p + 2, 0, n - 2) : NULL;
    const unsigned char *translation = language ? memchr(language + 1, 0, n - (size_t)(language + 1 - p)) : NULL;
    return translation ? (size_t)(translation + 1 - p) : 0;
}

int png_text(const saeuron_host *host, const char *path, const char *keyword, char *out, size_t size, saeuron_error *err)
{
    io_file f;
    chunk c;
    size_t at = 8;
    const size_t k = strlen(keyword) + 1;
    bool found = false;
    if (size == 0)
        return fail(err, SAEURON_EUSAGE, "%s: no room for its text", path);
    out[0] = 0;
    int code = io_open(&f, host, path, err);
    if (code)
        return code;
    code = check_signature(&f, err);
    while (!code && !found && (code = next_chunk(&f, &at, &c, err)) == SAEURON_OK && !chunk_is(&c, "IEND")) {
        const bool latin1 = chunk_is(&c, "tEXt");
        if ((!latin1 && !chunk_is(&c, "iTXt")) || c.size < k || memcmp(c.data, keyword, k) != 0)
            continue;
        const size_t start = latin1 ? 0 : itxt_start(c.data + k, c.size - k);
        found = true;
        if (!latin1 && start == 0)
            code = fail(err, SAEURON_EFORMAT, "%s: its text \"%s\" is compressed or damaged", path, keyword);
        else
            code = copy_text(c.data + k + start, c.size - k - start, latin1, out, size, path, err);
    }
    if (!code && !found)
        code = fail(err, SAEURON_ENOENT, "%s: has no text called %s", path, keyword);
    io_close(&f);
    return code;
}
