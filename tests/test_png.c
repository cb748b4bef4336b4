/* test_png.c: png.c: what it reads back, what it refuses, what it leaves behind.
 *
 * Hostile input comes three ways: tables of made files with the words that the message must hold, every
 * truncation, every byte changed (best run under -fsanitize=address,undefined; tests/fuzz_readers.c goes
 * further). Every allocation fails once. Against Pillow: tests/check_files.py. */
#include "test.h"
#include "scratch.h"
#include "slow_crc.h"
#include "squeezed.h"
#include "files/bytes.h"
#include "files/png.h"
#include "said.h"
#include "files/system.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Pictures of five kinds: flat, noise, a slope, a disc (like an emoji), a pattern. */
static uint64_t pixel(size_t x, size_t y, size_t c, size_t W, size_t H, int kind)
{
    const size_t u = x - W / 2, v = y - H / 2;
    switch (kind) {
    case 0: return 255;
    case 1: return random_bits();
    case 2: return 3 * x + 5 * y + 40 * c;
    case 3: return u * u + v * v < W * H / 6 ? 20 + 90 * c : 250;
    default: return (x * y) >> 3 ^ (x * 7 + c);
    }
}

static void paint(unsigned char *rgb, size_t W, size_t H, int kind)
{
    for (size_t y = 0; y < H; y++)
        for (size_t x = 0; x < W; x++)
            for (size_t c = 0; c < 3; c++)
                *rgb++ = (unsigned char)pixel(x, y, c, W, H, kind);
}

static void png_round_trip(void)
{
    static const size_t sizes[][2] =
        { { 1, 1 }, { 1, 7 }, { 7, 1 }, { 2, 3 }, { 64, 64 }, { 255, 33 }, { 300, 301 } };
    saeuron_error e;
    for (size_t s = 0; s < COUNT(sizes); s++)
        for (int kind = 0; kind < 5; kind++) {
            const size_t W = sizes[s][0], H = sizes[s][1];
            unsigned char *rgb = malloc(3 * W * H), *back = NULL;
            size_t w, h;
            paint(rgb, W, H, kind);
            CHECK(png_save(NULL, at("a.png"), rgb, W, H, NULL, &e) == SAEURON_OK, "%s", e.text);
            CHECK(png_load(NULL, at("a.png"), &back, &w, &h, &e) == SAEURON_OK && w == W && h == H,
                  "%zu x %zu, kind %d: %s", W, H, kind, e.text);
            CHECK(back && !memcmp(rgb, back, 3 * W * H), "%zu x %zu, kind %d: other pixels", W, H, kind);
            io_free(NULL, back);
            free(rgb);
        }
}

static void png_texts(void)
{
    static const char *const texts[] =
        { "prompt", "A \"b\"\nc", "title", "\xC5\xBDlu\xC5\xA5 \xF0\x9F\x98\x80", "empty", "", NULL };
    static const unsigned char rgb[3] = { 1, 2, 3 };
    char out[64];
    saeuron_error e;
    size_t n;
    CHECK(png_save(NULL, at("t.png"), rgb, 1, 1, texts, &e) == SAEURON_OK, "%s", e.text);
    for (size_t i = 0; texts[i]; i += 2)
        CHECK(said_of(NULL, at("t.png"), texts[i], out, sizeof out, &e) == SAEURON_OK &&
              !strcmp(out, texts[i + 1]), "%s: %s", texts[i], e.text);
    unsigned char *file = read_bytes(at("t.png"), &n);
    CHECK(n > 60 && !memcmp(file + 37, "tEXtprompt", 11), "ASCII goes to tEXt");
    free(file);
    CHECK(said_of(NULL, at("t.png"), "prompt", out, 0, &e) == SAEURON_EUSAGE, "a text went into no room");
    CHECK(said_of(NULL, at("t.png"), "prom", out, sizeof out, &e) == SAEURON_ENOENT &&
          strstr(e.text, "prom"), "%s", e.text);
    CHECK(said_of(NULL, at("t.png"), "prompt", out, 8, &e) == SAEURON_OK &&
          said_of(NULL, at("t.png"), "prompt", out, 7, &e) == SAEURON_EUSAGE, "7 bytes and a NUL need 8");
    char eighty[81] = "";
    memset(eighty, 'k', 80);
    const char *const bad[][3] = { { "x", "\xFF", NULL }, { "", "a", NULL }, { eighty, "a", NULL } };
    for (size_t i = 0; i < COUNT(bad); i++)
        CHECK(png_save(NULL, at("no.png"), rgb, 1, 1, bad[i], &e) == SAEURON_EUSAGE, "text %zu was taken", i);
    CHECK(png_save(NULL, at("no.png"), rgb, 0, 1, NULL, &e) == SAEURON_EUSAGE &&
          png_save(NULL, at("no.png"), rgb, 1, 0, NULL, &e) == SAEURON_EUSAGE &&
          png_save(NULL, at("no.png"), rgb, 40000, 1, NULL, &e) == SAEURON_EUSAGE &&
          png_save(NULL, at("no.png"), rgb, 1, 40000, NULL, &e) == SAEURON_EUSAGE, "impossible sizes");
    CHECK(files_like("no.png") == 0, "a refused picture left a file");
}

/* The file of a given picture is the same everywhere: this is its CRC-32, and its size that of its rows and
 * heads. */
static void png_bytes(void)
{
    static const char *const texts[] = { "prompt", "An image of Cats.", "title", "\xC5\xBDlu\xC5\xA5", NULL };
    static unsigned char rgb[3 * 256 * 256];
    size_t n;
    paint(rgb, 64, 64, 4);
    png_save(NULL, at("b.png"), rgb, 64, 64, texts, NULL);
    unsigned char *file = read_bytes(at("b.png"), &n);
    CHECK(n == 12484 && slow_crc(file, n) == 0xE56E38B0, "%zu bytes, CRC %08" PRIx32, n, slow_crc(file, n));
    free(file);
    paint(rgb, 256, 256, 3);
    png_save(NULL, at("d.png"), rgb, 256, 256, NULL, NULL);
    free(read_bytes(at("d.png"), &n));
    CHECK(n == 8 + 25 + 12 + 12 + 2 + 256 * (1 + 3 * 256) + 4 * 5 + 4, "%zu bytes", n);
}

static size_t add_chunk(unsigned char *out, size_t at_, const char *type, const unsigned char *data, size_t n)
{
    be32(out + at_, (uint32_t)n);
    memcpy(out + at_ + 4, type, 4);
    if (n)
        memcpy(out + at_ + 8, data, n);
    be32(out + at_ + 8 + n, slow_crc(out + at_ + 4, n + 4));
    return at_ + 12 + n;
}

static size_t stored_zlib(unsigned char *out, const unsigned char *raw, size_t n)
{
    uint32_t a = 1, b = 0;
    memcpy(out, "\x78\x01\x01", 3);
    le(out + 3, n, 2);
    le(out + 5, ~(uint64_t)n & 0xFFFF, 2);
    memcpy(out + 7, raw, n);
    for (size_t i = 0; i < n; i++) {
        a = (a + raw[i]) % 65521;
        b = (b + a) % 65521;
    }
    be32(out + 7 + n, b << 16 | a);
    return n + 11;
}

/* A made picture: header fields, the chunks between, the raw rows. */
typedef struct made {
    uint32_t W, H;
    int bits, colour, interlace;
    const char *palette;
    size_t palette_size;
    const char *alpha;
    size_t alpha_size;
    const char *raw;
    size_t raw_size;
} made;

static size_t make_png(unsigned char *out, const made *m)
{
    unsigned char header[13] = { 0 }, z[256];
    be32(header, m->W);
    be32(header + 4, m->H);
    header[8] = (unsigned char)m->bits;
    header[9] = (unsigned char)m->colour;
    header[12] = (unsigned char)m->interlace;
    memcpy(out, "\x89PNG\r\n\x1A\n", 8);
    size_t n = add_chunk(out, 8, "IHDR", header, 13);
    if (m->palette)
        n = add_chunk(out, n, "PLTE", (const unsigned char *)m->palette, m->palette_size);
    if (m->alpha)
        n = add_chunk(out, n, "tRNS", (const unsigned char *)m->alpha, m->alpha_size);
    n = add_chunk(out, n, "IDAT", z, stored_zlib(z, (const unsigned char *)m->raw, m->raw_size));
    return add_chunk(out, n, "IEND", header, 0);
}

static int load_png(const unsigned char *bytes, size_t n, unsigned char **rgb, size_t *W, size_t *H,
                    saeuron_error *e)
{
    unsigned char *tight = malloc(n ? n : 1);
    memcpy(tight, bytes, n);
    one_file f = { tight, n, 0 };
    const saeuron_host host = { .user = &f, .map = map_one, .unmap = unmap_one };
    const int code = png_load(&host, "memory", rgb, W, H, e);
    CHECK(f.mapped == 0 && (code == 0) == (*rgb != NULL), "code %d", code);
    free(tight);
    return code;
}

/* Every colour type and depth that we read, alpha over white, and each filter. */
static void png_kinds(void)
{
#define RAW(s) s, sizeof(s) - 1
    static const struct { made m; unsigned char rgb[12]; } table[] = {
        { { 2, 1, 8, 0, 0, NULL, 0, NULL, 0, RAW("\0\x10\xFF") }, { 16, 16, 16, 255, 255, 255 } },
        { { 4, 1, 1, 0, 0, NULL, 0, NULL, 0, RAW("\0\xA0") },
          { 255, 255, 255, 0, 0, 0, 255, 255, 255, 0, 0, 0 } },
        { { 4, 1, 2, 0, 0, NULL, 0, NULL, 0, RAW("\0\x1B") },
          { 0, 0, 0, 85, 85, 85, 170, 170, 170, 255, 255, 255 } },
        { { 3, 1, 4, 0, 0, NULL, 0, NULL, 0, RAW("\0\x1F\x80") },
          { 17, 17, 17, 255, 255, 255, 136, 136, 136 } },
        { { 1, 2, 2, 0, 0, NULL, 0, RAW("\0\x02"), RAW("\0\x80\0\x40") }, { 255, 255, 255, 85, 85, 85 } },
        { { 2, 1, 8, 2, 0, NULL, 0, NULL, 0, RAW("\0\1\2\3\4\5\6") }, { 1, 2, 3, 4, 5, 6 } },
        { { 2, 1, 8, 2, 0, NULL, 0, RAW("\0\4\0\5\0\6"), RAW("\0\1\2\3\4\5\6") },
          { 1, 2, 3, 255, 255, 255 } },
        { { 2, 1, 8, 2, 0, NULL, 0, RAW("\0\4\0\5\0\6"), RAW("\0\4\x9\6\4\5\x9") }, { 4, 9, 6, 4, 5, 9 } },
        { { 2, 1, 8, 2, 0, NULL, 0, RAW("\7\4\7\5\7\6"), RAW("\0\1\2\3\4\5\6") },
          { 1, 2, 3, 255, 255, 255 } },
        { { 2, 1, 4, 0, 0, NULL, 0, RAW("\1\x23"), RAW("\0\x13") }, { 17, 17, 17, 255, 255, 255 } },
        { { 3, 1, 8, 3, 0, RAW("\1\2\3\4\5\6"), RAW("\xFF\0"), RAW("\0\0\1\7") },
          { 1, 2, 3, 255, 255, 255, 0, 0, 0 } },
        { { 2, 1, 8, 3, 0, RAW("\1\2\3\4\5\6"), RAW("\0"), RAW("\0\0\1") }, { 255, 255, 255, 4, 5, 6 } },
        { { 2, 1, 4, 3, 0, RAW("\1\2\3\4\5\6"), NULL, 0, RAW("\0\x10") }, { 4, 5, 6, 1, 2, 3 } },
        { { 2, 1, 8, 4, 0, NULL, 0, NULL, 0, RAW("\0\x10\xFF\1\x80") }, { 16, 16, 16, 128, 128, 128 } },
        { { 2, 1, 8, 6, 0, NULL, 0, NULL, 0, RAW("\0\1\2\3\xFF\0\xFF\x80\0") }, { 1, 2, 3, 255, 255, 255 } },
        { { 2, 1, 8, 2, 0, NULL, 0, NULL, 0, RAW("\1\1\2\3\4\5\6") }, { 1, 2, 3, 5, 7, 9 } },
        { { 1, 2, 8, 2, 0, NULL, 0, NULL, 0, RAW("\0\1\2\3\2\4\5\xFF") }, { 1, 2, 3, 5, 7, 2 } },
        { { 2, 2, 8, 0, 0, NULL, 0, NULL, 0, RAW("\0\x10\x20\3\1\1") },
          { 16, 16, 16, 32, 32, 32, 9, 9, 9, 21, 21, 21 } },
        { { 2, 2, 8, 0, 0, NULL, 0, NULL, 0, RAW("\0\x10\x20\4\1\1") },
          { 16, 16, 16, 32, 32, 32, 17, 17, 17, 33, 33, 33 } },
    };
    unsigned char file[512], *rgb;
    size_t W, H;
    saeuron_error e;
    for (size_t i = 0; i < COUNT(table); i++) {
        const int code = load_png(file, make_png(file, &table[i].m), &rgb, &W, &H, &e);
        CHECK(code == SAEURON_OK, "case %zu: %s", i, e.text);
        for (size_t k = 0; !code && k < 3 * W * H; k++)
            CHECK(rgb[k] == table[i].rgb[k], "case %zu: byte %zu is %d, not %d", i, k, rgb[k],
                  table[i].rgb[k]);
        io_free(NULL, rgb);
    }
}

static void png_refuses(void)
{
    static const struct { made m; const char *why; } bad[] = {
        { { 1, 1, 16, 0, 0, NULL, 0, NULL, 0, RAW("\0\0\0") }, "16 bits" },
        { { 1, 1, 8, 0, 1, NULL, 0, NULL, 0, RAW("\0\0") }, "interlaced" },
        { { 1, 1, 8, 1, 0, NULL, 0, NULL, 0, RAW("\0\0") }, "colour type 1" },
        { { 1, 1, 8, 7, 0, NULL, 0, NULL, 0, RAW("\0\0") }, "colour type 7" },
        { { 1, 1, 4, 2, 0, NULL, 0, NULL, 0, RAW("\0\0") }, "colour type 2" },
        { { 1, 1, 3, 0, 0, NULL, 0, NULL, 0, RAW("\0\0") }, "3 bits" },
        { { 0, 1, 8, 0, 0, NULL, 0, NULL, 0, RAW("\0") }, "0 x 1" },
        { { 8193, 1, 8, 0, 0, NULL, 0, NULL, 0, RAW("\0") }, "8193" },
        { { 0xFFFFFFFF, 0xFFFFFFFF, 8, 6, 0, NULL, 0, NULL, 0, RAW("\0") }, "4294967295" },
        { { 8192, 8192, 8, 6, 0, NULL, 0, NULL, 0, RAW("\0\0") }, "cannot hold" },
        { { 2, 1, 8, 0, 0, NULL, 0, NULL, 0, RAW("\0\0") }, "compressed pixels" },
        { { 1, 1, 8, 0, 0, NULL, 0, NULL, 0, RAW("\0\0\0") }, "compressed pixels" },
        { { 1, 1, 8, 0, 0, NULL, 0, NULL, 0, RAW("\5\0") }, "compressed pixels" },
        { { 1, 1, 8, 3, 0, NULL, 0, NULL, 0, RAW("\0\0") }, "palette is missing" },
        { { 1, 1, 8, 3, 0, RAW("\1\2"), NULL, 0, RAW("\0\0") }, "palette is damaged" },
        { { 1, 1, 8, 3, 0, RAW("\1\2\3"), RAW("\1\2"), RAW("\0\0") }, "tRNS" },
        { { 1, 1, 8, 6, 0, NULL, 0, RAW("\1\2"), RAW("\0\0\0\0\0") }, "tRNS" },
    };
    static const unsigned char nothing[13] = { 0 };
    unsigned char file[512], *rgb;
    size_t W, H;
    saeuron_error e;
    for (size_t i = 0; i < COUNT(bad); i++) {
        const int code = load_png(file, make_png(file, &bad[i].m), &rgb, &W, &H, &e);
        CHECK(code == SAEURON_EFORMAT && strstr(e.text, bad[i].why), "case %zu: %s", i, code ? e.text
              : "accepted");
        io_free(NULL, rgb);
    }
    static const made fine = { 1, 1, 8, 0, 0, NULL, 0, NULL, 0, RAW("\0\7") };
    const size_t n = make_png(file, &fine);
    file[n - 12 - 4 - 4]++; /* in Adler-32, behind its chunk's CRC */
    CHECK(load_png(file, n, &rgb, &W, &H, &e) == SAEURON_EFORMAT && strstr(e.text, "checksum of chunk IDAT"),
          "%s", e.text);
    be32(file + n - 16, slow_crc(file + n - 12 - 4 - 13 - 4, 17));
    CHECK(load_png(file, n, &rgb, &W, &H, &e) == SAEURON_EFORMAT && strstr(e.text, "compressed pixels"),
          "a wrong Adler-32: %s", e.text);
    make_png(file, &fine);
    add_chunk(file, n - 12, "IDAZ", nothing, 0);
    add_chunk(file, n, "IEND", nothing, 0);
    CHECK(load_png(file, n + 12, &rgb, &W, &H, &e) == SAEURON_EFORMAT && strstr(e.text, "IDAZ"),
          "an unknown critical chunk: %s", e.text);
    add_chunk(file, n - 12, "idAZ", nothing, 0);
    CHECK(load_png(file, n + 12, &rgb, &W, &H, &e) == SAEURON_OK, "an unknown ancillary chunk: %s", e.text);
    io_free(NULL, rgb);
    CHECK(load_png((const unsigned char *)"GIF89a......", 12, &rgb, &W, &H, &e) == SAEURON_EFORMAT &&
          strstr(e.text, "no PNG"), "%s", e.text);
#undef RAW
}

/* Chunks in every wrong order. H: IHDR, P: PLTE, p: one without a colour, R: tRNS, D, d: the halves of IDAT,
 * T: a text, a: what an animation adds, X: unknown and critical, E: IEND. Of an animation the first picture
 * is read. */
static void png_orders(void)
{
    static const unsigned char header[13] = { [3] = 1, [7] = 1, [8] = 8 };
    static const struct { const char *order, *why; } cases[] = {
        { "HDdE", NULL }, { "HTDdTE", NULL }, { "HaDdaE", NULL }, { "HDdETX", NULL },
        { "", "ends inside a chunk" }, { "H", "ends inside a chunk" }, { "HDd", "ends inside a chunk" },
        { "HE", "0 compressed bytes" }, { "HTE", "0 compressed bytes" }, { "E", "IHDR" }, { "DdHE", "IHDR" },
        { "THDdE", "IHDR" }, { "HHDdE", "chunk IHDR out of place" }, { "HDTdE", "chunk IDAT out of place" },
        { "HDdTDE", "chunk IDAT out of place" }, { "HDdPE", "palette" }, { "HPPDdE", "palette" },
        { "HpDdE", "palette" },
        { "HDdRE", "tRNS" }, { "HXDdE", "chunk XXXX" }, { "HDE", "compressed pixels" },
        { "HdDE", "compressed pixels" },
    };
    unsigned char file[512], z[64], *rgb;
    size_t W, H;
    saeuron_error e;
    const size_t packed = stored_zlib(z, (const unsigned char *)"\0\7", 2);
    for (size_t i = 0; i < COUNT(cases); i++) {
        size_t n = 8;
        memcpy(file, "\x89PNG\r\n\x1A\n", 8);
        for (const char *at_ = cases[i].order; *at_; at_++)
            n = *at_ == 'H' ? add_chunk(file, n, "IHDR", header, 13)
              : *at_ == 'P' ? add_chunk(file, n, "PLTE", header, 3)
              : *at_ == 'p' ? add_chunk(file, n, "PLTE", header, 0)
              : *at_ == 'R' ? add_chunk(file, n, "tRNS", header, 2)
              : *at_ == 'D' ? add_chunk(file, n, "IDAT", z, packed / 2)
              : *at_ == 'd' ? add_chunk(file, n, "IDAT", z + packed / 2, packed - packed / 2)
              : *at_ == 'T' ? add_chunk(file, n, "tEXt", (const unsigned char *)"a\0b", 3)
              : *at_ == 'a' ? add_chunk(file, n, "fdAT", z, packed)
              : add_chunk(file, n, *at_ == 'X' ? "XXXX" : "IEND", header, 0);
        const int code = load_png(file, n, &rgb, &W, &H, &e);
        CHECK(cases[i].why ? code == SAEURON_EFORMAT && strstr(e.text, cases[i].why) &&
                             !strncmp(e.text, "memory: ", 8)
                           : code == SAEURON_OK && rgb[0] == 7, "%s: %s", cases[i].order,
              code ? e.text : "read");
        io_free(NULL, rgb);
    }
}

/* Each byte of the header and of the zlib stream that decides something, wrong, behind a right CRC. */
static void png_fields(void)
{
    static const struct { char in; size_t at; int value; const char *why; } cases[] = {
        { 'H', 3, 0, "0 x 1" }, { 'H', 7, 0, "1 x 0" }, { 'H', 0, 128, "2147483649 x 1" },
        { 'H', 4, 255, "1 x 4278190081" }, { 'H', 2, 32, "8193 x 1" }, { 'H', 8, 0, "0 bits" },
        { 'H', 8, 32, "32 bits" }, { 'H', 9, 5, "colour type 5" }, { 'H', 9, 255, "colour type 255" },
        { 'H', 10, 1, "methods 1 0 0" }, { 'H', 11, 1, "methods 0 1 0" }, { 'H', 12, 2, "methods 0 0 2" },
        { 'z', 0, 0x77, "compressed pixels" }, { 'z', 0, 0x88, "compressed pixels" },
        { 'z', 1, 0x02, "compressed pixels" }, { 'z', 1, 0x20, "compressed pixels" },
        { 'z', 2, 0x00, "compressed pixels" }, { 'z', 2, 0x07, "compressed pixels" },
        { 'z', 3, 1, "compressed pixels" }, { 'z', 5, 0, "compressed pixels" },
        { 'z', 7, 5, "compressed pixels" }, { 'z', 8, 8, "compressed pixels" },
        { 'z', 9, 1, "compressed pixels" },
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        unsigned char file[512], header[13] = { [3] = 1, [7] = 1, [8] = 8 }, z[64], *rgb;
        size_t W, H, n;
        saeuron_error e;
        const size_t packed = stored_zlib(z, (const unsigned char *)"\0\7", 2);
        (cases[i].in == 'H' ? header : z)[cases[i].at] = (unsigned char)cases[i].value;
        memcpy(file, "\x89PNG\r\n\x1A\n", 8);
        n = add_chunk(file, add_chunk(file, 8, "IHDR", header, 13), "IDAT", z, packed);
        const int code = load_png(file, add_chunk(file, n, "IEND", header, 0), &rgb, &W, &H, &e);
        CHECK(code == SAEURON_EFORMAT && strstr(e.text, cases[i].why), "%c[%zu] = %d: %s", cases[i].in,
              cases[i].at, cases[i].value, code ? e.text : "read");
        io_free(NULL, rgb);
    }
}

static void *no_memory(void *user, size_t size)
{
    (void)user, (void)size;
    return NULL;
}

/* Opening looks at no pixel and allocates nothing; and it looks at each chunk's CRC once: the texts of a file
 * that was opened are read without. The file: IHDR, 15 bytes of text from 33, IDAT from 48. */
static void png_opens(void)
{
    static const char *const texts[] = { "a", "b", NULL };
    static const unsigned char rgb[12] = { 9 };
    unsigned char *pixels;
    size_t   n, W, H;
    char     text[4];
    png_file p;
    saeuron_error e;
    png_save(NULL, at("o.png"), rgb, 2, 2, texts, NULL);
    unsigned char *file = read_bytes(at("o.png"), &n);
    file[61] ^= 0xFF; /* the stored block's length */
    be32(file + 81, slow_crc(file + 52, 29));
    CHECK(load_png(file, n, &pixels, &W, &H, &e) == SAEURON_EFORMAT && strstr(e.text, "compressed pixels"),
          "%s", e.text);
    one_file f = { file, n, 0 };
    const saeuron_host host = { .user = &f, .map = map_one, .unmap = unmap_one, .alloc = no_memory };
    CHECK(png_open(&p, &host, "memory", &e) == SAEURON_OK && p.W == 2 && p.H == 2, "%s", e.text);
    CHECK(png_pixels(&p, &pixels, &e) == SAEURON_ENOMEM && !pixels, "%s", e.text);
    file[44] ^= 1; /* the text's CRC */
    CHECK(png_text(&p, "a", text, sizeof text, &e) == SAEURON_OK && !strcmp(text, "b"), "%s", e.text);
    png_close(&p);
    CHECK(f.mapped == 0, "not given back");
    free(file);
}

/* Pictures that zlib compressed, with either code: equal pixels and text. */
static void png_squeezed(void)
{
    static const struct { const unsigned char *file; size_t n; } two[] = {
        { squeezed_fixed, sizeof squeezed_fixed }, { squeezed_dynamic, sizeof squeezed_dynamic },
    };
    unsigned char *rgb;
    size_t W, H;
    char text[4];
    saeuron_error e;
    for (size_t i = 0; i < COUNT(two); i++) {
        CHECK(load_png(two[i].file, two[i].n, &rgb, &W, &H, &e) == SAEURON_OK, "%s", e.text);
        CHECK(W == SQUEEZED_W && H == SQUEEZED_H && rgb && slow_crc(rgb, 3 * W * H) == SQUEEZED_CRC,
              "picture %zu: other pixels", i);
        io_free(NULL, rgb);
        test_write_file(at("s.png"), two[i].file, two[i].n);
        CHECK(said_of(NULL, at("s.png"), "a", text, sizeof text, &e) == SAEURON_OK && !strcmp(text, "b"),
              "%s", e.text);
    }
}

/* Every truncation is noticed, and every changed byte, by a CRC at the latest. */
static void refuse_damaged(unsigned char *file, size_t n)
{
    unsigned char *back;
    size_t W, H;
    for (size_t i = 0; i < n; i++) {
        CHECK(load_png(file, i, &back, &W, &H, NULL) == SAEURON_EFORMAT,
              "accepted when cut to %zu of %zu bytes", i, n);
        io_free(NULL, back);
    }
    for (size_t i = 0; i < n; i++) {
        file[i] ^= 0x40;
        CHECK(load_png(file, n, &back, &W, &H, NULL) == SAEURON_EFORMAT, "a change of byte %zu passed", i);
        io_free(NULL, back);
        file[i] ^= 0x40;
    }
}

/* Changed bytes, and CRCs made right again so that they reach the decoder: nothing breaks. */
static void survive_damaged(const unsigned char *file, size_t n)
{
    unsigned char *back;
    size_t W, H;
    char out[64];
    for (int round = 0; round < 20000; round++) {
        unsigned char *copy = malloc(n);
        memcpy(copy, file, n);
        for (int k = 0; k < 1 + round % 3; k++)
            copy[8 + random_bits() % (n - 8)] = (unsigned char)random_bits();
        for (size_t at_ = 8; n - at_ >= 12;) {
            const size_t size = get_be32(copy + at_);
            if (size > n - at_ - 12)
                break;
            be32(copy + at_ + 8 + size, slow_crc(copy + at_ + 4, size + 4));
            at_ += 12 + size;
        }
        one_file f = { copy, n, 0 };
        const saeuron_host host = { .user = &f, .map = map_one, .unmap = unmap_one };
        png_load(&host, "memory", &back, &W, &H, NULL);
        io_free(NULL, back);
        said_of(&host, "memory", "c", out, sizeof out, NULL);
        free(copy);
    }
}

static void png_truncated_and_changed(void)
{
    static unsigned char rgb[3 * 16 * 16], copy[sizeof squeezed_fixed];
    static const char *const texts[] = { "a", "b", "c", "\xC3\xA9", NULL };
    size_t n;
    paint(rgb, 16, 16, 4);
    png_save(NULL, at("c.png"), rgb, 16, 16, texts, NULL);
    unsigned char *file = read_bytes(at("c.png"), &n);
    refuse_damaged(file, n);
    survive_damaged(file, n);
    free(file);
    memcpy(copy, squeezed_fixed, sizeof squeezed_fixed);
    refuse_damaged(copy, sizeof squeezed_fixed);
    survive_damaged(squeezed_fixed, sizeof squeezed_fixed);
    memcpy(copy, squeezed_dynamic, sizeof squeezed_dynamic);
    refuse_damaged(copy, sizeof squeezed_dynamic);
    survive_damaged(squeezed_dynamic, sizeof squeezed_dynamic);
}

static int run_save(const saeuron_host *h, saeuron_error *e)
{
    static const unsigned char rgb[12] = { 1, 2, 3 };
    static const char *const texts[] = { "a", "b", NULL };
    return png_save(h, at("f2.png"), rgb, 2, 2, texts, e);
}

static int run_load(const saeuron_host *h, saeuron_error *e)
{
    size_t W, H;
    unsigned char *rgb;
    const int code = png_load(h, at("f.png"), &rgb, &W, &H, e);
    io_free(h, rgb);
    return code;
}

static void allocations_fail(void)
{
    static const unsigned char rgb[12] = { 9 };
    png_save(NULL, at("f.png"), rgb, 2, 2, NULL, NULL);
    every_allocation_fails(run_save, 3);
    every_allocation_fails(run_load, 3);
}

const test_case png_tests[] = {
    { "round_trip", png_round_trip }, { "texts", png_texts }, { "bytes", png_bytes },
    { "kinds", png_kinds }, { "refuses", png_refuses }, { "orders", png_orders }, { "fields", png_fields },
    { "opens", png_opens },
    { "squeezed", png_squeezed }, { "truncated_and_changed", png_truncated_and_changed },
    { "allocations_fail", allocations_fail },
    { NULL, NULL },
};
