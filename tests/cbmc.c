/* cbmc.c: proofs that the readers of files/ stay inside their memory, for CBMC (tests/cbmc.sh runs them).
 *
 *   any bytes, any answers of the functions below --a reader of files/--> no undefined behaviour; the claims
 *
 * A text is n bytes that can be anything, n from 0 to MOST, at the end of a block: a read beyond it leaves
 * the block. A proof covers every such text, but for what its `assume` leaves out, which cbmc.sh says. A loop
 * that could run longer than cbmc.sh allows is a failure: no proof is partial without a word.
 *
 * Long readers are proven in parts. cbmc.sh replaces the calls of a function f by calls of any_f, which
 * checks what f asks of its caller and then answers anything that f may answer, as f's own proof says. So
 * scan_value is proven for values within values: for one depth, if it holds for the next.
 *
 * Stand-ins, each of which may answer all that the function may: every any_f; fail, which writes no message;
 * io_scan_double, io_scan_int and nn_first_bad (any number); nn_mul (any product, but exact by 1, 2, 4, 8).
 * JSON_KEYS is a few here. Not here: that json_open takes only what like_json takes, what readers understand
 * (test_*.c), long inputs (fuzz_*.c), the way from a number's digits to its value, pixels, everything that
 * writes. */
#include "files/json.h"
#include "files/npy.h"
#include "files/png.h"
#include <stdlib.h>
#undef JSON_KEYS
#ifndef KEYS
#define KEYS 2
#endif
#define JSON_KEYS KEYS

#define assume __CPROVER_assume
#define claim(x) __CPROVER_assert(x, #x)
#ifdef REACH    /* the second run of each proof: this must be found false, so an accepted input exists */
#define accepted() __CPROVER_assert(0, "accepted")
#else
#define accepted() ((void)0)
#endif

size_t any_size(void);
uint32_t any_word(void);
int64_t any_int64(void);
bool any_bool(void);
double any_double(void);
float any_float(void);

static size_t up_to(size_t most)
{
    const size_t n = any_size();
    assume(n <= most);
    return n;
}

/* A text called name, of n bytes. */
#define TEXT(name, n, most) \
    char name##_block[most]; \
    const size_t n = up_to(most); \
    char *const name = name##_block + (most) - n

int fail(saeuron_error *err, int code, const char *format, ...)
{
    (void)err, (void)format;
    claim(code > SAEURON_OK);
    return code;
}

#include "files/utf8.c"

void utf8(void)
{
    TEXT(text, n, MOST);
    uint32_t c;
    char back[4];
    const size_t length = io_utf8(text, n, &c);
    claim(length <= n && length <= 4);
    if (length == 0)
        return;
    claim(c <= 0x10FFFF && io_utf8_put(back, c) == length);
    for (size_t i = 0; i < length; i++)
        claim(back[i] == text[i]);
    accepted();
}

/* ---- json.c ---- */

#ifdef JSON
typedef struct scan scan;
static uint32_t any_string_char(const char **at, const char *end, const char **why);
static bool any_pop_keys(scan *s, size_t mark);
static bool any_scan_value(scan *s, int depth);
#include "files/json.c"

bool io_scan_double(const char **at, const char *end, double *x)
{
    *at += up_to((size_t)(end - *at));
    *x = any_double();
    return any_bool();
}

bool io_scan_int(const char **at, const char *end, int64_t *x)
{
    *at += up_to((size_t)(end - *at));
    *x = any_int64();
    return any_bool();
}

/* It moves by 0 bytes, or by 1 to 12; a character is never shorter escaped than in UTF-8. */
static uint32_t any_string_char(const char **at, const char *end, const char **why)
{
    char bytes[4];
    claim(*at <= end);
    const size_t k = up_to((size_t)(end - *at));
    const uint32_t c = any_word();
    *why = "";
    assume(k <= 12 && c <= CHAR_BAD && (c == CHAR_BAD) == (k == 0));
    assume(c >= CHAR_END || io_utf8_put(bytes, c) <= k);
    *at += k;
    return c;
}

void json_string_char(void)
{
    TEXT(text, n, MOST);
    const char *at = text, *why = NULL;
    char bytes[4];
    const uint32_t c = string_char(&at, text + n, &why);
    const size_t k = (size_t)(at - text);
    claim(why && k <= 12 && k <= n && c <= CHAR_BAD && (c == CHAR_BAD) == (k == 0));
    claim(c >= CHAR_END || io_utf8_put(bytes, c) <= k);
    if (k == 12)
        accepted();
}

static bool any_pop_keys(scan *s, size_t mark)
{
    claim(mark <= s->key_count && s->key_count <= JSON_KEYS);
    s->key_count = mark;
    return any_bool() ? true : refuse(s, "");
}

/* It finds a key that is there twice, no other; and then points at one of the keys. */
void json_pop_keys(void)
{
    char text[MOST];
    scan s = { .at = text, .end = text + MOST, .key_count = up_to(MOST) };
    const size_t mark = up_to(s.key_count);
    bool twice = false;
    for (size_t i = 0; i < MOST; i++)
        s.keys[i] = (seen_key){ any_word(), text + i };
    for (size_t i = mark; i < s.key_count; i++)
        for (size_t j = mark; j < i; j++)
            twice |= s.keys[i].hash == s.keys[j].hash;
    const size_t count = s.key_count;
    const bool ok = pop_keys(&s, mark);
    claim(ok == !twice && s.key_count == mark);
    claim(ok ? s.at == text : s.at > text + mark && s.at < text + count && s.why);
    if (ok)
        accepted();
}

/* A value takes at least a byte and leaves the stack of keys as it was. */
static bool any_scan_value(scan *s, int depth)
{
    claim(depth >= 0 && depth <= MAX_DEPTH && s->at <= s->end && s->key_count <= JSON_KEYS);
    const size_t k = up_to((size_t)(s->end - s->at));
    s->at += k;
    if (k > 0 && any_bool())
        return true;
    s->key_count = up_to(JSON_KEYS);
    return refuse(s, "");
}

void json_value(void)
{
    TEXT(text, n, MOST);
    const size_t at = up_to(n), keys = up_to(JSON_KEYS);
    const int depth = (int)up_to(MAX_DEPTH);
    scan s = { .at = text + at, .end = text + n, .key_count = keys };
    const bool ok = scan_value(&s, depth);
    claim(s.at >= text + at && s.at <= text + n && s.key_count <= JSON_KEYS);
    claim(ok ? s.at > text + at && s.key_count == keys : s.why != NULL);
    if (ok && text[at] == '{')
        accepted();
}

void json_opened(void)
{
    TEXT(text, n, MOST);
    json v;
    if (json_open(&v, text, n, "path", NULL) != SAEURON_OK) {
        claim(!v.at);
        return;
    }
    claim(v.at >= text && v.at < v.end && v.end == text + n);
    accepted();
}

/* A string fits its room, NUL included, and is no longer than in the text, whose quotes it lacks. */
void json_strings(void)
{
    TEXT(text, n, MOST);
    TEXT(out, size, MOST);
    size_t length = 0;
    assume(n > 0 && text[0] == '"');
    if (!json_string((json){ text, text + n }, out, size, &length))
        return;
    claim(length < size && length + 2 <= n && out[length] == 0);
    for (size_t i = 0; i < length; i++)
        claim(out[i] != 0);
    accepted();
}

void json_equal(void)
{
    TEXT(text, n, MOST);
    TEXT(other, m, 4);
    assume(n > 0 && text[0] == '"' && m > 0);
    other[m - 1] = 0;
    if (json_equals((json){ text, text + n }, other))
        accepted();
}

/* What it measures it writes; what does not fit is not written. */
void json_quoted(void)
{
    TEXT(text, n, MOST);
    TEXT(out, size, 6 * MOST + 2);
    assume(n > 0);
    text[n - 1] = 0;
    const size_t length = json_quote(NULL, 0, text);
    claim(length >= 2 && length <= 6 * n + 2);
    claim(json_quote(out, size, text) == length);
    if (length <= size) {
        claim(out[0] == '"' && out[length - 1] == '"');
        accepted();
    }
}

/* The texts of which the walkers are proven, and more than json_open takes (numbers and words are any bytes
 * that separate nothing): a pass with a stack of bits, the current container lowest. */
static bool like_json(const char *text, size_t n)
{
    unsigned objects = 0, depth = 0;
    char state = 'v';   /* value, element or ], key, key or }, string, name (a key), colon, after, word */
    bool escaped = false;
    for (size_t i = 0; i < n; i++) {
        const char c = text[i];
        const bool space = c == ' ' || c == '\n' || c == '\r' || c == '\t';
        const bool opens = c == '[' || c == '{', closes = c == ']' || c == '}';
        if (state == 's' || state == 'n') {
            if (!escaped && c == '"')
                state = state == 's' ? 'a' : ':';
            escaped = !escaped && c == '\\';
            continue;
        }
        if (space && state != 'w')
            continue;
        if (state == 'w' && (space || closes || c == ','))
            state = 'a';
        if (space || (state == 'w' && c != '"' && c != ':' && !opens))
            continue;
        if (closes && depth > 0 && (objects & 1) == (c == '}') &&
            (state == 'a' || state == 'e' || state == '}')) {
            state = 'a';
            objects >>= 1;
            depth--;
        } else if (state == 'a' && c == ',' && depth > 0)
            state = objects & 1 ? 'k' : 'v';
        else if ((state == 'k' || state == '}') && c == '"')
            state = 'n';
        else if (state == ':' && c == ':')
            state = 'v';
        else if ((state == 'v' || state == 'e') && opens) {
            objects = objects << 1 | (c == '{');
            depth++;
            state = c == '{' ? '}' : 'e';
        } else if ((state == 'v' || state == 'e') && c == '"')
            state = 's';
        else if ((state == 'v' || state == 'e') && !closes && c != ',' && c != ':' && c != 0)
            state = 'w';
        else
            return false;
    }
    return depth == 0 && (state == 'a' || state == 'w');
}

/* past_value ends where the value does, at the text's end or before what separates values. */
void json_past(void)
{
    TEXT(text, n, MOST);
    const size_t m = up_to(n);
    assume(m > 0 && like_json(text, m) && !strchr(" \n\r\t", text[0]) && !strchr(" \n\r\t", text[m - 1]));
    assume(m == n || (text[m] != 0 && strchr(" \n\r\t,:]}", text[m])));
    claim(past_value(text, text + n) == text + m);
    if (text[0] == '{' && m > 2)
        accepted();
}

/* The views that json_next gives lie within the container, whatever follows it, and are such values again: so
 * this holds for what lies within them. */
void json_walk(void)
{
    TEXT(text, n, MOST);
    const size_t m = up_to(n);
    json key, value;
    assume(m > 1 && like_json(text, m) && (text[0] == '[' || text[0] == '{'));
    assume(text[m - 1] == ']' || text[m - 1] == '}');
    for (json_iter it = json_begin((json){ text, text + n }); json_next(&it, &key, &value);) {
        claim(value.at > text && it.at.at > value.at && it.at.at < text + m && value.end == text + n);
        claim(like_json(value.at, (size_t)(it.at.at - value.at)));
        claim(text[0] == '[' || (key.at > text && key.at < value.at && *key.at == '"'));
        accepted();
    }
}
#endif

/* ---- a file of any bytes, and memory that may run out ---- */

static unsigned char *file_bytes;
static size_t file_size;

static const void *map_file(void *user, const char *path, size_t *size)
{
    (void)user, (void)path;
    *size = file_size;
    return file_bytes;
}

static void unmap_file(void *user, const void *data, size_t size)
{
    (void)user, (void)size;
    claim(data == file_bytes);
}

static void *some_memory(void *user, size_t size)
{
    (void)user;
    claim(size > 0);
    return any_bool() ? malloc(size) : NULL;
}

static void give_back(void *user, void *p) { (void)user; free(p); }

static const saeuron_host any_host = {
    .map = map_file, .unmap = unmap_file, .alloc = some_memory, .free = give_back
};

#define FILE_OF(n, most) \
    TEXT(bytes, n, most); \
    file_bytes = (unsigned char *)bytes; \
    file_size = n

/* A product: exact by the size of a type; else 0 where a factor is, and no smaller than either. */
bool nn_mul(size_t a, size_t b, size_t *out)
{
    const int shift = b == 1 ? 0 : b == 2 ? 1 : b == 4 ? 2 : 3;
    *out = any_size();
    if (b == 1 || b == 2 || b == 4 || b == 8) {
        *out = a << shift;
        return a <= SIZE_MAX >> shift;
    }
    const bool ok = any_bool();
    assume(!ok || ((a == 0 || b == 0) ? *out == 0 : *out >= a && *out >= b));
    return ok;
}

/* ---- npy.c ---- */

#ifdef NPY
typedef struct npy_scan npy_scan;
static bool any_npy_take(npy_scan *p, const char *s);
static bool any_npy_shape(npy_scan *p, size_t shape[TENSOR_DIMS], int *ndim);
static int any_npy_header(npy_scan *p, dtype *type, size_t shape[TENSOR_DIMS], int *ndim, const char *path,
                          saeuron_error *err);
#include "arithmetic/number.c"
#include "files/system.c"
#include "files/plain.c"
#undef NAN
#undef INFINITY
#define NAN any_float()
#define INFINITY any_float()
#include "files/npy.c"

size_t nn_first_bad(const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        claim(x[i] == x[i] || x[i] != x[i]);
    return any_bool() ? n : up_to(n);
}

/* It passes at least s, or nothing of it. */
static bool any_npy_take(npy_scan *p, const char *s)
{
    claim(p->at <= p->end);
    const size_t k = up_to((size_t)(p->end - p->at));
    p->at += k;
    return k >= strlen(s) && any_bool();
}

void npy_word(void)
{
    TEXT(text, n, MOST);
    npy_scan p = { text, text + n };
    const bool ok = npy_take(&p, "'<f4'");
    claim(p.at >= text && p.at <= p.end);
    claim(!ok || p.at >= text + 5);
    if (ok)
        accepted();
}

static bool any_npy_shape(npy_scan *p, size_t shape[TENSOR_DIMS], int *ndim)
{
    claim(p->at <= p->end);
    const size_t k = up_to((size_t)(p->end - p->at));
    p->at += k;
    *ndim = (int)up_to(TENSOR_DIMS);
    for (int i = 0; i < TENSOR_DIMS; i++)
        shape[i] = any_size();
    return k >= 2 && any_bool();
}

void npy_shapes(void)
{
    TEXT(text, n, MOST);
    size_t shape[TENSOR_DIMS];
    int ndim;
    npy_scan p = { text, text + n };
    const bool ok = npy_shape(&p, shape, &ndim);
    claim(p.at >= text && p.at <= p.end && ndim >= 0 && ndim <= TENSOR_DIMS);
    claim(!ok || p.at >= text + 2);
    if (ok && ndim == 2)
        accepted();
}

/* More dimensions than there is room for, each of one digit. */
void npy_dimensions(void)
{
    TEXT(text, n, MOST);
    size_t shape[TENSOR_DIMS];
    int ndim;
    npy_scan p = { text, text + n };
    for (size_t i = 1; i < n; i++)
        assume((text[i] < '0' || text[i] > '9') || (text[i - 1] < '0' || text[i - 1] > '9'));
    if (npy_shape(&p, shape, &ndim) && ndim == TENSOR_DIMS)
        accepted();
}

static int any_npy_header(npy_scan *p, dtype *type, size_t shape[TENSOR_DIMS], int *ndim, const char *path,
                          saeuron_error *err)
{
    claim(p->at <= p->end && p->end <= (char *)file_bytes + file_size);
    *type = any_bool() ? DT_F32 : any_bool() ? DT_F16 : DT_F64;
    any_npy_shape(p, shape, ndim);
    return any_bool() ? SAEURON_OK : fail(err, SAEURON_EFORMAT, "%s", path);
}

void npy_headers(void)
{
    TEXT(text, n, MOST);
    size_t shape[TENSOR_DIMS];
    int ndim = -1;
    dtype type = DT_NONE;
    npy_scan p = { text, text + n };
    if (npy_header(&p, &type, shape, &ndim, "path", NULL) != SAEURON_OK)
        return;
    claim(type == DT_F32 || type == DT_F16 || type == DT_F64);
    claim(ndim >= 0 && ndim <= TENSOR_DIMS && p.at <= p.end);
    accepted();
}

void npy_file(void)
{
    FILE_OF(n, MOST);
    size_t shape[TENSOR_DIMS];
    int ndim;
    float *values;
    if (npy_load(&any_host, "path", &values, shape, &ndim, NULL) != SAEURON_OK) {
        claim(!values);
        return;
    }
    claim(values && ndim >= 0 && ndim <= TENSOR_DIMS);
    accepted();
}
#endif

/* ---- tensors.c: the header of safetensors, whatever its JSON says ---- */

#ifdef TENSORS
static size_t elements;     /* that json_next has yet to give, in all */
static size_t name_bytes;   /* of a header's text that no name has taken yet */

static int any_json_open(json *v, const char *text, size_t size, const char *path, saeuron_error *err);
static json_iter any_json_begin(json container);
static bool any_json_next(json_iter *it, json *key, json *value);
static bool any_json_string(json v, char *out, size_t size, size_t *length);
static bool any_json_equals(json string, const char *text);
static bool any_json_integer(json v, int64_t *x);
static char any_json_kind(json v);
static size_t any_json_length(json v);
static void any_sort_list(void *list, size_t n, size_t size, bool (*less)(const void *a, const void *b));
#include "arithmetic/number.c"
#include "files/system.c"
#include "files/plain.c"
#include "files/tensors.c"

static int any_json_open(json *v, const char *text, size_t size, const char *path, saeuron_error *err)
{
    claim(text + size <= (char *)file_bytes + file_size);
    *v = (json){ NULL, NULL };
    if (size == 0 || any_bool())
        return fail(err, SAEURON_EFORMAT, "%s", path);
    *v = (json){ text + up_to(size - 1), text + size };
    return SAEURON_OK;
}

static json_iter any_json_begin(json container) { return (json_iter){ container, false, true }; }

static bool any_json_next(json_iter *it, json *key, json *value)
{
    (void)it;
    if (key)
        *key = (json){ NULL, NULL };
    if (value)
        *value = (json){ NULL, NULL };
    if (elements == 0)
        return false;
    elements--;
    return any_bool();
}

/* Any part of its room may be written; names do not share their text. */
static bool any_json_string(json v, char *out, size_t size, size_t *length)
{
    (void)v;
    const size_t n = up_to(size - 1);
    out[n] = 0;
    if (any_bool())
        return false;
    assume(n + 2 <= name_bytes);
    name_bytes -= n + 2;
    if (length)
        *length = n;
    return true;
}

static bool any_json_equals(json string, const char *text) { return (void)string, (void)text, any_bool(); }
static bool any_json_integer(json v, int64_t *x) { return (void)v, *x = any_int64(), any_bool(); }
static char any_json_kind(json v) { return (void)v, (char)up_to(127); }
static size_t any_json_length(json v) { return (void)v, any_size(); }

void tensors_header(void)
{
    FILE_OF(n, MOST);
    io_file f = { .data = file_bytes, .size = n };
    json header;
    size_t data_at;
    if (open_header(&f, &header, &data_at, NULL) != SAEURON_OK)
        return;
    claim(data_at >= 9 && data_at <= n && header.at == bytes + 8 && header.end == bytes + data_at);
    accepted();
}

/* Any dtype, shape and offsets, in any order and as often as one likes, up to 12 values. */
void tensors_entry(void)
{
    TEXT(data, n, MOST);
    tensor t = { .name = "" };
    elements = up_to(12);
    name_bytes = 100;
    if (read_tensor(&t, (json){ NULL, NULL }, (unsigned char *)data, n, "path", NULL) != SAEURON_OK)
        return;
    claim(t.type > DT_NONE && t.type < DT_OWN && t.ndim >= 0 && t.ndim <= TENSOR_DIMS);
    claim(t.bytes <= n && t.count <= t.bytes && t.bytes == t.count * dtype_size(t.type));
    claim((char *)t.data >= data && (size_t)((char *)t.data - data) <= n - t.bytes);
    if (t.count == 2 && t.ndim == 3)
        accepted();
}

static void any_sort_list(void *list, size_t n, size_t size, bool (*less)(const void *a, const void *b))
{
    tensor *t = list;
    claim(size == sizeof *t && less);
    if (n == 2 && any_bool()) {
        const tensor first = t[0];
        t[0] = t[1];
        t[1] = first;
    }
}

/* Two tensors that lie in the data are taken only when they cover it. */
void tensors_cover(void)
{
    TEXT(data, n, MOST);
    const unsigned char *begin = (unsigned char *)data;
    tensor t[2] = { { .name = "a" }, { .name = "b" } };
    for (int i = 0; i < 2; i++) {
        const size_t at = up_to(n);
        t[i].data = begin + at;
        t[i].bytes = up_to(n - at);
    }
    if (check_cover(t, 2, begin, n, "path", NULL) != SAEURON_OK)
        return;
    claim(t[0].data == begin && t[1].data == begin + t[0].bytes && t[0].bytes + t[1].bytes == n);
    accepted();
}
#endif

/* ---- png.c ---- */

#ifdef PNG
#include "files/system.c"
#include "files/plain.c"
#include "files/png.c"

void png_chunk(void)
{
    FILE_OF(n, MOST);
    const io_file f = { .data = file_bytes, .size = n };
    const size_t from = up_to(n);
    size_t at = from;
    chunk c;
    if (!next_chunk(&f, &at, &c)) {
        claim(at == from);
        return;
    }
    claim(at <= n && at >= from + 12 && c.size == at - from - 12);
    claim(c.type == f.data + from + 4 && c.data == c.type + 4);
    accepted();
}
#endif
