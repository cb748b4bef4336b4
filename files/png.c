/* png.c: pictures: PNG written and read.
 *
 *   pixels --rows--> bytes --deflate.c--> zlib stream --chunks--> file             and the same way back
 *
 * Not here: what a picture's texts say (evaluation/picture.c), hashes of pixels (program/command_info.c).
 * Source: PNG (W3C Recommendation, third edition).
 * The same pixels and texts give the same bytes on every machine. */
#include "files/png.h"
#include "files/bytes.h"
#include "files/deflate.h"
#include "files/utf8.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define SIDE_MAX 8192u /* pixels; no model here draws or encodes more, and every product below fits 64 bits */

static const unsigned char signature[8] = { 0x89, 'P', 'N', 'G', '\r', '\n', 0x1A, '\n' };

/* ---- checksums ---- */

/* CRC-32 of PNG, section 5.5 and annex D: x^32 + x^26 + ... + 1 reversed, four bits at a time. Start with crc
 * = 0. */
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
static int put_text_chunk(const saeuron_host *host, io_out *o, const char *keyword, const char *value,
                          saeuron_error *err)
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
        return fail(err, SAEURON_EUSAGE, "%s: a keyword must have 1 to 79 bytes, \"%s\" has %zu",
                    o->path, keyword, k);
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

/* All chunks; zlib [n] is the picture's stream. */
static int put_chunks(const saeuron_host *host, io_out *o, const unsigned char *zlib, size_t n, size_t W,
                      size_t H, const char *const *texts, saeuron_error *err)
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

int png_save(const saeuron_host *host, const char *path, const unsigned char *rgb, size_t W, size_t H,
             const char *const *texts, saeuron_error *err)
{
    io_out o;
    if (W == 0 || H == 0 || W > SIDE_MAX || H > SIDE_MAX || (uint64_t)W * H > SIZE_MAX / 8)
        return fail(err, SAEURON_EUSAGE,
                    "%s: a picture of %zu x %zu pixels cannot be written: 1 to %u each way",
                    path, W, H, SIDE_MAX);
    int code = SAEURON_OK;
    const size_t row = 3 * W, raw_size = H * (row + 1);
    unsigned char *raw = io_alloc(host, raw_size, 1);
    unsigned char *zlib = io_alloc(host, deflate_stored_size(raw_size), 1);
    if (!raw || !zlib)
        code = fail(err, SAEURON_ENOMEM, "%s: not enough memory to write the picture", path);
    if (!code) {
        for (size_t y = 0; y < H; y++) {
            raw[y * (row + 1)] = 0; /* filter 0: the bytes as they are */
            memcpy(raw + y * (row + 1) + 1, rgb + y * row, row);
        }
        code = io_out_open(&o, path, err);
        if (!code)
            code = put_chunks(host, &o, zlib, deflate_stored(zlib, raw, raw_size), W, H, texts, err);
        if (!code)
            code = io_out_commit(&o, err);
        if (code)
            io_out_abort(&o);
    }
    io_free(host, zlib);
    io_free(host, raw);
    return code;
}

/* ---- reading: the chunks ---- */

/* One chunk, its bytes where the file lies. */
typedef struct chunk { const unsigned char *type, *data; size_t size; } chunk;

/* The chunk at *at, which moves past it; false when it does not lie within the file. */
static bool next_chunk(const io_file *f, size_t *at, chunk *c)
{
    const size_t left = f->size - *at;
    if (left < 12 || get_be32(f->data + *at) > left - 12)
        return false;
    c->size = get_be32(f->data + *at);
    c->type = f->data + *at + 4;
    c->data = c->type + 4;
    *at += 12 + c->size;
    return true;
}

/* The same, its length and its CRC checked. */
static int check_chunk(const io_file *f, size_t *at, chunk *c, saeuron_error *err)
{
    if (!next_chunk(f, at, c))
        return fail(err, SAEURON_EFORMAT, "%s: ends inside a chunk: it was cut short, fetch it again",
                    f->path);
    if (crc32_of(0, c->type, c->size + 4) != get_be32(c->data + c->size))
        return fail(err, SAEURON_EFORMAT,
                    "%s: the checksum of chunk %.4s is wrong: it is damaged, fetch it again",
                    f->path, (const char *)c->type);
    return SAEURON_OK;
}

static bool chunk_is(const chunk *c, const char *type) { return !memcmp(c->type, type, 4); }

static int check_signature(const io_file *f, saeuron_error *err)
{
    if (f->size < 8 || memcmp(f->data, signature, 8) != 0)
        return fail(err, SAEURON_EFORMAT, "%s: is no PNG file: convert it", f->path);
    return SAEURON_OK;
}

static int read_header(png_file *p, const chunk *c, saeuron_error *err)
{
    static const signed char channels[7] = { 1, -1, 3, 1, 2, -1, 4 };
    const char *path = p->f.path;
    if (!chunk_is(c, "IHDR") || c->size != 13)
        return fail(err, SAEURON_EFORMAT,
                    "%s: does not begin with an IHDR chunk: it is damaged, fetch it again", path);
    const uint32_t W = get_be32(c->data), H = get_be32(c->data + 4);
    p->bits = c->data[8];
    p->colour = c->data[9];
    if (W == 0 || H == 0 || W > SIDE_MAX || H > SIDE_MAX)
        return fail(err, SAEURON_EFORMAT,
                    "%s: %" PRIu32 " x %" PRIu32 " pixels, but 1 to %u each way are read: crop or scale it",
                    path, W, H, SIDE_MAX);
    if (p->bits == 16)
        return fail(err, SAEURON_EFORMAT, "%s: has 16 bits a sample: convert it to 8", path);
    if (c->data[12] == 1)
        return fail(err, SAEURON_EFORMAT, "%s: is interlaced: save it without interlacing", path);
    const bool known = p->colour < 7 && channels[p->colour] > 0;
    const bool small = (p->bits == 1 || p->bits == 2 || p->bits == 4) && (p->colour == 0 || p->colour == 3);
    if (!known || (p->bits != 8 && !small) || c->data[10] || c->data[11] || c->data[12])
        return fail(err, SAEURON_EFORMAT,
                    "%s: colour type %d with %d bits, methods %d %d %d, which no PNG has: fetch it again",
                    path, p->colour, p->bits, c->data[10], c->data[11], c->data[12]);
    p->W = W;
    p->H = H;
    p->channels = channels[p->colour];
    return SAEURON_OK;
}

static int read_palette(png_file *p, const chunk *c, saeuron_error *err)
{
    if (c->size == 0 || c->size % 3 || c->size > 768 || p->packed || p->palette_size)
        return fail(err, SAEURON_EFORMAT, "%s: its palette is damaged: fetch it again", p->f.path);
    p->palette_size = (int)(c->size / 3);
    for (int i = 0; i < 256; i++) {
        if (i < p->palette_size)
            memcpy(p->palette[i], c->data + 3 * i, 3);
        p->palette[i][3] = 255;
    }
    return SAEURON_OK;
}

/* tRNS: an alpha for each palette entry, or one transparent colour, of which the lowest bits count (PNG,
 * third edition, 11.3.1.1). */
static int read_transparency(png_file *p, const chunk *c, saeuron_error *err)
{
    const size_t expect = p->colour == 0 ? 2 : p->colour == 2 ? 6 : 0;
    if (p->colour == 3 && c->size <= (size_t)p->palette_size && !p->packed)
        for (size_t i = 0; i < c->size; i++)
            p->palette[i][3] = c->data[i];
    else if (expect && c->size == expect && !p->packed)
        for (size_t i = 0; i < 3; i++)
            p->key[i] = c->data[(2 * i) % expect + 1] & ((1 << p->bits) - 1);
    else
        return fail(err, SAEURON_EFORMAT, "%s: its tRNS chunk is damaged: fetch it again", p->f.path);
    return SAEURON_OK;
}

/* Bytes of a row without its filter. */
static size_t row_bytes(const png_file *p)
{
    return (p->W * (size_t)p->channels * (size_t)p->bits + 7) / 8;
}

/* Walks all chunks. The compressed bytes are only counted: they must be enough for so many pixels. */
static int check_chunks(png_file *p, saeuron_error *err)
{
    const size_t longest = 1032; /* bytes that a byte can stand for */
    chunk c;
    size_t at = 8;
    bool data_ended = false;
    int code = check_chunk(&p->f, &at, &c, err);
    if (!code)
        code = read_header(p, &c, err);
    while (!code && (code = check_chunk(&p->f, &at, &c, err)) == SAEURON_OK && !chunk_is(&c, "IEND")) {
        const bool data = chunk_is(&c, "IDAT");
        data_ended |= p->packed && !data;
        if (data && !data_ended)
            p->packed += c.size;
        else if (chunk_is(&c, "PLTE"))
            code = read_palette(p, &c, err);
        else if (chunk_is(&c, "tRNS"))
            code = read_transparency(p, &c, err);
        else if (!(c.type[0] & 32)) /* a capital letter: without this chunk the picture cannot be shown */
            code = fail(err, SAEURON_EFORMAT, "%s: has a chunk %.4s out of place or unknown: convert it",
                        p->f.path, (const char *)c.type);
    }
    if (!code && p->colour == 3 && !p->palette_size)
        code = fail(err, SAEURON_EFORMAT, "%s: its palette is missing: fetch it again", p->f.path);
    if (!code && (!p->packed || p->H * (row_bytes(p) + 1) / longest > p->packed))
        code = fail(err, SAEURON_EFORMAT,
                    "%s: %zu compressed bytes cannot hold %zu x %zu pixels: it is damaged, fetch it again",
                    p->f.path, p->packed, p->W, p->H);
    return code;
}

int png_open(png_file *p, const saeuron_host *host, const char *path, saeuron_error *err)
{
    *p = (png_file){ .key = { -1, -1, -1 } };
    int code = io_open(&p->f, host, path, err);
    if (!code)
        code = check_signature(&p->f, err);
    if (!code)
        code = check_chunks(p, err);
    if (code)
        png_close(p);
    return code;
}

void png_close(png_file *p) { io_close(&p->f); }

/* ---- reading: the pixels ---- */

/* What filter type expects at a byte whose neighbours left, above and above left are a, b and c. */
static int predict(int type, int a, int b, int c)
{
    const int p = a + b - c, pa = abs(p - a), pb = abs(p - b), pc = abs(p - c);
    switch (type) {
    case 1: return a;
    case 2: return b;
    case 3: return (a + b) / 2;
    case 4: return pa <= pb && pa <= pc ? a : pb <= pc ? b : c; /* Paeth */
    default: return 0;
    }
}

/* Takes the filters off in place (PNG section 9). Rows have 1 + n bytes, pixels bpp bytes, at least 1.
 * false for an unknown filter. */
static bool unfilter(unsigned char *raw, size_t rows, size_t n, size_t bpp)
{
    for (size_t y = 0; y < rows; y++, raw += n + 1) {
        unsigned char *row = raw + 1;
        const unsigned char *above = y ? row - n - 1 : NULL;
        if (raw[0] > 4)
            return false;
        for (size_t i = 0; i < n; i++) {
            const int a = i >= bpp ? row[i - bpp] : 0, b = above ? above[i] : 0;
            const int c = i >= bpp && above ? above[i - bpp] : 0;
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

/* Pixel x of an unfiltered row as RGBA. An index beyond the palette is black, as the standard suggests. */
static void read_pixel(const png_file *p, const unsigned char *row, size_t x, int rgba[4])
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
static void to_rgb(const png_file *p, const unsigned char *raw, unsigned char *rgb)
{
    int rgba[4];
    for (size_t y = 0; y < p->H; y++, raw += row_bytes(p) + 1)
        for (size_t x = 0; x < p->W; x++) {
            read_pixel(p, raw + 1, x, rgba);
            for (int i = 0; i < 3; i++)
                *rgb++ = (unsigned char)((rgba[i] * rgba[3] + 255 * (255 - rgba[3]) + 127) / 255);
        }
}

/* The compressed bytes in one piece, into zlib [packed]. */
static void join_data(const png_file *p, unsigned char *zlib)
{
    chunk c;
    for (size_t at = 8, n = 0; n < p->packed && next_chunk(&p->f, &at, &c);)
        if (chunk_is(&c, "IDAT") && c.size <= p->packed - n) {
            memcpy(zlib + n, c.data, c.size);
            n += c.size;
        }
}

int png_pixels(const png_file *p, unsigned char **rgb, saeuron_error *err)
{
    const saeuron_host *host = p->f.host;
    const size_t raw_size = p->H * (row_bytes(p) + 1), bits = (size_t)p->channels * (size_t)p->bits;
    unsigned char *zlib = io_alloc(host, p->packed, 1), *raw = io_alloc(host, raw_size, 1);
    unsigned char *out = io_alloc(host, p->H, 3 * p->W);
    int code = SAEURON_OK;
    *rgb = NULL;
    if (!zlib || !raw || !out)
        code = fail(err, SAEURON_ENOMEM, "%s: not enough memory for its pixels", p->f.path);
    else
        join_data(p, zlib);
    if (!code && (!inflate_zlib(raw, raw_size, zlib, p->packed) ||
                  !unfilter(raw, p->H, row_bytes(p), (bits + 7) / 8)))
        code = fail(err, SAEURON_EFORMAT, "%s: its compressed pixels are damaged: fetch it again", p->f.path);
    if (!code) {
        to_rgb(p, raw, out);
        *rgb = out;
    } else
        io_free(host, out);
    io_free(host, raw);
    io_free(host, zlib);
    return code;
}

int png_load(const saeuron_host *host, const char *path, unsigned char **rgb, size_t *W, size_t *H,
             saeuron_error *err)
{
    png_file p;
    *rgb = NULL;
    int code = png_open(&p, host, path, err);
    if (code)
        return code;
    code = png_pixels(&p, rgb, err);
    *W = p.W;
    *H = p.H;
    png_close(&p);
    return code;
}

/* ---- reading: the texts ---- */

/* The value of a tEXt or iTXt chunk after its keyword, as UTF-8 into out. latin1: a byte is a character. */
static int copy_text(const unsigned char *value, size_t n, bool latin1, char *out, size_t size,
                     const char *path, saeuron_error *err)
{
    size_t used = 0, step;
    uint32_t c;
    for (size_t at = 0; at < n; at += step) {
        char bytes[4];
        c = value[at];
        step = latin1 ? 1 : io_utf8((const char *)value + at, n - at, &c);
        if (step == 0 || c == 0)
            return fail(err, SAEURON_EFORMAT, "%s: one of its texts is damaged: fetch it again", path);
        const size_t k = io_utf8_put(bytes, c);
        if (k >= size - used)
            return fail(err, SAEURON_EUSAGE, "%s: one of its texts is longer than %zu bytes", path, size - 1);
        memcpy(out + used, bytes, k);
        used += k;
    }
    out[used] = 0;
    return SAEURON_OK;
}

/* Where the text of an iTXt chunk begins: after the keyword come flag, method, language NUL, translation NUL.
 * 0 when it is damaged or compressed. */
static size_t itxt_start(const unsigned char *p, size_t n)
{
    const unsigned char *end = n >= 2 && p[0] == 0 ? memchr(p + 2, 0, n - 2) : NULL; /* of the language */
    if (end)
        end = memchr(end + 1, 0, n - (size_t)(end + 1 - p)); /* of the translation */
    return end ? (size_t)(end + 1 - p) : 0;
}

/* In Latin-1 a byte may become two. */
size_t png_text_room(const png_file *p) { return 2 * (p->f.size + 1); }

int png_text(const png_file *p, const char *keyword, char *out, size_t size, saeuron_error *err)
{
    const char *path = p->f.path;
    const size_t k = strlen(keyword) + 1;
    chunk c;
    if (size == 0)
        return fail(err, SAEURON_EUSAGE, "%s: no room for its text", path);
    out[0] = 0;
    for (size_t at = 8; next_chunk(&p->f, &at, &c) && !chunk_is(&c, "IEND");) {
        const bool latin1 = chunk_is(&c, "tEXt");
        if ((!latin1 && !chunk_is(&c, "iTXt")) || c.size < k || memcmp(c.data, keyword, k) != 0)
            continue;
        const size_t start = latin1 ? 0 : itxt_start(c.data + k, c.size - k);
        if (!latin1 && start == 0)
            return fail(err, SAEURON_EFORMAT,
                        "%s: its text \"%s\" is compressed or damaged: save it uncompressed", path, keyword);
        return copy_text(c.data + k + start, c.size - k - start, latin1, out, size, path, err);
    }
    return fail(err, SAEURON_ENOENT, "%s: has no text called %s", path, keyword);
}
