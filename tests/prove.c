/* prove.c: readers of hostile bytes, on every input of a space: no access out of bounds, no overflow that C
 * leaves undefined or that a conversion loses, no end without a verdict; and what was accepted holds.
 *
 *   a space of inputs --every choice in turn--> reader, compiled with sanitizers --> how many were accepted
 *
 *   prove            lists the proofs and their spaces
 *   prove NAME       runs one: exits with 0 when it holds
 *
 * A proof takes its input by choices, any(n) for each of 0..n-1, and runs until every path of choices has
 * been. A free byte is chosen when it is first read (clang reports every load: -fsanitize-coverage), so that
 * inputs which a reader cannot tell apart are one run, and none of the space is left out. Every text is a
 * block of its own, whose ends AddressSanitizer knows. prove.sh compiles and runs.
 *
 * Not here: inputs beyond these spaces (fuzz_readers.c), what a file means (the tests of each reader). */
#include "arithmetic/memory.h"
#include "files/bytes.h"
#include "files/deflate.h"
#include "files/npy.h"
#include "files/png.h"
#include "files/utf8.h"
#include "tests/slow_crc.h"
#include "tests/walk.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#ifdef UNSET
#include <sanitizer/msan_interface.h>
#endif

#define UNSEEN __attribute__((no_sanitize("coverage", "address")))
#define COUNT(list) (sizeof(list) / sizeof *(list))

void require(bool holds, const char *what)
{
    if (!holds) {
        fprintf(stderr, "does not hold: %s\n", what);
        abort();
    }
}

/* ---- choices ---- */

typedef struct choice { unsigned at, of; } choice;
static choice   path[8192];
static size_t   path_length, path_at;
static uint64_t runs, accepted;   /* accepted: of these the reader said yes to; none would prove little */

/* Each of 0..n-1, one a run. The path is the same up to the last choice that changed; a reader that is not
 * the same twice looked at something else. */
UNSEEN static unsigned any(unsigned n)
{
    require(path_at < COUNT(path), "a path has room");
    if (path_at == path_length)
        path[path_length++] = (choice){ 0, n };
    require(path[path_at].of == n, "the same choices ask the same again");
    return path[path_at++].at;
}

/* Moves on to the next path; false after the last. */
static bool next_path(void)
{
    require(path_at == path_length, "the same choices end alike");
    while (path_length > 0 && ++path[path_length - 1].at == path[path_length - 1].of)
        path_length--;
    path_at = 0;
    runs++;
    return path_length > 0;
}

/* ---- the input ---- */

/* Texts that begin with before and go on with up to `free` bytes, each one of set [of]; the first `wide` of
 * them that are read take every value. */
typedef struct space { const char *before, *set; size_t of, free, wide; } space;
#define SET(set) (set), sizeof(set) - 1
#define NO_SET   "", 0

enum { MOST = 16384 };
static unsigned char input[MOST];         /* as it was put together; 0 where a byte is free */
static size_t        input_size;
static uint64_t      free_at[MOST];       /* == runs + 1: this byte is free and not chosen yet */
static unsigned char *bytes;              /* where the reader sees it */
static const space  *of_space;
static size_t        wide;                /* so many free bytes still take every value */

/* n bytes of memory with an end that is known: asked for once for each use and n, and kept. */
enum use { INPUT, OUTPUT, QUOTED };
static void *room(enum use use, size_t n)
{
    static unsigned char *rooms[3][MOST + 1];
    const size_t size = n > 0 ? n : 16; /* of none the end is all that is handed out */
    if (!rooms[use][n])
        rooms[use][n] = malloc(size);
    require(rooms[use][n] != NULL, "there is memory");
    return rooms[use][n] + (size - n);
}

static void put(const void *from, size_t n)
{
    require(n <= MOST - input_size, "the input has room");
    memcpy(input + input_size, from, n);
    input_size += n;
}

static void put_text(const char *text) { put(text, strlen(text)); }

static void put_free(size_t n)
{
    for (; n > 0; n--) {
        free_at[input_size] = runs + 1;
        put("", 1);
    }
}

/* One of the texts of a list. */
static void put_any(const char *const *list, size_t n) { put_text(list[any((unsigned)n)]); }

/* The input up to its size in a block as long as it is. MemorySanitizer (UNSET) takes a free byte for unset
 * until it is chosen: so no load goes unreported. */
static const char *finished(size_t size)
{
    input_size = size;
    bytes = room(INPUT, size);
    for (size_t i = 0; i < size; i++)
        bytes[i] = input[i];
#ifdef UNSET
    for (size_t i = 0; i < size; i++)
        if (free_at[i] == runs + 1)
            __msan_poison(bytes + i, 1);
#endif
    return (const char *)bytes;
}

/* A text of the space, also cut within before. */
static const char *any_text(const space *s)
{
    put_text(s->before);
    put_free(s->free);
    return finished(any((unsigned)input_size + 1));
}

/* What clang calls before each load: a free byte of the input is chosen now. */
UNSEEN static void choose(const unsigned char *at, size_t n)
{
    const size_t first = (size_t)(at - bytes);
    for (size_t i = first; i < first + n; i++)
        if (bytes && i < input_size && free_at[i] == runs + 1) {
            free_at[i] = 0;
            const unsigned of = wide > 0 ? 256 : (unsigned)of_space->of, chosen = any(of);
            bytes[i] = (unsigned char)(wide > 0 ? (char)chosen : of_space->set[chosen]);
            wide -= wide > 0;
        }
}

void __sanitizer_cov_load1(const void *at);
void __sanitizer_cov_load2(const void *at);
void __sanitizer_cov_load4(const void *at);
void __sanitizer_cov_load8(const void *at);
void __sanitizer_cov_load16(const void *at);
UNSEEN void __sanitizer_cov_load1(const void *at) { choose(at, 1); }
UNSEEN void __sanitizer_cov_load2(const void *at) { choose(at, 2); }
UNSEEN void __sanitizer_cov_load4(const void *at) { choose(at, 4); }
UNSEEN void __sanitizer_cov_load8(const void *at) { choose(at, 8); }
UNSEEN void __sanitizer_cov_load16(const void *at) { choose(at, 16); }

int loop_memcmp(const void *a, const void *b, size_t n)
{
    const unsigned char *p = a, *q = b;
    for (; n > 0; n--, p++, q++)
        if (*p != *q)
            return *p < *q ? -1 : 1;
    return 0;
}

void *loop_memcpy(void *to, const void *from, size_t n)
{
    unsigned char *p = to;
    for (const unsigned char *q = from; n > 0; n--)
        *p++ = *q++;
    return to;
}

void *loop_memchr(const void *p, int c, size_t n)
{
    for (const unsigned char *q = p; n > 0; n--, q++)
        if (*q == (unsigned char)c)
            return (void *)(uintptr_t)q;
    return NULL;
}

size_t loop_strlen(const char *s)
{
    size_t n = 0;
    while (s[n])
        n++;
    return n;
}

char *loop_strchr(const char *s, int c)
{
    for (; *s != (char)c; s++)
        if (!*s)
            return NULL;
    return (char *)(uintptr_t)s;
}

/* ---- a host whose only file is the input, and whose memory may be refused ---- */

static bool memory_may_fail;

static const void *map(void *user, const char *name, size_t *size)
{
    (void)user;
    (void)name;
    *size = input_size;
    return bytes;
}

static void *alloc(void *user, size_t size)
{
    (void)user;
    return size > 1 << 20 || (memory_may_fail && any(2)) ? NULL : malloc(size);
}

static void release(void *user, void *p)
{
    (void)user;
    free(p);
}

static const saeuron_host host = { .map = map, .alloc = alloc, .free = release, .threads = 1 };

/* ---- the proofs ---- */

/* A character that is read is written back as it was; every code that UTF-8 has is read as it was written. */
static void prove_utf8(const space *s)
{
    char back[4];
    uint32_t c;
    const char *text = any_text(s);
    const size_t n = io_utf8(text, input_size, &c);
    require(n <= input_size, "a character lies in its text");
    accepted += n > 0;
    require(n == 0 || (io_utf8_put(back, c) == n && !memcmp(back, text, n)), "a character is written back");
}

static void prove_codes(const space *s)
{
    char text[4];
    uint32_t c, back;
    (void)s;
    c = any(0x110000);
    const size_t n = io_utf8_put(text, c), read = io_utf8(text, n, &back);
    accepted += read > 0;
    require(c >= 0xD800 && c < 0xE000 ? read == 0 : read == n && back == c, "a code is read back");
}

/* A string goes into every room, and only where it fits; quoted it is the same string. */
static void check_string(json v)
{
    char *out, *quoted;
    size_t length, needed = 0;
    json  again;
    for (size_t size = 0; size <= 16; size++) {
        out = room(OUTPUT, size);
        if (!json_string(v, out, size, &length))
            continue;
        require(length < size && out[length] == 0, "a string fits its room");
        require(!needed || needed == length, "a string has one length");
        needed = length;
        require(json_equals(v, out), "a string equals itself");
        const size_t n = json_quote(NULL, 0, out);
        quoted = room(QUOTED, 32 + n);
        require(json_quote(quoted, n, out) == n, "a string is quoted");
        require(!json_open(&again, quoted, n, "quoted", NULL) && json_equals(again, out), "and read back");
    }
}

static void check_json(const char *text)
{
    json v;
    if (json_open(&v, text, input_size, "in", NULL))
        return;
    accepted++;
    require(v.at >= text && v.end == text + input_size, "a view lies in its text");
    walk(v, 0);
    check_string(v);
}

static void prove_json(const space *s) { check_json(any_text(s)); }

/* Nested nearly as deep as may be. */
static void prove_depth(const space *s)
{
    enum { OPEN = 63 };
    for (int i = 0; i < OPEN; i++)
        put_text("[");
    put_free(any((unsigned)s->free + 1));
    for (int i = 0; i < OPEN; i++)
        put_text("]");
    check_json(finished(input_size));
}

/* Behind as many keys but two as are looked at, up to `free` words. */
static void prove_keys(const space *s)
{
    static const char *const words[] = { "\"a\":0", "\"b\":0", "\"1\":0", ",", "}" };
    char key[16];
    json v;
    put_text("{");
    for (int i = 0; i < JSON_KEYS - 2; i++) {
        snprintf(key, sizeof key, "\"%d\":0,", i);
        put_text(key);
    }
    for (size_t i = any((unsigned)s->free + 1); i > 0; i--)
        put_any(words, COUNT(words));
    const char *text = finished(input_size);
    if (json_open(&v, text, input_size, "in", NULL))
        return;
    accepted++;
    require(json_length(v) >= JSON_KEYS - 1, "keys are there");
}

/* The C library's verdict and number; digits alone as a whole number too. */
static void check_verdict(const char *text)
{
    char   *end, out[32];
    double  x, y;
    uint64_t a, b;
    int64_t whole;
    size_t  i = 7, n = 7;
    const char *at = text;
    if (io_parse_double(text, &x)) {
        accepted++;
        const double truth = strtod(text, &end);
        require(!*end && truth == x && signbit(truth) == signbit(x), "a number is the nearest");
        io_format_double(out, sizeof out, x);
        require(io_parse_double(out, &y) && x == y, "a number printed reads back");
        require(io_format_float(out, sizeof out, (float)x) < sizeof out, "a float is printed");
    }
    if (io_scan_int(&at, text + strlen(text), &whole) && !*at && whole > -(1 << 30) && whole < 1 << 30)
        require(io_parse_double(text, &x) && x == (double)whole, "a whole number is that number");
    if (io_parse_uint(text, &a))
        require(strtoull(text, &end, 10) == a && !*end, "a whole number is what it says");
    if (io_parse_pair(text, '-', &a, &b))
        require(strtoull(text, &end, 10) == a && strtoull(end + 1, NULL, 10) == b, "a pair is what it says");
    if (io_parse_part(text, &i, &n))
        require(i < n, "a part is one of them");
    else
        require(i == 7 && n == 7, "what is no part changes nothing");
}

static void prove_number(const space *s)
{
    put_text(s->before);
    put_free(any((unsigned)s->free + 1));
    put("", 1);
    check_verdict(finished(input_size));
}

/* Numbers of the most digits that count, one fewer and one more, at the ends of the range of double and of
 * exponents. */
static void prove_long_numbers(const space *s)
{
    static const int digits[] = { 1, 17, 19, 20, 767, 768, 799, 800, 801, 802 };
    static const char *const exponents[] = {
        "-99999999999999999999", "-1133", "-1132", "-1131", "-1130", "-802", "-801", "-331", "-330", "-329",
        "-325", "-324", "-323", "-310", "-309", "-308", "-307", "-1", "0", "1", "18", "19", "20", "307",
        "308", "309", "310", "311", "9223372036854775807", "99999999999999999999"
    };
    const int  n = digits[any(COUNT(digits))], point = any(2) ? n : 0;
    const char first = "159"[any(3)], last = "0159"[any(4)];
    (void)s;
    for (int i = 0; i < n; i++) {
        if (i == point)
            put_text(".");
        put(i == n - 1 ? &last : &first, 1);
    }
    put_text("e");
    put_any(exponents, COUNT(exponents));
    put("", 1);
    check_verdict(finished(input_size));
}

static void prove_inflate(const space *s)
{
    const char  *in = any_text(s);
    const size_t n = 2 * any(2);
    unsigned char *out = room(OUTPUT, n);
    accepted += inflate_zlib(out, n, (const unsigned char *)in, input_size);
}

/* Bits behind those that were put, the lowest of a byte first; count counts all of them. */
static void put_bits(unsigned *count, unsigned bits, unsigned n)
{
    for (unsigned i = 0; i < n; i++, ++*count) {
        if (*count % 8 == 0)
            put("", 1);
        input[input_size - 1] |= (unsigned char)((bits >> i & 1) << *count % 8);
    }
}

/* A block with its own codes: how many, the code of code lengths, up to `free` lengths, and a byte of
 * symbols. */
static void prove_inflate_codes(const space *s)
{
    static const unsigned literals[] = { 0, 1, 2, 29, 30, 31 }, distances[] = { 0, 1, 29, 30 };
    /* Lengths in the order of the format, for 16 17 18 0 8 7 9 6 10 5 11 4 12 3 13 2 14 1 15. */
    static const char *const codes[] =
        { "2022000000000000020", "1010000000000000000", "0010000000000000000", "1110000000000000000" };
    /* In the first of these: 0, 1, 16 and 18 for few and for many. */
    static const struct { unsigned bits, n; } lengths[] =
        { { 0, 2 }, { 2, 2 }, { 1, 4 }, { 13, 4 }, { 3 | 107 << 2, 9 }, { 3 | 127 << 2, 9 } };
    unsigned count = 0;
    put_text(s->before);
    put_bits(&count, 1 | 2 << 1, 3);
    put_bits(&count, literals[any(COUNT(literals))], 5);
    put_bits(&count, distances[any(COUNT(distances))], 5);
    put_bits(&count, 15, 4);
    const char *code = codes[any(COUNT(codes))];
    for (int i = 0; i < 19; i++)
        put_bits(&count, (unsigned)(code[i] - '0'), 3);
    for (size_t i = any((unsigned)s->free + 1); i > 0; i--) {
        const unsigned length = any(COUNT(lengths));
        put_bits(&count, lengths[length].bits, lengths[length].n);
    }
    put_free(1);
    put("\0\0\0\1", 4); /* the checksum of nothing */
    const size_t n = 6 * any(2);
    const char *in = finished(input_size);
    accepted += inflate_zlib(room(OUTPUT, n), n, (const unsigned char *)in, input_size);
}

static void load_npy(void)
{
    float *values;
    size_t shape[TENSOR_DIMS], count = 1;
    int    ndim;
    memory_may_fail = true;
    if (npy_load(&host, "in", &values, shape, &ndim, NULL) == SAEURON_OK) {
        accepted++;
        require(ndim >= 0 && ndim <= TENSOR_DIMS, "dimensions");
        for (int i = 0; i < ndim; i++)
            require(nn_mul(count, shape[i], &count), "a count of elements does not wrap around");
        require(values != NULL, "values are there");
        for (size_t i = 0; i < count; i++)
            require(isfinite(values[i]), "a value is finite");
    } else
        require(!values, "no values after an error");
    io_free(&host, values);
}

/* Any version and any length of the header, which is right from its third byte on and 56 bytes long. */
static void prove_npy_bytes(const space *s)
{
    put_text("\x93NUMPY");
    put_free(s->free);
    put_text("'descr': '<f4', 'fortran_order': False, 'shape': (), }");
    put("\0\0\0\0", 4);
    finished(any(2) ? input_size : any((unsigned)input_size));
    load_npy();
}

/* A header of known words in any order, and as much data as may be. */
static void prove_npy(const space *s)
{
    static const char *const types[] = { "'<f4'", "'<f2'", "'<f8'", "'<i4'" },
        *const sizes[] = { "(", ")", ",", "0", "2", "1,", "1,1,1,1,1,", "4294967296", "4611686018427387904",
                           "18446744073709551615", "18446744073709551616", " " };
    static const size_t data[] = { 0, 1, 2, 4, 8, 16 };
    char head[10] = "\x93NUMPY\x01";
    put(head, 10);
    put_text("{'descr': ");
    put_any(types, COUNT(types));
    put_text(", 'fortran_order': False, 'shape': (");
    for (size_t i = any((unsigned)s->free + 1); i > 0; i--)
        put_any(sizes, COUNT(sizes));
    put_text("}");
    input[8] = (unsigned char)(input_size - 10);
    put("\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", data[any(COUNT(data))]);
    finished(input_size);
    load_npy();
}

/* Views lie in their file, as long as shape and type say. */
static void open_tensors(void)
{
    tensors t;
    saeuron_error e;
    memory_may_fail = true;
    if (tensors_open(&t, &host, "in", &e))
        require(*e.text && !strchr(e.text, '\n'), "a refusal is one line");
    else
        accepted++;
    for (size_t i = 0; i < t.count; i++) {
        const tensor *x = &t.list[i];
        require(x->data >= bytes && x->bytes <= (size_t)(bytes + input_size - x->data),
                "a tensor lies in its file");
        require(x->bytes == x->count * dtype_size(x->type), "bytes");
        require(*x->name && strlen(x->name) <= 255, "a name of 1 to 255 bytes");
        require(tensors_find(&t, x->name) == x, "a tensor is found by its name");
    }
    tensors_close(&t);
}

static void prove_tensors_bytes(const space *s)
{
    any_text(s);
    open_tensors();
}

#define LONG "64 letters of a name: four times that is one byte more than 255."

/* Entries of known words with sizes at the limits, and as much data as may be. More than one: small sizes, so
 * that they fit or overlap, and names that may be equal. */
static void prove_tensors(const space *s)
{
    static const char *const types[] = { "\"F32\"", "\"F64\"", "\"U8\"", "\"X\"" },
        *const sizes[] = { "0", "1", "2", "-1", "4294967296", "2305843009213693952", "4611686018427387904",
                           "9223372036854775807", "9223372036854775808", "1e19", "0.5", "null",
                           "1,1,1,1,1,1,1,1" },
        *const offsets[] = { "0", "1", "4", "8", "-1", "9223372036854775807", "9223372036854775808", "1e99",
                             "\"\"" },
        *const names[] = { "a", "b", "", "__metadata__", LONG LONG LONG LONG };
    const unsigned n = 1 + any((unsigned)s->free);
    const bool one = n == 1;
    static const size_t data[] = { 0, 1, 4, 8, 9 };
    put("\0\0\0\0\0\0\0\0{", 9);
    for (unsigned i = 0; i < n; i++) {
        put_text(i ? ",\"" : "\"");
        put_any(names, i ? COUNT(names) : 1);
        put_text("\":{\"dtype\":");
        put_any(types, one ? COUNT(types) : 1);
        put_text(",\"shape\":[");
        for (unsigned j = 0, dims = any(one ? 3 : 2); j < dims; j++) {
            put_text(j ? "," : "");
            put_any(sizes, one ? COUNT(sizes) : 3);
        }
        put_text("],\"data_offsets\":[");
        put_any(offsets, one ? COUNT(offsets) : 4);
        put_text(",");
        put_any(offsets, one ? COUNT(offsets) : 4);
        put_text("]}");
    }
    put_text("}");
    put_le(input, input_size - 8, 8);
    put("\0\0\0\0\0\0\0\0", data[any(COUNT(data))]);
    finished(input_size);
    open_tensors();
}

static void put_chunk(const char *type, const void *data, size_t n)
{
    unsigned char word[4];
    put_be32(word, (uint32_t)n);
    put(word, 4);
    put(type, 4);
    put(data, n);
    put_be32(word, slow_crc(input + input_size - n - 4, n + 4));
    put(word, 4);
}

static void put_picture(unsigned W, unsigned H, unsigned bits, unsigned colour)
{
    unsigned char header[13] = { 0 };
    put_be32(header, W);
    put_be32(header + 4, H);
    header[8] = (unsigned char)bits;
    header[9] = (unsigned char)colour;
    put("\x89PNG\r\n\x1A\n", 8);
    put_chunk("IHDR", header, 13);
}

/* Opens the input, looks for a text in every room, and for pixels. */
static void load_png(void)
{
    png_file p;
    saeuron_error e;
    unsigned char *rgb;
    size_t texts = 0;
    if (png_open(&p, &host, "in", &e)) {
        require(*e.text && !strchr(e.text, '\n'), "a refusal is one line");
        return;
    }
    for (size_t size = 0; size <= 8; size++) {
        char *out = room(OUTPUT, size);
        if (png_text(&p, "a", out, size, &e))
            continue;
        texts++;
        require(strlen(out) < size, "a text fits its room");
    }
    const bool drawn = png_pixels(&p, &rgb, &e) == SAEURON_OK;
    accepted += drawn || texts > 0;
    if (drawn)
        require(p.W > 0 && p.H > 0 && memchr(rgb, rgb[3 * p.W * p.H - 1], 3 * p.W * p.H), "pixels are there");
    io_free(&host, rgb);
    png_close(&p);
}

/* Chunks of every kind behind the header; the last byte changed, its length another, or cut anywhere. */
static void prove_png(const space *s)
{
    static const char *const types[] =
        { "PLTE", "tRNS", "IDAT", "IEND", "tEXt", "iTXt", "IHDR", "none", "NONE" };
    static const size_t sizes[] = { 0, 1, 2, 3, 6, 257, 771 };
    static const unsigned char data[771] = "a\0\0\0\0b";
    static const unsigned lengths[] = { 1, 4, 0x7FFFFFFF, 0xFFFFFFF3, 0xFFFFFFFF };
    static const unsigned colours[] = { 0, 2, 3 };
    unsigned char stream[32];
    size_t last = 8;
    put_picture(1, 1, 8, colours[any(COUNT(colours))]);
    for (size_t i = any((unsigned)s->free + 1); i > 0; i--) {
        last = input_size;
        const char *type = types[any(COUNT(types))];
        put_chunk(type, data, sizes[any(COUNT(sizes))]);
    }
    if (any(2)) {
        put_chunk("IDAT", stream, deflate_stored(stream, (const unsigned char *)"\0\1\2\3", 4));
        put_chunk("IEND", "", 0);
    }
    const unsigned damage = any(3 + COUNT(lengths));
    if (damage == 1)
        input[input_size - 1] ^= 1;
    else if (damage >= 3)
        put_be32(input + last, lengths[damage - 3]);
    finished(damage == 2 ? last + any((unsigned)least(input_size - last, 20)) : input_size);
    load_png();
}

/* Headers: sizes, bits, colours and methods that are and are not. */
static void prove_png_headers(const space *s)
{
    static const unsigned sides[] = { 0, 1, 2, 8192, 8193, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF },
        bits[] = { 0, 1, 2, 3, 4, 8, 9, 16, 32, 255 }, colours[] = { 0, 1, 2, 3, 4, 5, 6, 7, 255 };
    const unsigned W = sides[any(COUNT(sides))], H = sides[any(COUNT(sides))];
    unsigned char stream[32];
    (void)s;
    put_picture(W, H, bits[any(COUNT(bits))], colours[any(COUNT(colours))]);
    if (any(2)) {
        input[16 + 10 + any(3)] = (unsigned char)(1 + any(2));
        put_be32(input + 16 + 13, slow_crc(input + 12, 17));
    }
    put_chunk("PLTE", "\0\1\2", 3);
    put_chunk("IDAT", stream, deflate_stored(stream, (const unsigned char *)"\0\1\2\3\4\5\6\7\0", any(10)));
    put_chunk("IEND", "", 0);
    finished(input_size);
    load_png();
}

/* Texts of free bytes, which the checksum fits. */
static void prove_png_texts(const space *s)
{
    char text[16];
    const size_t n = any((unsigned)s->free + 1);
    put_picture(1, 1, 8, 0);
    for (size_t i = 0; i < n; i++)
        text[i] = s->set[any((unsigned)s->of)];
    put_chunk(any(2) ? "tEXt" : "iTXt", text, n);
    put_chunk("IDAT", "", 0);
    put_chunk("IDAT", "x", 1);
    put_chunk("IEND", "", 0);
    finished(input_size);
    load_png();
}

/* Pixels of every kind, every filter, palettes that are too short, memory that is refused. */
static void prove_png_pixels(const space *s)
{
    static const unsigned char kinds[][3] = { /* bits, colour, channels */
        { 1, 0, 1 }, { 2, 0, 1 }, { 4, 0, 1 }, { 8, 0, 1 }, { 8, 2, 3 }, { 8, 4, 2 }, { 8, 6, 4 },
        { 1, 3, 1 }, { 2, 3, 1 }, { 4, 3, 1 }, { 8, 3, 1 }
    };
    const unsigned char *kind = kinds[any(COUNT(kinds))];
    const unsigned W = 1 + any(5), H = 1 + any(2);
    const size_t   row = (W * kind[0] * kind[2] + 7) / 8;
    unsigned char  raw[64], stream[128];
    memory_may_fail = true;
    put_picture(W, H, kind[0], kind[1]);
    if (kind[1] == 3 && any(2))
        put_chunk("PLTE", "\0\1\2\3\4\5", 3 + 3 * any(2));
    if (any(2))
        put_chunk("tRNS", "\0\1\0\1\0\1", kind[1] == 3 ? 1 : kind[1] == 0 ? 2 : 6);
    for (size_t y = 0, free = s->free; y < H; y++) {
        raw[y * (row + 1)] = (unsigned char)any(6);
        for (size_t i = 0; i < row; i++, free -= free > 0)
            raw[y * (row + 1) + 1 + i] = free == 0 ? 0x1B : any(2) ? 0xFF : 0x01;
    }
    put_chunk("IDAT", stream, deflate_stored(stream, raw, H * (row + 1)));
    put_chunk("IEND", "", 0);
    finished(input_size);
    load_png();
}

/* ---- the list ---- */

static const struct proof { const char *name, *of; void (*run)(const space *); space space; } proofs[] = {
    { "utf8", "every text of up to 4 bytes", prove_utf8, { "", NO_SET, 4, 4 } },
    { "utf8-codes", "every code that Unicode has", prove_codes, { "", NO_SET, 0, 0 } },
    { "json", "every text of up to 4 bytes", prove_json, { "", NO_SET, 4, 4 } },
    { "json-structure", "up to 7 of {}[]:,\"0a and space", prove_json, { "", SET("{}[]:,\"0a "), 7, 0 } },
    { "json-strings", "\" and up to 7 of \\\"uUnD8Cdc0, a newline, two bytes of UTF-8", prove_json,
      { "\"", SET("\\\"uUnD8Cdc0\n\xC3\xA9"), 6, 0 } },
    { "json-pairs", "\"\\uD8 and up to 9 of 80DCu\\\"", prove_json, { "\"\\uD8", SET("80DC\\u\""), 9, 0 } },
    { "json-numbers", "up to 8 of -+.eE019N", prove_json, { "", SET("-+.eE019N"), 8, 0 } },
    { "json-words", "up to 10 letters of the words, - and 0", prove_json,
      { "", SET("truefalsn-INinityx "), 10, 0 } },
    { "json-depth", "up to 6 of []{}\":0, inside 63 arrays", prove_depth, { "", SET("[]{}\":0,"), 6, 0 } },
    { "json-keys", "1,022 keys and up to 5 words", prove_keys, { "", NO_SET, 5, 0 } },
    { "numbers", "up to 6 of +-.eE0159/", prove_number, { "", SET("+-.eE0159/"), 6, 0 } },
    { "numbers-long", "1 to 802 digits, exponents about every limit", prove_long_numbers,
      { "", NO_SET, 0, 0 } },
    { "inflate", "every 2 bytes behind the header, then up to 4 of 0, 1, 0xFF", prove_inflate,
      { "x\1", SET("\0\1\xFF"), 6, 2 } },
    { "inflate-longer", "every byte behind the header, then up to 8 of 0, 1, 0xFF", prove_inflate,
      { "x\1", SET("\0\1\xFF"), 9, 1 } },
    { "inflate-codes", "blocks with their own codes of up to 5 lengths", prove_inflate_codes,
      { "x\1", SET("\0\xFF"), 5, 0 } },
    { "npy-bytes", "every version and length", prove_npy_bytes, { "", SET("\0\2 {8"), 6, 3 } },
    { "npy", "headers with up to 4 words of a shape, up to 17 bytes of data", prove_npy,
      { "", NO_SET, 4, 0 } },
    { "tensors-bytes", "up to 10 of 0, 2, {, }, 0xFF", prove_tensors_bytes,
      { "", SET("\0\2{}\xFF"), 10, 0 } },
    { "tensors", "up to 2 entries with sizes at the limits, up to 9 bytes of data", prove_tensors,
      { "", NO_SET, 2, 0 } },
    { "png", "up to 2 chunks of every kind, changed and cut", prove_png, { "", NO_SET, 2, 0 } },
    { "png-headers", "sizes, bits, colours and methods at the limits", prove_png_headers,
      { "", NO_SET, 0, 0 } },
    { "png-texts", "texts of up to 6 bytes", prove_png_texts, { "", SET("a\0b\xC3\xA9"), 6, 0 } },
    { "png-pixels", "every kind of pixels, up to 5 x 2, every filter", prove_png_pixels,
      { "", NO_SET, 3, 0 } },
};

/* Called when a sanitizer ends the program: the input that it found. */
static void show_input(void)
{
    fprintf(stderr, "run %" PRIu64 ", the input, in C:\n\"", runs + 1);
    for (size_t i = 0; i < input_size; i++)
        fprintf(stderr, free_at[i] == runs + 1 ? "?" : "\\%03o", bytes[i]);
    fprintf(stderr, "\"\n");
}

void __sanitizer_set_death_callback(void (*callback)(void));

int main(int argc, char **argv)
{
    for (size_t i = 0; i < COUNT(proofs); i++) {
        const struct proof *p = &proofs[i];
        if (argc == 1)
            printf("%s\t%s\n", p->name, p->of);
        if (argc != 2 || strcmp(argv[1], p->name) != 0)
            continue;
        __sanitizer_set_death_callback(show_input);
        do {
            input_size = 0;
            of_space = &p->space;
            wide = p->space.wide;
            memory_may_fail = false;
            p->run(&p->space);
        } while (next_path());
        require(accepted > 0, "something is accepted");
        printf("%s: %s: %" PRIu64 " runs, %" PRIu64 " accepted\n", p->name, p->of, runs, accepted);
        return 0;
    }
    return argc == 1 ? 0 : 2;
}
