/* io.c: files: safetensors, .npy, whole-or-nothing output, and the only lines that touch the operating system.
 *
 *   path --io_open--> bytes --tensors_open, npy_load--> checked views        values --tensors_save, npy_save--> path
 *
 * Not here: JSON and decimal numbers (json.c), PNG (png.c), what a tensor means (the networks).
 * Source: the safetensors format (github.com/huggingface/safetensors, README "Format"), numpy.lib.format (.npy).
 * Everything but the section "the operating system" is C99; that one has a plain C99 twin, chosen by -DSAE_PLAIN_C. */
#ifndef SAEURON_PLAIN_C
#define _DEFAULT_SOURCE /* POSIX, and madvise */
#endif
#include "arithmetic/nn.h"
#include "files/decimal.h"
#include "files/npy.h"
#include "files/utf8.h"

#include <errno.h>
#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#ifndef SAEURON_PLAIN_C
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#endif

/* ---- errors ---- */

/* Control characters (C0, DEL, and C1 as UTF-8) become '?'; a character cut in two by the buffer's end goes. */
static void clean_line(char *text)
{
    size_t n = strlen(text), at = 0;
    while (at < n) {
        uint32_t c;
        const size_t used = io_utf8(text + at, n - at, &c);
        if (used == 0 && n - at < 4 && (unsigned char)text[at] >= 0xC0) {
            text[at] = 0;
            return;
        }
        if (used == 0 || c < 0x20 || (c >= 0x7F && c < 0xA0))
            memset(text + at, '?', used ? used : 1);
        at += used ? used : 1;
    }
}

int fail(saeuron_error *err, int code, const char *format, ...)
{
    if (err) {
        va_list args;
        va_start(args, format);
        err->code = code;
        if (vsnprintf(err->text, sizeof err->text, format, args) < 0)
            err->text[0] = 0;
        va_end(args);
        clean_line(err->text);
    }
    return code;
}

/* ---- memory through the host ---- */

static void os_expect(void *p, size_t n);

#define LARGE ((size_t)8 << 20) /* bytes of a block that is worth larger pages */

void *io_alloc(const saeuron_host *host, size_t count, size_t size)
{
    size_t n;
    if (!nn_mul(count, size, &n))
        return NULL;
    n += n == 0;
    if (host && host->alloc)
        return host->alloc(host->user, n);
    void *p = malloc(n);
    if (p && n >= LARGE)
        os_expect(p, n);
    return p;
}

void io_free(const saeuron_host *host, void *p)
{
    if (p && host && host->alloc && host->free)
        host->free(host->user, p);
    else if (!host || !host->alloc)
        free(p);
}

static int no_memory(saeuron_error *err, const char *path, const char *what)
{
    return fail(err, SAEURON_ENOMEM, "%s: not enough memory for %s", path, what);
}

/* ---- little-endian numbers, on every machine ---- */

static uint64_t get_le(const unsigned char *p, int bytes)
{
    uint64_t x = 0;
    for (int i = bytes - 1; i >= 0; i--)
        x = x << 8 | p[i];
    return x;
}

static void put_le(unsigned char *p, uint64_t x, int bytes)
{
    for (int i = 0; i < bytes; i++, x >>= 8)
        p[i] = (unsigned char)(x & 0xFF);
}

/* ---- paths ---- */

bool io_join(char *out, size_t size, const char *dir, const char *name)
{
    const size_t n = strlen(dir);
    const char  *slash = n > 0 && dir[n - 1] != '/' ? "/" : "";
    const int    length = snprintf(out, size, "%s%s%s", dir, slash, name);
    return length >= 0 && (size_t)length < size;
}

/* Copies path into out [size]; an error when it is longer. */
static int copy_path(char *out, size_t size, const char *path, saeuron_error *err)
{
    const size_t n = strlen(path);
    if (n >= size)
        return fail(err, SAEURON_EUSAGE, "%.60s...: this path is %zu bytes long, at most %zu are possible", path, n, size - 1);
    memcpy(out, path, n + 1);
    return SAEURON_OK;
}

/* ---- the operating system: declared here, defined at the end ---- */

/* Tries to map the regular file f->path into f. SAEURON_OK with f->data still NULL: read it instead. */
static int os_map(io_file *f, saeuron_error *err);
static void os_unmap(io_file *f);
static void os_release(const io_file *f);
/* Creates o->temporary beside o->path and opens it, or o->path itself when it is a device. */
static int os_create(io_out *o, saeuron_error *err);
/* Asks the system to put on the disk what the C library was told to. 0, or -1 with errno. */
static int os_sync(FILE *f);
/* Renames over what is there. 0, or -1 with errno. */
static int os_rename(const char *from, const char *to);

/* ---- reading a file ---- */

static int read_failed(const char *path, saeuron_error *err)
{
    if (errno == ENOENT)
        return fail(err, SAEURON_ENOENT, "%s: there is no such file", path);
    return fail(err, SAEURON_EIO, "%s: cannot be read: %s", path, strerror(errno));
}

/* Reads a whole stream of unknown length into memory that doubles as it goes. */
static int read_stream(io_file *f, FILE *in, saeuron_error *err)
{
    size_t room = 0, n = 0, got;
    unsigned char *data = NULL;
    do {
        if (n == room) {
            const size_t more = room ? 2 * room : 65536;
            unsigned char *grown = more > room ? io_alloc(f->host, more, 1) : NULL;
            if (!grown) {
                io_free(f->host, data);
                return no_memory(err, f->path, "the file's content");
            }
            if (n)
                memcpy(grown, data, n);
            io_free(f->host, data);
            data = grown;
            room = more;
        }
        errno = EIO;
        got = fread(data + n, 1, room - n, in);
        n += got;
    } while (got > 0);
    if (ferror(in)) {
        io_free(f->host, data);
        return read_failed(f->path, err);
    }
    f->data = data;
    f->size = n;
    f->origin = IO_READ;
    return SAEURON_OK;
}

int io_open(io_file *f, const saeuron_host *host, const char *path, saeuron_error *err)
{
    *f = (io_file){ .host = host };
    int code = copy_path(f->path, sizeof f->path, path, err);
    if (code)
        return code;
    if (host && host->map) {
        f->data = host->map(host->user, path, &f->size);
        if (!f->data)
            return fail(err, SAEURON_ENOENT, "%s: there is no such file", path);
        f->origin = IO_HOST;
        return SAEURON_OK;
    }
    code = os_map(f, err);
    if (code || f->data)
        return code;
    errno = EIO;
    FILE *in = fopen(path, "rb");
    if (!in)
        return read_failed(path, err);
    code = read_stream(f, in, err);
    fclose(in);
    return code;
}

void io_close(io_file *f)
{
    if (f->origin == IO_HOST && f->host->unmap)
        f->host->unmap(f->host->user, f->data, f->size);
    if (f->origin == IO_MAPPED)
        os_unmap(f);
    if (f->origin == IO_READ)
        io_free(f->host, (void *)(uintptr_t)f->data);
    *f = (io_file){ .host = f->host };
}

void io_release(const io_file *f)
{
    if (f->origin == IO_MAPPED)
        os_release(f);
}

bool io_exists(const saeuron_host *host, const char *path)
{
    if (host && host->map) {
        size_t size;
        const void *data = host->map(host->user, path, &size);
        if (data && host->unmap)
            host->unmap(host->user, data, size);
        return data != NULL;
    }
    FILE *f = fopen(path, "rb");
    if (f)
        fclose(f);
    return f != NULL;
}

/* ---- writing a file: all or nothing ---- */

/* Closes and removes what was written so far; the error is in errno. */
static int write_failed(io_out *o, saeuron_error *err)
{
    const int reason = errno;
    io_out_abort(o);
    if (reason == ENOSPC)
        return fail(err, SAEURON_EIO, "%s: disk full (%s): free some space and run again; nothing was changed", o->path, strerror(reason));
    return fail(err, SAEURON_EIO, "%s: cannot be written: %s", o->path, strerror(reason));
}

int io_out_open(io_out *o, const char *path, saeuron_error *err)
{
    *o = (io_out){ .file = NULL };
    const int code = copy_path(o->path, sizeof o->path, path, err);
    return code ? code : os_create(o, err);
}

int io_out_write(io_out *o, const void *bytes, size_t n, saeuron_error *err)
{
    errno = EIO;
    if (!o->file || (n > 0 && fwrite(bytes, 1, n, o->file) != n))
        return write_failed(o, err);
    return SAEURON_OK;
}

int io_out_commit(io_out *o, saeuron_error *err)
{
    errno = EIO;
    if (!o->file || fflush(o->file) != 0)
        return write_failed(o, err);
    if (o->temporary[0] && os_sync(o->file) != 0)
        return write_failed(o, err);
    FILE *f = o->file;
    o->file = NULL;
    if (fclose(f) != 0 || (o->temporary[0] && os_rename(o->temporary, o->path) != 0))
        return write_failed(o, err);
    o->temporary[0] = 0;
    return SAEURON_OK;
}

void io_out_abort(io_out *o)
{
    if (o->file)
        fclose(o->file);
    if (o->temporary[0])
        remove(o->temporary);
    o->file = NULL;
    o->temporary[0] = 0;
}

int io_write_file(const saeuron_host *host, const char *path, const void *bytes, size_t n, saeuron_error *err)
{
    io_out o;
    (void)host;
    int code = io_out_open(&o, path, err);
    if (!code)
        code = io_out_write(&o, bytes, n, err);
    return code ? code : io_out_commit(&o, err);
}

/* ---- safetensors: reading ---- */

#define HEADER_MAX 100000000u /* the limit of the reference implementation */
#define NAME_MAX_BYTES 255
#define SHARDS_MAX 1000

static const struct { const char *name; dtype type; } dtypes[] = {
    { "F32", DT_F32 }, { "F16", DT_F16 }, { "BF16", DT_BF16 }, { "F64", DT_F64 }, { "I64", DT_I64 },
    { "I32", DT_I32 }, { "I16", DT_I16 }, { "I8", DT_I8 }, { "U8", DT_U8 }, { "BOOL", DT_BOOL },
};

/* Sorts list[0..n) by less: heap sort, so that no input makes it slow and it needs no memory. */
static void sort_tensors(tensor *list, size_t n, bool (*less)(const tensor *, const tensor *))
{
    for (size_t start = n / 2, end = n; end > 1;) {
        if (start > 0)
            start--;
        else {
            const tensor swap = list[--end];
            list[end] = list[0];
            list[0] = swap;
        }
        for (size_t root = start, child; (child = 2 * root + 1) < end; root = child) {
            if (child + 1 < end && less(&list[child], &list[child + 1]))
                child++;
            if (!less(&list[root], &list[child]))
                break;
            const tensor swap = list[root];
            list[root] = list[child];
            list[child] = swap;
        }
    }
}

static bool by_name(const tensor *a, const tensor *b) { return strcmp(a->name, b->name) < 0; }

/* Empty tensors stand before one that begins at the same byte. */
static bool by_place(const tensor *a, const tensor *b)
{
    return a->data != b->data ? a->data < b->data : a->bytes < b->bytes;
}

/* The shape of t from a JSON array of sizes; its product into t->count. */
static int read_shape(tensor *t, json shape, const char *path, saeuron_error *err)
{
    json value;
    int64_t size;
    t->count = 1;
    t->ndim = 0;
    if (json_kind(shape) != '[')
        return fail(err, SAEURON_EFORMAT, "%s: tensor %s: shape is no list: the file is damaged, fetch it again", path, t->name);
    for (json_iter it = json_begin(shape); json_next(&it, NULL, &value);) {
        if (t->ndim == TENSOR_DIMS)
            return fail(err, SAEURON_EFORMAT, "%s: tensor %s has more than %d dimensions, which no model here has", path, t->name, TENSOR_DIMS);
        if (!json_integer(value, &size) || size < 0 || (uint64_t)size > SIZE_MAX)
            return fail(err, SAEURON_EFORMAT, "%s: tensor %s: dimension %d is no possible size: the file is damaged, fetch it again", path, t->name, t->ndim);
        t->shape[t->ndim++] = (size_t)size;
        if (!nn_mul(t->count, (size_t)size, &t->count))
            return fail(err, SAEURON_EFORMAT, "%s: tensor %s: its shape has more elements than any memory: the file is damaged, fetch it again", path, t->name);
    }
    return SAEURON_OK;
}

/* The byte range of t from data_offsets, within data[0..data_size), and as long as its type and shape say. */
static int read_offsets(tensor *t, json offsets, const unsigned char *data, size_t data_size, const char *path, saeuron_error *err)
{
    json value[2];
    int64_t at[2];
    size_t bytes;
    json_iter it = json_begin(offsets);
    if (json_length(offsets) != 2 || !json_next(&it, NULL, &value[0]) || !json_next(&it, NULL, &value[1])
        || !json_integer(value[0], &at[0]) || !json_integer(value[1], &at[1]) || at[0] < 0 || at[1] < at[0])
        return fail(err, SAEURON_EFORMAT, "%s: tensor %s: data_offsets is not [begin, end]: the file is damaged, fetch it again", path, t->name);
    if ((uint64_t)at[1] > data_size)
        return fail(err, SAEURON_EFORMAT, "%s: tensor %s ends at byte %" PRId64 " of the data, but the file has %zu: it was cut short, fetch it again",
                    path, t->name, at[1], data_size);
    if (!nn_mul(t->count, dtype_size(t->type), &bytes) || bytes != (size_t)(at[1] - at[0]))
        return fail(err, SAEURON_EFORMAT, "%s: tensor %s has %" PRId64 " bytes, which does not fit its shape and dtype: the file is damaged, fetch it again",
                    path, t->name, at[1] - at[0]);
    t->data = data + at[0];
    t->bytes = bytes;
    return SAEURON_OK;
}

static int read_dtype(tensor *t, json value, const char *path, saeuron_error *err)
{
    char text[32] = "(none)";
    for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++)
        if (json_equals(value, dtypes[i].name))
            t->type = dtypes[i].type;
    if (t->type == DT_NONE && !json_string(value, text, sizeof text, NULL))
        strcpy(text, "(none)");
    if (t->type == DT_NONE)
        return fail(err, SAEURON_EFORMAT, "%s: tensor %s has dtype %s; known are F64 F32 F16 BF16 I64 I32 I16 I8 U8 BOOL: convert it", path, t->name, text);
    return SAEURON_OK;
}

/* One member of the header, its name already in t. */
static int read_tensor(tensor *t, json entry, const unsigned char *data, size_t data_size, const char *path, saeuron_error *err)
{
    json field[3] = { { NULL, NULL }, { NULL, NULL }, { NULL, NULL } }, key, value;
    if (json_kind(entry) != '{')
        return fail(err, SAEURON_EFORMAT, "%s: tensor %s: its entry is no object: the file is damaged, fetch it again", path, t->name);
    for (json_iter it = json_begin(entry); json_next(&it, &key, &value);) {
        if (json_equals(key, "dtype"))
            field[0] = value;
        else if (json_equals(key, "shape"))
            field[1] = value;
        else if (json_equals(key, "data_offsets"))
            field[2] = value;
        else
            return fail(err, SAEURON_EFORMAT, "%s: tensor %s: its entry has an unknown field: only dtype, shape and data_offsets may be there", path, t->name);
    }
    int code = read_dtype(t, field[0], path, err);
    if (!code)
        code = read_shape(t, field[1], path, err);
    return code ? code : read_offsets(t, field[2], data, data_size, path, err);
}

/* __metadata__ must map strings to strings. */
static int check_metadata(json m, const char *path, saeuron_error *err)
{
    json value;
    if (json_kind(m) != '{')
        return fail(err, SAEURON_EFORMAT, "%s: __metadata__ is no object: save the file again", path);
    for (json_iter it = json_begin(m); json_next(&it, NULL, &value);)
        if (json_kind(value) != '"')
            return fail(err, SAEURON_EFORMAT, "%s: __metadata__ has a value that is no text: save the file again", path);
    return SAEURON_OK;
}

/* The header of an open file: its JSON into *header, where the data begins into *data_at. */
static int open_header(const io_file *f, json *header, size_t *data_at, saeuron_error *err)
{
    if (f->size < 8)
        return fail(err, SAEURON_EFORMAT, "%s: %zu bytes are no safetensors file: it was cut short, fetch it again", f->path, f->size);
    const uint64_t n = get_le(f->data, 8);
    if (n > HEADER_MAX)
        return fail(err, SAEURON_EFORMAT, "%s: a header of %" PRIu64 " bytes: this is no safetensors file", f->path, n);
    if (n > f->size - 8)
        return fail(err, SAEURON_EFORMAT, "%s: the header alone needs %" PRIu64 " bytes, but the file has %zu: it was cut short, fetch it again",
                    f->path, n + 8, f->size);
    *data_at = 8 + (size_t)n;
    const int code = json_open(header, (const char *)f->data + 8, (size_t)n, f->path, err);
    if (code)
        return code;
    if (header->at != (const char *)f->data + 8 || *header->at != '{')
        return fail(err, SAEURON_EFORMAT, "%s: its header does not begin with '{': this is no safetensors file", f->path);
    return SAEURON_OK;
}

/* Tensors in place order must cover the data without overlap or hole. */
static int check_cover(tensor *list, size_t n, const unsigned char *data, size_t data_size, const char *path, saeuron_error *err)
{
    const unsigned char *end = data;
    sort_tensors(list, n, by_place);
    for (size_t i = 0; i < n; end = list[i].data + list[i].bytes, i++)
        if (list[i].data != end)
            return fail(err, SAEURON_EFORMAT, "%s: tensor %s begins at byte %zu of the data, but the one before it ends at %zu: the file is damaged, fetch it again",
                        path, list[i].name, (size_t)(list[i].data - data), (size_t)(end - data));
    if (end != data + data_size)
        return fail(err, SAEURON_EFORMAT, "%s: its tensors end at byte %zu of the data, but the file has %zu: it is damaged, fetch it again",
                    path, (size_t)(end - data), data_size);
    return SAEURON_OK;
}

/* Reads all tensors of one file to the end of t->list; their names go to *names, which moves on. */
static int read_tensors(tensors *t, const io_file *f, char **names, saeuron_error *err)
{
    json header, key, entry;
    size_t data_at, length;
    int code = open_header(f, &header, &data_at, err);
    if (code)
        return code;
    const unsigned char *data = f->data + data_at;
    const size_t data_size = f->size - data_at, first = t->count;
    for (json_iter it = json_begin(header); json_next(&it, &key, &entry);) {
        if (json_equals(key, "__metadata__")) {
            if ((code = check_metadata(entry, f->path, err)) != SAEURON_OK)
                return code;
            if (f == t->files)
                t->metadata = entry;
            continue;
        }
        tensor *x = &t->list[t->count];
        *x = (tensor){ .name = *names };
        if (!json_string(key, *names, NAME_MAX_BYTES + 1, &length))
            return fail(err, SAEURON_EFORMAT, "%s: the name of tensor %zu is longer than %d bytes or holds a zero: rename it",
                        f->path, t->count - first, NAME_MAX_BYTES);
        if ((code = read_tensor(x, entry, data, data_size, f->path, err)) != SAEURON_OK)
            return code;
        *names += length + 1;
        t->count++;
    }
    return check_cover(t->list + first, t->count - first, data, data_size, f->path, err);
}

/* How many tensors f's header has at most, and the bytes of their names, added to *count and *bytes. */
static int measure_header(const io_file *f, size_t *count, size_t *bytes, saeuron_error *err)
{
    json header, key;
    size_t data_at;
    const int code = open_header(f, &header, &data_at, err);
    if (code)
        return code;
    for (json_iter it = json_begin(header); json_next(&it, &key, NULL);)
        *count += 1;
    *bytes += data_at; /* a name is no longer than it is in the header, its NUL no longer than its quote */
    return SAEURON_OK;
}

/* Reads the tensors of all open files of t into one block of memory, sorted by name. */
static int bind_files(tensors *t, saeuron_error *err)
{
    size_t count = 0, name_bytes = NAME_MAX_BYTES + 1, bytes; /* the last name may be refused only after it was tried */
    int code = SAEURON_OK;
    for (size_t i = 0; i < t->file_count && !code; i++)
        code = measure_header(&t->files[i], &count, &name_bytes, err);
    if (code)
        return code;
    if (!nn_mul(count, sizeof(tensor), &bytes) || bytes > SIZE_MAX - name_bytes || !(t->memory = io_alloc(t->host, bytes + name_bytes, 1)))
        return no_memory(err, t->path, "the list of its tensors");
    t->list = t->memory;
    char *names = (char *)t->memory + bytes;
    for (size_t i = 0; i < t->file_count && !code; i++)
        code = read_tensors(t, &t->files[i], &names, err);
    if (code)
        return code;
    sort_tensors(t->list, t->count, by_name);
    for (size_t i = 1; i < t->count; i++)
        if (!strcmp(t->list[i - 1].name, t->list[i].name))
            return fail(err, SAEURON_EFORMAT, "%s: tensor %s is there twice: save the model again", t->path, t->list[i].name);
    return SAEURON_OK;
}

/* Room for n files, none of them open. */
static int alloc_files(tensors *t, size_t n, saeuron_error *err)
{
    t->files = io_alloc(t->host, n, sizeof(io_file));
    if (!t->files)
        return no_memory(err, t->path, "its list of files");
    for (size_t i = 0; i < n; i++)
        t->files[i] = (io_file){ .host = t->host };
    return SAEURON_OK;
}

/* The folder of t->path, with its slash, followed by name, into out [size]. */
static int beside(const tensors *t, const char *name, char *out, size_t size, saeuron_error *err)
{
    const char *slash = strrchr(t->path, '/');
    const size_t n = slash ? (size_t)(slash - t->path) + 1 : 0;
    if (n + strlen(name) >= size)
        return fail(err, SAEURON_EUSAGE, "%s: its path is too long", t->path);
    memcpy(out, t->path, n);
    strcpy(out + n, name);
    return SAEURON_OK;
}

/* Opens the file called name beside the index, unless it is open already. */
static int open_shard(tensors *t, const char *name, saeuron_error *err)
{
    char path[sizeof t->path];
    if (!*name || strchr(name, '/') || strchr(name, '\\') || !strcmp(name, "..") || !strcmp(name, "."))
        return fail(err, SAEURON_EFORMAT, "%s: weight_map names the file \"%s\"; only files in the same folder are allowed", t->path, name);
    int code = beside(t, name, path, sizeof path, err);
    if (code)
        return code;
    for (size_t i = t->file_count; i-- > 0;)
        if (!strcmp(t->files[i].path, path))
            return SAEURON_OK;
    if (t->file_count == SHARDS_MAX)
        return fail(err, SAEURON_EFORMAT, "%s: weight_map names more than %d files", t->path, SHARDS_MAX);
    code = io_open(&t->files[t->file_count], t->host, path, err);
    t->file_count += code == SAEURON_OK;
    return code;
}

/* Opens every file that weight_map names. */
static int open_shards(tensors *t, json map, saeuron_error *err)
{
    json value;
    char name[256];
    int code = SAEURON_OK;
    for (json_iter it = json_begin(map); !code && json_next(&it, NULL, &value);) {
        if (!json_string(value, name, sizeof name, NULL))
            return fail(err, SAEURON_EFORMAT, "%s: weight_map must give a file name for each tensor", t->path);
        code = open_shard(t, name, err);
    }
    return code;
}

/* Every tensor of weight_map must be there. */
static int check_map(const tensors *t, json map, saeuron_error *err)
{
    json key;
    char name[NAME_MAX_BYTES + 1];
    for (json_iter it = json_begin(map); json_next(&it, &key, NULL);)
        if (!json_string(key, name, sizeof name, NULL) || !tensors_find(t, name))
            return fail(err, SAEURON_EFORMAT, "%s: weight_map lists tensor %s, which none of its files has: fetch them again", t->path, name);
    return SAEURON_OK;
}

/* {"metadata": ..., "weight_map": {TENSOR: FILE, ...}}      (transformers, diffusers: sharded checkpoints) */
static int open_index(tensors *t, saeuron_error *err)
{
    io_file index;
    json root, map;
    int code = io_open(&index, t->host, t->path, err);
    if (code)
        return code;
    code = json_open(&root, (const char *)index.data, index.size, t->path, err);
    if (!code && (!json_get(root, "weight_map", &map) || json_kind(map) != '{'))
        code = fail(err, SAEURON_EFORMAT, "%s: has no weight_map: it is no index of a sharded model", t->path);
    if (!code)
        code = alloc_files(t, SHARDS_MAX, err);
    if (!code)
        code = open_shards(t, map, err);
    if (!code)
        code = bind_files(t, err);
    if (!code)
        code = check_map(t, map, err);
    io_close(&index);
    return code;
}

static int open_single(tensors *t, saeuron_error *err)
{
    int code = alloc_files(t, 1, err);
    if (!code)
        code = io_open(&t->files[0], t->host, t->path, err);
    if (code)
        return code;
    t->file_count = 1;
    return bind_files(t, err);
}

int tensors_open(tensors *t, const saeuron_host *host, const char *path, saeuron_error *err)
{
    const size_t n = strlen(path);
    *t = (tensors){ .host = host };
    int code = copy_path(t->path, sizeof t->path, path, err);
    if (!code)
        code = n > 5 && !strcmp(path + n - 5, ".json") ? open_index(t, err) : open_single(t, err);
    if (code)
        tensors_close(t);
    return code;
}

/* Whether DIR/STEM + ending is there; its path into path. */
static int find_file(char *path, size_t size, const saeuron_host *host, const char *dir, const char *stem, const char *ending, bool *there, saeuron_error *err)
{
    char name[256];
    snprintf(name, sizeof name, "%s%s", stem, ending);
    if (!io_join(path, size, dir, name))
        return fail(err, SAEURON_EUSAGE, "%.60s...: this path is too long", dir);
    *there = io_exists(host, path);
    return SAEURON_OK;
}

/* What a folder without any of our endings may have instead, said so that the person knows what to do. */
static int no_weights(const saeuron_host *host, const char *dir, const char *stem, saeuron_error *err)
{
    /* torch.save's names; transformers calls its file pytorch_model, whatever the safetensors one is called. */
    static const char *const pickles[] = { ".bin", ".fp16.bin", ".bin.index.json", ".non_ema.bin", ".ckpt", ".pt", ".pth" };
    const char *const stems[] = { stem, "pytorch_model" };
    char path[1024];
    bool there = false;
    int  code;
    if ((code = find_file(path, sizeof path, host, dir, stem, ".non_ema.safetensors", &there, err)) != SAEURON_OK)
        return code;
    if (there)
        return fail(err, SAEURON_ENOENT, "%s: holds training's own weights, which diffusers takes only when asked for: rename it to %s.safetensors to mean them", path, stem);
    for (size_t i = 0; i < sizeof pickles / sizeof *pickles; i++)
        for (size_t j = 0; j < 2; j++) {
            if ((code = find_file(path, sizeof path, host, dir, stems[j], pickles[i], &there, err)) != SAEURON_OK)
                return code;
            if (there)
                return fail(err, SAEURON_ENOENT, "%s: is a pickle, which is never opened here: convert the folder with docs/convert.py", path);
        }
    return fail(err, SAEURON_ENOENT, "%s: there is no %s.safetensors, no %s.fp16.safetensors and no index of one: is this a diffusers folder?", dir, stem, stem);
}

int tensors_open_model(tensors *t, const saeuron_host *host, const char *dir, const char *stem, saeuron_error *err)
{
    /* Where a folder has a whole file and an index, transformers (STEM model) takes the file, diffusers the index. */
    static const char *const endings[2][6] = {
        { ".safetensors", ".safetensors.index.json",
          ".fp16.safetensors", ".safetensors.index.fp16.json", ".fp16.safetensors.index.json", ".safetensors.fp16.index.json" },
        { ".safetensors.index.json", ".safetensors",
          ".safetensors.index.fp16.json", ".fp16.safetensors.index.json", ".safetensors.fp16.index.json", ".fp16.safetensors" },
    };
    const bool index_first = !strcmp(stem, "diffusion_pytorch_model");
    char path[sizeof t->path];
    *t = (tensors){ .host = host };
    for (size_t i = 0; i < 6; i++) {
        bool there = false;
        const int code = find_file(path, sizeof path, host, dir, stem, endings[index_first][i], &there, err);
        if (code || there)
            return code ? code : tensors_open(t, host, path, err);
    }
    return no_weights(host, dir, stem, err);
}

void tensors_close(tensors *t)
{
    for (size_t i = 0; i < t->file_count; i++)
        io_close(&t->files[i]);
    io_free(t->host, t->files);
    io_free(t->host, t->memory);
    *t = (tensors){ .host = t->host };
}

void tensors_release(const tensors *t)
{
    for (size_t i = 0; i < t->file_count; i++)
        io_release(&t->files[i]);
}

tensor *tensors_find(const tensors *t, const char *name)
{
    size_t low = 0, high = t->count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        const int order = strcmp(t->list[middle].name, name);
        if (order == 0)
            return &t->list[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

/* ---- safetensors: writing ---- */

/* Text put together twice: once to measure (out NULL), once to fill. */
typedef struct text { char *out; size_t size, n; } text;

static void put(text *t, const char *s)
{
    for (; *s; s++, t->n++)
        if (t->n < t->size)
            t->out[t->n] = *s;
}

static void put_quoted(text *t, const char *s)
{
    const bool room = t->n <= t->size && t->out;
    t->n += json_quote(room ? t->out + t->n : NULL, room ? t->size - t->n : 0, s);
}

static void put_size(text *t, size_t x)
{
    char digits[24];
    snprintf(digits, sizeof digits, "%zu", x);
    put(t, digits);
}

const char *io_dtype_name(dtype type)
{
    for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++)
        if (dtypes[i].type == type)
            return dtypes[i].name;
    return "?";
}

/* Elements of o; false when there are more than any memory. */
static bool out_count(const tensor_out *o, size_t *count)
{
    *count = 1;
    for (int i = 0; i < o->ndim; i++)
        if (!nn_mul(*count, o->shape[i], count))
            return false;
    return true;
}

/* The header, its end padded with spaces to a multiple of 8. Sizes were checked. */
static void put_header(text *t, const tensor_out *list, size_t count, const char *const *metadata)
{
    const char *comma = "";
    size_t at = 0, n;
    put(t, "{");
    if (metadata && metadata[0]) {
        put(t, "\"__metadata__\":{");
        for (const char *const *m = metadata; m[0]; m += 2) {
            put(t, m == metadata ? "" : ",");
            put_quoted(t, m[0]);
            put(t, ":");
            put_quoted(t, m[1]);
        }
        put(t, "}");
        comma = ",";
    }
    for (size_t i = 0; i < count; i++, comma = ",") {
        out_count(&list[i], &n);
        put(t, comma);
        put_quoted(t, list[i].name);
        put(t, ":{\"dtype\":\"");
        put(t, io_dtype_name(list[i].type));
        put(t, "\",\"shape\":[");
        for (int d = 0; d < list[i].ndim; d++) {
            put(t, d ? "," : "");
            put_size(t, list[i].shape[d]);
        }
        put(t, "],\"data_offsets\":[");
        put_size(t, at);
        put(t, ",");
        put_size(t, at += n * dtype_size(list[i].type));
        put(t, "]}");
    }
    put(t, "}");
    while (t->n % 8)
        put(t, " ");
}

/* raw: tensors of whole numbers and bytes, which the caller writes himself, may be among them. */
static int check_out(const char *path, const tensor_out *list, size_t count, bool raw, saeuron_error *err)
{
    size_t total = 0, n, bytes;
    for (size_t i = 0; i < count; i++) {
        const tensor_out *o = &list[i];
        if (o->type != DT_F32 && o->type != DT_F16 && !(raw && (o->type == DT_I64 || o->type == DT_U8)))
            return fail(err, SAEURON_EUSAGE, "%s: tensor %s: only F32 and F16 are written", path, o->name);
        if (!*o->name || strlen(o->name) > NAME_MAX_BYTES || !strcmp(o->name, "__metadata__"))
            return fail(err, SAEURON_EUSAGE, "%s: \"%s\" cannot name a tensor: choose 1 to %d bytes", path, o->name, NAME_MAX_BYTES);
        for (size_t j = 0; j < i; j++)
            if (!strcmp(list[j].name, o->name))
                return fail(err, SAEURON_EUSAGE, "%s: two tensors are called %s", path, o->name);
        if (o->ndim < 0 || o->ndim > TENSOR_DIMS || !out_count(o, &n) || !nn_mul(n, dtype_size(o->type), &bytes) || bytes > SIZE_MAX - total)
            return fail(err, SAEURON_EUSAGE, "%s: tensor %s: impossible shape", path, o->name);
        total += bytes;
    }
    return SAEURON_OK;
}

/* The value as stored, little-endian. SAEURON_ENAN when it is not finite or F16 has no such number. */
static int put_value(unsigned char *p, dtype type, float x)
{
    uint32_t bits;
    uint16_t half;
    if (!(x >= -FLT_MAX && x <= FLT_MAX))
        return SAEURON_ENAN;
    if (type == DT_F16) {
        if (!nn_f32_to_f16(&half, x))
            return SAEURON_ENAN;
        put_le(p, half, 2);
    } else {
        memcpy(&bits, &x, 4);
        put_le(p, bits, 4);
    }
    return SAEURON_OK;
}

int tensors_put(io_out *out, const tensor_out *o, size_t first, const float *values, size_t n, saeuron_error *err)
{
    unsigned char buffer[4096];
    const size_t size = dtype_size(o->type), room = sizeof buffer / size;
    char digits[32];
    int code = SAEURON_OK;
    for (size_t i = 0; i < n && !code;) { /* through a small buffer */
        const size_t some = n - i < room ? n - i : room;
        for (size_t j = 0; j < some; j++)
            if (put_value(buffer + j * size, o->type, values[i + j])) {
                io_format_float(digits, sizeof digits, values[i + j]);
                return fail(err, SAEURON_ENAN, "%s: tensor %s: element %zu is %s, which %s cannot hold", out->path, o->name, first + i + j, digits,
                            o->type == DT_F16 ? "F16" : "a model");
            }
        code = io_out_write(out, buffer, some * size, err);
        i += some;
    }
    return code;
}

int tensors_put_whole(io_out *out, const uint64_t *values, size_t n, saeuron_error *err)
{
    unsigned char buffer[4096];
    int code = SAEURON_OK;
    for (size_t i = 0, some; i < n && !code; i += some) {
        some = n - i < sizeof buffer / 8 ? n - i : sizeof buffer / 8;
        for (size_t j = 0; j < some; j++)
            put_le(buffer + 8 * j, values[i + j], 8);
        code = io_out_write(out, buffer, 8 * some, err);
    }
    return code;
}

int tensors_begin(io_out *out, const saeuron_host *host, const char *path, const tensor_out *list, size_t count, const char *const *metadata, saeuron_error *err)
{
    text header = { NULL, 0, 0 };
    unsigned char size[8];
    *out = (io_out){ .file = NULL };
    int code = check_out(path, list, count, true, err);
    for (const char *const *m = metadata; m && m[0] && !code; m += 2)
        if (!*m[0])
            code = fail(err, SAEURON_EUSAGE, "%s: a key of its metadata is empty", path);
    if (code)
        return code;
    put_header(&header, list, count, metadata);
    header = (text){ io_alloc(host, header.n, 1), header.n, 0 };
    if (!header.out)
        return no_memory(err, path, "its header");
    put_header(&header, list, count, metadata);
    put_le(size, header.n, 8);
    code = io_out_open(out, path, err);
    if (!code)
        code = io_out_write(out, size, 8, err);
    if (!code)
        code = io_out_write(out, header.out, header.n, err);
    if (code)
        io_out_abort(out);
    io_free(host, header.out);
    return code;
}

int tensors_save(const saeuron_host *host, const char *path, const tensor_out *list, size_t count, const char *const *metadata, saeuron_error *err)
{
    io_out out = { .file = NULL };
    int code = check_out(path, list, count, false, err);
    if (!code)
        code = tensors_begin(&out, host, path, list, count, metadata, err);
    for (size_t i = 0, n; i < count && !code; i++) {
        out_count(&list[i], &n);
        code = tensors_put(&out, &list[i], 0, list[i].values, n, err);
    }
    if (!code)
        code = io_out_commit(&out, err);
    if (code)
        io_out_abort(&out);
    return code;
}

/* ---- .npy ---- */

/* Where in the header's text we are. The header is a Python literal: {'descr': '<f4', 'fortran_order': False,
 * 'shape': (3, 4), }, its keys in any order                                       (numpy.lib.format) */
typedef struct npy_scan { const char *at, *end; } npy_scan;

/* Passes spaces, then s if it is there. */
static bool npy_take(npy_scan *p, const char *s)
{
    const size_t n = strlen(s);
    while (p->at < p->end && (*p->at == ' ' || *p->at == '\n'))
        p->at++;
    if ((size_t)(p->end - p->at) < n || memcmp(p->at, s, n) != 0)
        return false;
    p->at += n;
    return true;
}

/* (3, 4), (3,) or () */
static bool npy_shape(npy_scan *p, size_t shape[TENSOR_DIMS], int *ndim)
{
    *ndim = 0;
    if (!npy_take(p, "("))
        return false;
    while (!npy_take(p, ")")) {
        size_t x = 0;
        const char *start = (npy_take(p, ""), p->at);
        for (; p->at < p->end && *p->at >= '0' && *p->at <= '9'; p->at++) {
            const size_t digit = (size_t)(*p->at - '0');
            if (x > (SIZE_MAX - digit) / 10)
                return false;
            x = 10 * x + digit;
        }
        if (p->at == start || *ndim == TENSOR_DIMS)
            return false;
        shape[(*ndim)++] = x;
        if (!npy_take(p, ",")) /* after the only or last size, then, the parenthesis */
            return npy_take(p, ")");
    }
    return true;
}

static int npy_header(npy_scan *p, dtype *type, size_t shape[TENSOR_DIMS], int *ndim, const char *path, saeuron_error *err)
{
    unsigned seen = 0;
    if (!npy_take(p, "{"))
        return fail(err, SAEURON_EFORMAT, "%s: its header is no dictionary: save it again with numpy.save", path);
    while (!npy_take(p, "}")) {
        if (npy_take(p, "'descr':")) {
            *type = npy_take(p, "'<f4'") ? DT_F32 : npy_take(p, "'<f2'") ? DT_F16 : npy_take(p, "'<f8'") ? DT_F64 : DT_NONE;
            if (*type == DT_NONE)
                return fail(err, SAEURON_EFORMAT, "%s: its dtype is none of <f2, <f4, <f8: save it again after .astype('<f4')", path);
            seen |= 1;
        } else if (npy_take(p, "'fortran_order':")) {
            if (!npy_take(p, "False"))
                return fail(err, SAEURON_EFORMAT, "%s: is in Fortran order: save it again after numpy.ascontiguousarray", path);
            seen |= 2;
        } else if (npy_take(p, "'shape':")) {
            if (!npy_shape(p, shape, ndim))
                return fail(err, SAEURON_EFORMAT, "%s: its shape cannot be read (at most %d dimensions): save it again with numpy.save", path, TENSOR_DIMS);
            seen |= 4;
        } else
            return fail(err, SAEURON_EFORMAT, "%s: its header is damaged: save it again with numpy.save", path);
        npy_take(p, ",");
    }
    if (seen != 7)
        return fail(err, SAEURON_EFORMAT, "%s: its header lacks descr, fortran_order or shape: save it again with numpy.save", path);
    return SAEURON_OK;
}

/* Element i as float32. A double is rounded to nearest; what float32 cannot hold becomes an infinity, found later. */
static float npy_value(const unsigned char *p, dtype type)
{
    const uint64_t bits = get_le(p, (int)dtype_size(type));
    const uint32_t low = (uint32_t)bits;
    double d;
    float  f;
    if (type == DT_F16)
        return nn_f16_to_f32((uint16_t)bits);
    memcpy(&f, &low, 4);
    memcpy(&d, &bits, 8);
    if (type == DT_F64)
        f = d != d ? NAN : fabs(d) >= 0x1.ffffffp127 ? INFINITY : (float)d;
    return f;
}

/* The parts of an open file: type, shape, and where its data lies; checks that its length is right to the byte. */
static int npy_parts(const io_file *f, dtype *type, size_t shape[TENSOR_DIMS], int *ndim, size_t *count, const unsigned char **data, saeuron_error *err)
{
    size_t bytes;
    if (f->size < 12 || memcmp(f->data, "\x93NUMPY", 6) != 0)
        return fail(err, SAEURON_EFORMAT, "%s: is no .npy file", f->path);
    const int version = f->data[6];
    if ((version != 1 && version != 2) || f->data[7] != 0)
        return fail(err, SAEURON_EFORMAT, "%s: is .npy version %d.%d; 1.0 and 2.0 are read: save it again", f->path, version, f->data[7]);
    const size_t start = version == 1 ? 10 : 12;
    const uint64_t length = get_le(f->data + 8, version == 1 ? 2 : 4);
    if (length > f->size - start)
        return fail(err, SAEURON_EFORMAT, "%s: ends inside its header: it was cut short, make it again", f->path);
    npy_scan scan = { (const char *)f->data + start, (const char *)f->data + start + length };
    const int code = npy_header(&scan, type, shape, ndim, f->path, err);
    if (code)
        return code;
    *count = 1;
    for (int i = 0; i < *ndim; i++)
        if (!nn_mul(*count, shape[i], count))
            return fail(err, SAEURON_EFORMAT, "%s: its shape has more elements than any memory", f->path);
    *data = f->data + start + length;
    const size_t have = f->size - start - (size_t)length;
    if (!nn_mul(*count, dtype_size(*type), &bytes) || bytes != have)
        return fail(err, SAEURON_EFORMAT, "%s: its shape needs %zu elements, but %zu bytes follow the header: it was cut short, make it again", f->path, *count, have);
    return SAEURON_OK;
}

int npy_load(const saeuron_host *host, const char *path, float **values, size_t shape[TENSOR_DIMS], int *ndim, saeuron_error *err)
{
    io_file f;
    dtype type = DT_NONE;
    size_t count;
    const unsigned char *data = NULL;
    *values = NULL;
    int code = io_open(&f, host, path, err);
    if (code)
        return code;
    code = npy_parts(&f, &type, shape, ndim, &count, &data, err);
    if (!code && !(*values = io_alloc(host, count, sizeof(float))))
        code = no_memory(err, path, "its values");
    if (!code) {
        for (size_t i = 0; i < count; i++)
            (*values)[i] = npy_value(data + i * dtype_size(type), type);
        const size_t bad = nn_first_bad(*values, count);
        if (bad < count)
            code = fail(err, SAEURON_ENAN, "%s: element %zu is not a finite float32: look where it was made", path, bad);
    }
    if (code) {
        io_free(host, *values);
        *values = NULL;
    }
    io_close(&f);
    return code;
}

/* The 10 bytes before the header and the header itself, as numpy.save writes them: room for the first dimension to grow
 * to 21 digits, then spaces and a newline to a multiple of 64. Returns their length; out [512]. */
static size_t npy_put_header(char *out, const size_t *shape, int ndim)
{
    text t = { out, 512, 10 };
    put(&t, "{'descr': '<f4', 'fortran_order': False, 'shape': (");
    size_t grow = 21;
    for (int i = 0; i < ndim; i++) {
        const size_t before = t.n;
        put_size(&t, shape[i]);
        if (i == 0)
            grow -= t.n - before;
        put(&t, ndim == 1 ? "," : i < ndim - 1 ? ", " : "");
    }
    put(&t, "), }");
    for (; ndim > 0 && grow > 0; grow--)
        put(&t, " ");
    while ((t.n + 1) % 64)
        put(&t, " ");
    put(&t, "\n");
    memcpy(out, "\x93NUMPY\x01", 8); /* and the minor version, 0 */
    put_le((unsigned char *)out + 8, t.n - 10, 2);
    return t.n;
}

int npy_save(const saeuron_host *host, const char *path, const float *values, const size_t *shape, int ndim, saeuron_error *err)
{
    char header[512];
    unsigned char buffer[4096];
    size_t count = 1, bytes;
    io_out out;
    (void)host;
    for (int i = 0; i < ndim; i++)
        if (i == TENSOR_DIMS || !nn_mul(count, shape[i], &count))
            return fail(err, SAEURON_EUSAGE, "%s: impossible shape", path);
    if (!nn_mul(count, 4, &bytes))
        return fail(err, SAEURON_EUSAGE, "%s: impossible shape", path);
    int code = io_out_open(&out, path, err);
    if (!code)
        code = io_out_write(&out, header, npy_put_header(header, shape, ndim), err);
    for (size_t i = 0; i < count && !code;) {
        size_t n = 0;
        for (; n < sizeof buffer && i < count; n += 4, i++) {
            uint32_t bits;
            memcpy(&bits, &values[i], 4);
            put_le(buffer + n, bits, 4);
        }
        code = io_out_write(&out, buffer, n, err);
    }
    return code ? code : io_out_commit(&out, err);
}

/* ---- the operating system ---- */

static volatile sig_atomic_t interrupted; /* the only mutable global: a signal handler can reach nothing else */

bool os_interrupted(void) { return interrupted != 0; }

#ifndef SAEURON_PLAIN_C

static int os_map(io_file *f, saeuron_error *err)
{
    struct stat s;
    const int fd = open(f->path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return read_failed(f->path, err);
    int code = SAEURON_OK;
    if (fstat(fd, &s) != 0)
        code = read_failed(f->path, err);
    else if (S_ISDIR(s.st_mode))
        code = fail(err, SAEURON_EIO, "%s: is a folder, a file was expected", f->path);
    else if (S_ISREG(s.st_mode) && s.st_size > 0 && (uintmax_t)s.st_size <= SIZE_MAX) {
        void *data = mmap(NULL, (size_t)s.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (data != MAP_FAILED) {
            f->data = data;
            f->size = (size_t)s.st_size;
            f->origin = IO_MAPPED;
        }
    }
    close(fd);
    return code;
}

static void os_unmap(io_file *f) { munmap((void *)(uintptr_t)f->data, f->size); }

/* A hint, so its failure is nobody's. The system's file cache keeps the pages. */
static void os_release(const io_file *f)
{
#ifdef MADV_DONTNEED
    madvise((void *)(uintptr_t)f->data, f->size, MADV_DONTNEED);
#else
    (void)f;
#endif
}

/* All of p [n] will be used: in larger pages, where there are such, it is cleared and found faster. */
static void os_expect(void *p, size_t n)
{
#ifdef MADV_HUGEPAGE
    const uintptr_t page = 4096, from = ((uintptr_t)p + page - 1) / page * page, to = ((uintptr_t)p + n) / page * page;
    madvise((void *)from, to - from, MADV_HUGEPAGE);
#else
    (void)p, (void)n;
#endif
}

static int os_create(io_out *o, saeuron_error *err)
{
    struct stat s;
    if (stat(o->path, &s) == 0 && !S_ISREG(s.st_mode)) {
        if (S_ISDIR(s.st_mode))
            return fail(err, SAEURON_EIO, "%s: is a folder, a file was expected", o->path);
        o->file = fopen(o->path, "wb");
        return o->file ? SAEURON_OK : write_failed(o, err);
    }
    for (int attempt = 0; attempt < 1000; attempt++) {
        snprintf(o->temporary, sizeof o->temporary, "%s.tmp-%ld-%d", o->path, (long)getpid(), attempt);
        const int fd = open(o->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (fd >= 0) {
            o->file = fdopen(fd, "wb");
            if (o->file)
                return SAEURON_OK;
            close(fd);
            return write_failed(o, err);
        }
        if (errno != EEXIST)
            break;
    }
    o->temporary[0] = 0; /* not ours to remove */
    if (errno == ENOENT)
        return fail(err, SAEURON_ENOENT, "%s: cannot be written: its folder does not exist", o->path);
    return write_failed(o, err);
}

static int os_sync(FILE *f) { return fsync(fileno(f)); }
static int os_rename(const char *from, const char *to) { return rename(from, to); }

int io_make_dir(const char *path, saeuron_error *err)
{
    char part[1024];
    struct stat s;
    int code = copy_path(part, sizeof part, path, err);
    if (code)
        return code;
    for (char *p = part + 1; *part; p++) {
        const char c = *p;
        if (c != '/' && c != 0)
            continue;
        *p = 0;
        if (mkdir(part, 0777) != 0 && errno != EEXIST && !(stat(part, &s) == 0 && S_ISDIR(s.st_mode)))
            return fail(err, SAEURON_EIO, "%s: the folder cannot be made: %s", part, strerror(errno));
        *p = c;
        if (!c)
            break;
    }
    if (*part && stat(part, &s) == 0 && !S_ISDIR(s.st_mode))
        return fail(err, SAEURON_EIO, "%s: is a file, a folder was expected", path);
    return SAEURON_OK;
}

double os_seconds(void)
{
    struct timespec t;
    return clock_gettime(CLOCK_MONOTONIC, &t) == 0 ? (double)t.tv_sec + 1e-9 * (double)t.tv_nsec : 0;
}

int os_terminal_width(void)
{
    struct winsize w;
    return isatty(STDERR_FILENO) && ioctl(STDERR_FILENO, TIOCGWINSZ, &w) == 0 ? (w.ws_col ? w.ws_col : 80) : 0;
}

static void on_interrupt(int number)
{
    (void)number;
    interrupted = 1;
}

void os_catch_interrupt(void)
{
    struct sigaction a;
    memset(&a, 0, sizeof a);
    a.sa_handler = on_interrupt;
    a.sa_flags = (int)SA_RESETHAND; /* the second one finds the default again */
    sigaction(SIGINT, &a, NULL);
    sigaction(SIGTERM, &a, NULL);
#ifdef SIGXFSZ
    signal(SIGXFSZ, SIG_IGN); /* a file at its limit is a failed write, which can be reported */
#endif
}

int os_cores(void)
{
#ifdef _SC_NPROCESSORS_ONLN
    const long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n > 0 && n < 100000 ? (int)n : 1;
#else
    return 1;
#endif
}

#else /* plain C99: files are read, never mapped; no folders, terminals or cores are known of */

static int os_map(io_file *f, saeuron_error *err)
{
    (void)f, (void)err;
    return SAEURON_OK;
}

static void os_unmap(io_file *f) { (void)f; }
static void os_release(const io_file *f) { (void)f; }
static void os_expect(void *p, size_t n) { (void)p, (void)n; }

static int os_create(io_out *o, saeuron_error *err)
{
    snprintf(o->temporary, sizeof o->temporary, "%s.tmp-%08lx", o->path, (unsigned long)time(NULL) & 0xFFFFFFFFul);
    errno = EIO;
    o->file = fopen(o->temporary, "wb");
    if (o->file)
        return SAEURON_OK;
    o->temporary[0] = 0;
    return write_failed(o, err);
}

static int os_sync(FILE *f)
{
    (void)f;
    return 0;
}

/* C99 leaves open whether rename replaces a file; where it does not, the old one goes first. */
static int os_rename(const char *from, const char *to)
{
    if (rename(from, to) == 0)
        return 0;
    remove(to);
    return rename(from, to);
}

/* C99 cannot make a folder: the person must. A file written and removed tells whether it is there. */
int io_make_dir(const char *path, saeuron_error *err)
{
    char probe[1024];
    FILE *f = io_join(probe, sizeof probe, path, "saeuron.tmp") ? fopen(probe, "wb") : NULL;
    if (!f)
        return fail(err, SAEURON_EIO, "%s: no file can be made in this folder: make the folder first (this build cannot)", path);
    fclose(f);
    remove(probe);
    return SAEURON_OK;
}

double os_seconds(void) { return (double)time(NULL); }
int os_terminal_width(void) { return 0; }
int os_cores(void) { return 1; }

static void on_interrupt(int number)
{
    interrupted = 1;
    signal(number, SIG_DFL);
}

void os_catch_interrupt(void) { signal(SIGINT, on_interrupt); }

#endif
