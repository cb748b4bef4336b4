/* io.h: files and their formats, declared: safetensors, .npy and the operating system (io.c), JSON and decimal
 * numbers (json.c), PNG (png.c). Schemas: docs/formats.md.
 *
 *   disk or the caller's reader --bytes--> json, safetensors --views--> the networks --> npy, safetensors, PNG --> disk
 *
 * Not here: what a tensor means (clip.c, unet.c, vae.c, vit.c, sae.c), messages on a terminal (saeuron.c).
 * Nothing here trusts a length: every offset is checked against the end of its file before it is used. */
#ifndef SAEURON_IO_H
#define SAEURON_IO_H

#include "arithmetic/nn.h"
#include "saeuron.h"

/* ---- errors ---- */

/* Writes the message into err (which may be NULL) and returns code: `return fail(err, SAEURON_EFORMAT, "...", ...)`.
 * Control characters become '?', so that a hostile name can neither break the line nor talk to the terminal. */
#if defined(__GNUC__)
__attribute__((format(printf, 3, 4)))
#endif
int fail(saeuron_error *err, int code, const char *format, ...);

/* ---- JSON: read where it lies, no allocation ---- */

/* A value inside a checked text: its first byte and the text's end. */
typedef struct json { const char *at, *end; } json;

/* Checks that text[0..size) is one whole JSON value (RFC 8259, UTF-8, depth at most 64, no key twice among the first
 * JSON_KEYS of an object and those it lies in) and returns a view of it, valid while text is. path is for messages. */
#define JSON_KEYS 1024
int  json_open(json *v, const char *text, size_t size, const char *path, saeuron_error *err);
/* A view with at == NULL, "there is none", is allowed everywhere below; it has kind 0 and holds nothing. */
char json_kind(json v);                        /* '{' '[' '"' '0' 't' 'f' 'n' */
bool json_get(json object, const char *key, json *value);          /* false when absent or not an object */
/* Walks an object's members or an array's elements: `for (json_iter it = json_begin(v); json_next(&it, &key, &value);)`.
 * key and value may be NULL; key is only set for objects. false at the end, at once for anything else. */
typedef struct json_iter { json at; bool started, object; } json_iter;
json_iter json_begin(json container);
bool json_next(json_iter *it, json *key, json *value);
/* A string, unescaped to UTF-8 and ended with NUL; *length (may be NULL) excludes it. false when it is no string,
 * holds U+0000, or needs more than size bytes. */
bool json_string(json v, char *out, size_t size, size_t *length);
bool json_equals(json string, const char *text);
bool json_number(json v, double *x);           /* correctly rounded, no locale; false when too large for a double */
bool json_integer(json v, int64_t *x);         /* exact; 3.0 and 1e2 count, 3.5 does not */
bool json_bool(json v, bool *x);
size_t json_length(json v);                    /* members or elements */

/* Decimal text of x, the shortest that reads back the same; of several, the nearest: Python's repr without a final ".0".
 * Returns its length. size >= 32. NaN and infinities give nan, inf, -inf, which are no JSON. */
size_t io_format_double(char *out, size_t size, double x);
size_t io_format_float(char *out, size_t size, float x);
/* The whole text: [+-]digits[.digits][e[+-]digits], either side of the point may be empty. No locale, correctly rounded.
 * false for anything else and when too large. */
bool   io_parse_double(const char *text, double *x);
bool   io_parse_uint(const char *text, uint64_t *x);   /* the whole text: digits; false when above 2^64 - 1 */
bool   io_parse_part(const char *text, size_t *i, size_t *n); /* "I/N", I < N <= IO_PARTS; else false, and both stay as they are */
#define IO_PARTS 1000000
/* text as a JSON string with its quotes, escaped, into out [size] (NULL measures); returns its length, without a NUL.
 * text must be UTF-8; bytes that are not become U+FFFD. Nothing is written beyond size. */
size_t json_quote(char *out, size_t size, const char *text);
/* The character at text, of which n bytes are there: its code into *code, its length returned; 0 when it is no UTF-8
 * (RFC 3629: no overlong form, no surrogate, at most U+10FFFF) or n is 0. */
size_t io_utf8(const char *text, size_t n, uint32_t *code);
size_t io_utf8_put(char out[4], uint32_t code);        /* the way back: 1 to 4 bytes */

/* ---- the caller's bytes ---- */

/* A whole file held in memory: mapped, read, or the caller's own (saeuron_host.map). */
typedef struct io_file {
    const unsigned char *data;
    size_t size;
    char   path[1024];      /* for messages */
    const saeuron_host *host;
    enum { IO_NONE, IO_HOST, IO_MAPPED, IO_READ } origin; /* how io_close gives the bytes back */
} io_file;

/* SAEURON_ENOENT when absent, SAEURON_EIO when unreadable or a folder. host may be NULL here and everywhere below (malloc and the
 * operating system), and must outlive f. f needs no io_close after an error, and may have one. */
int  io_open(io_file *f, const saeuron_host *host, const char *path, saeuron_error *err);
void io_close(io_file *f);
/* The pages of a mapped file leave this process until they are read again. */
void io_release(const io_file *f);
bool io_exists(const saeuron_host *host, const char *path); /* a file that can be read */
/* "dir/name" into out [size]; false when it does not fit. */
bool io_join(char *out, size_t size, const char *dir, const char *name);

/* ---- safetensors ---- */

#define TENSOR_DIMS 8
typedef struct tensor {
    const char *name;       /* NUL-ended, owned by its tensors */
    dtype  type;
    int    ndim;
    size_t shape[TENSOR_DIMS], count;  /* count: product of shape */
    const unsigned char *data;
    size_t bytes;
    bool   used;            /* set by whoever bound it; what stays unset is an unknown tensor */
} tensor;

/* Every tensor of one file or of a sharded set (NAME.safetensors.index.json). Sorted by name. */
typedef struct tensors {
    tensor *list;
    size_t  count;
    json    metadata;       /* of the first file; at == NULL when there is none */
    io_file *files;
    size_t  file_count;
    const saeuron_host *host;
    void   *memory;
    char    path[1024];
} tensors;

/* Opens path, a .safetensors file or an index (*.json). Checks header size, JSON, dtypes, shapes against byte ranges, overlaps, holes, ends. */
int  tensors_open(tensors *t, const saeuron_host *host, const char *path, saeuron_error *err);
/* Opens DIR/STEM.safetensors or DIR/STEM.safetensors.index.json, else the .fp16 forms of both; which of two goes first:
 * docs/formats.md. SAEURON_ENOENT names what is there instead, as a pickle. */
int  tensors_open_model(tensors *t, const saeuron_host *host, const char *dir, const char *stem, saeuron_error *err);
void tensors_close(tensors *t);
void tensors_release(const tensors *t);                       /* io_release of its files */
tensor *tensors_find(const tensors *t, const char *name);     /* NULL when absent */
const char *io_dtype_name(dtype type);                        /* "F16"; "?" for DT_NONE */

/* Writing: the header first, then each tensor in the order given. All or nothing (write, then rename). */
typedef struct tensor_out { const char *name; dtype type; int ndim; size_t shape[TENSOR_DIMS]; const float *values; } tensor_out;
/* values are float32 and stored as type (DT_F32 or DT_F16). metadata (or NULL): key, value, key, value, ..., NULL.
 * SAEURON_ENAN when a value is not finite or too large for F16. The data starts at a multiple of 8 bytes. */
int tensors_save(const saeuron_host *host, const char *path, const tensor_out *list, size_t count, const char *const *metadata, saeuron_error *err);

/* ---- .npy (format 1.0 and 2.0, little-endian, C order) ---- */

/* Reads F16, F32 or F64 and widens/narrows to float32; shape up to 8 dims. *values allocated by host; free with io_free.
 * SAEURON_ENAN when a value is not finite (or, of F64, too large for float32). */
int npy_load(const saeuron_host *host, const char *path, float **values, size_t shape[TENSOR_DIMS], int *ndim, saeuron_error *err);
/* Format 1.0, '<f4', byte for byte what numpy.save writes. Any value, NaN too: a dump must show it. */
int npy_save(const saeuron_host *host, const char *path, const float *values, const size_t *shape, int ndim, saeuron_error *err);

/* ---- PNG: 8-bit RGB out; 8-bit grey, RGB, RGBA, palette in ---- */

/* rgb [H,W,3]. texts: keyword, UTF-8 text, ..., NULL; a text that is not ASCII goes to iTXt. Deflate by our own encoder:
 * the same pixels and texts give the same bytes on every machine. */
int png_save(const saeuron_host *host, const char *path, const unsigned char *rgb, size_t W, size_t H, const char *const *texts, saeuron_error *err);
/* *rgb [H,W,3] allocated by host; free with io_free. Refuses interlaced or 16-bit files by name; checks CRCs. */
int png_load(const saeuron_host *host, const char *path, unsigned char **rgb, size_t *W, size_t *H, saeuron_error *err);

/* The text under keyword in a PNG (tEXt or uncompressed iTXt), as UTF-8 ended with NUL, into out [size].
 * SAEURON_ENOENT when the picture has none, SAEURON_EUSAGE when size is too small. */
int png_text(const saeuron_host *host, const char *path, const char *keyword, char *out, size_t size, saeuron_error *err);

/* ---- output files ---- */

/* A file being written: all or nothing. Bytes go to a temporary file beside path; commit flushes it to the disk and
 * renames it over path. After any error, and after abort, the temporary file is gone, path is as it was, and further
 * writes and commits only repeat an error. A path that exists and is no regular file (/dev/stdout) is written directly. */
typedef struct io_out { void *file; char path[1024], temporary[1088]; } io_out;
int  io_out_open(io_out *o, const char *path, saeuron_error *err);
int  io_out_write(io_out *o, const void *bytes, size_t n, saeuron_error *err);
int  io_out_commit(io_out *o, saeuron_error *err);
void io_out_abort(io_out *o);       /* does nothing after commit */
/* The four above in one. */
int  io_write_file(const saeuron_host *host, const char *path, const void *bytes, size_t n, saeuron_error *err);
int io_make_dir(const char *path, saeuron_error *err);  /* and its parents; fine when it exists */

/* tensors_save in pieces, for what no memory holds: begin writes the header of list, whose values are not looked at; then the caller
 * puts n values at a time, in the list's order, each tensor's to its end (first: how many of o's went before, for messages), and
 * commits. After an error of put, io_out_abort. Here tensors may also be I64, whose values below 2^63 tensors_put_whole writes, and U8
 * (io_out_write). */
int  tensors_begin(io_out *out, const saeuron_host *host, const char *path, const tensor_out *list, size_t count, const char *const *metadata, saeuron_error *err);
int  tensors_put(io_out *out, const tensor_out *o, size_t first, const float *values, size_t n, saeuron_error *err);
int  tensors_put_whole(io_out *out, const uint64_t *values, size_t n, saeuron_error *err);

/* ---- memory through the host ---- */

void *io_alloc(const saeuron_host *host, size_t count, size_t size); /* product checked; NULL when there is none */
void  io_free(const saeuron_host *host, void *p);

/* ---- the operating system (plain C99 fallbacks exist for all) ---- */

double os_seconds(void);                 /* monotonic if there is such a clock */
int    os_terminal_width(void);          /* of stderr; 0 when it is no terminal */
void   os_catch_interrupt(void);         /* Ctrl-C sets a flag from now on; a second one ends the program */
bool   os_interrupted(void);
int    os_cores(void);

#endif
