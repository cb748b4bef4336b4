/* tensors.c: safetensors: files and sharded sets read into a sorted list of views; tensors written.
 *
 *   path --io_open--> bytes --header: JSON, every length checked--> tensors     values --tensors_save--> path
 *
 * Not here: what a tensor means (the networks), the texts beside tensors (metadata.c).
 * Source: the safetensors format (github.com/huggingface/safetensors, README "Format"). */
#include "files/tensors.h"
#include "arithmetic/memory.h"
#include "arithmetic/rng.h"
#include "files/bytes.h"
#include "files/decimal.h"
#include "files/print.h"
#include "files/sort.h"
#include "files/text.h"

#include <float.h>
#include <inttypes.h>
#include <string.h>

static int no_memory(saeuron_error *err, const char *path, const char *what)
{
    return fail(err, SAEURON_ENOMEM, "%s: not enough memory for %s", path, what);
}

/* ---- reading ---- */

#define HEADER_MAX 100000000u /* the limit of the reference implementation */
#define NAME_MAX_BYTES 255
#define SHARDS_MAX 1000

static const struct { const char *name; dtype type; } dtypes[] = {
    { "F32", DT_F32 }, { "F16", DT_F16 }, { "BF16", DT_BF16 }, { "F64", DT_F64 }, { "I64", DT_I64 },
    { "I32", DT_I32 }, { "I16", DT_I16 }, { "I8", DT_I8 }, { "U8", DT_U8 }, { "BOOL", DT_BOOL },
};

/* Empty tensors stand before one that begins at the same byte. */
static bool by_place(const void *a, const void *b)
{
    const tensor *x = a, *y = b;
    return x->data != y->data ? x->data < y->data : x->bytes < y->bytes;
}

/* What is wrong with t that only a damaged file has. */
static int damaged(const tensor *t, const char *what, const char *path, saeuron_error *err)
{
    return fail(err, SAEURON_EFORMAT, "%s: tensor %s: %s: the file is damaged, fetch it again",
                path, t->name, what);
}

/* The shape of t from a JSON array of sizes; its product into t->count. */
static int read_shape(tensor *t, json shape, const char *path, saeuron_error *err)
{
    json value;
    int64_t size;
    t->count = 1;
    t->ndim = 0;
    if (json_kind(shape) != '[')
        return damaged(t, "its shape is no list", path, err);
    for (json_iter it = json_begin(shape); json_next(&it, NULL, &value);) {
        if (t->ndim == TENSOR_DIMS)
            return fail(err, SAEURON_EFORMAT, "%s: tensor %s has more than %d dimensions, as no model has",
                        path, t->name, TENSOR_DIMS);
        if (!json_integer(value, &size) || size < 0 || (uint64_t)size > SIZE_MAX)
            return fail(err, SAEURON_EFORMAT,
                        "%s: tensor %s: dimension %d is no possible size: the file is damaged, "
                        "fetch it again", path, t->name, t->ndim);
        t->shape[t->ndim++] = (size_t)size;
        if (!nn_mul(t->count, (size_t)size, &t->count))
            return damaged(t, "its shape has more elements than any memory", path, err);
    }
    return SAEURON_OK;
}

/* The byte range of t from data_offsets, within data[0..data_size), and as long as its type and shape say. */
static int read_offsets(tensor *t, json offsets, const unsigned char *data, size_t data_size,
                        const char *path, saeuron_error *err)
{
    json value[2];
    int64_t at[2];
    size_t bytes;
    json_iter it = json_begin(offsets);
    if (json_length(offsets) != 2 || !json_next(&it, NULL, &value[0]) || !json_next(&it, NULL, &value[1]) ||
        !json_integer(value[0], &at[0]) || !json_integer(value[1], &at[1]) || at[0] < 0 || at[1] < at[0])
        return damaged(t, "data_offsets is not [begin, end]", path, err);
    if ((uint64_t)at[1] > data_size)
        return fail(err, SAEURON_EFORMAT,
                    "%s: tensor %s ends at byte %" PRId64 " of the data, but the file has %zu: "
                    "it was cut short, fetch it again", path, t->name, at[1], data_size);
    if (!nn_mul(t->count, dtype_size(t->type), &bytes) || bytes != (size_t)(at[1] - at[0]))
        return damaged(t, "its length does not fit its shape and dtype", path, err);
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
        return fail(err, SAEURON_EFORMAT,
                    "%s: tensor %s has dtype %s; known are F64 F32 F16 BF16 I64 I32 I16 I8 U8 BOOL: "
                    "convert it", path, t->name, text);
    return SAEURON_OK;
}

/* One member of the header, its name already in t. */
static int read_tensor(tensor *t, json entry, const unsigned char *data, size_t data_size, const char *path,
                       saeuron_error *err)
{
    json field[3] = { { NULL, NULL }, { NULL, NULL }, { NULL, NULL } }, key, value;
    if (json_kind(entry) != '{')
        return damaged(t, "its entry is no object", path, err);
    for (json_iter it = json_begin(entry); json_next(&it, &key, &value);) {
        if (json_equals(key, "dtype"))
            field[0] = value;
        else if (json_equals(key, "shape"))
            field[1] = value;
        else if (json_equals(key, "data_offsets"))
            field[2] = value;
        else
            return fail(err, SAEURON_EFORMAT,
                        "%s: tensor %s: its entry has an unknown field: "
                        "only dtype, shape and data_offsets may be there", path, t->name);
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
            return fail(err, SAEURON_EFORMAT,
                        "%s: __metadata__ has a value that is no text: save the file again", path);
    return SAEURON_OK;
}

/* The header of an open file: its JSON into *header, where the data begins into *data_at. */
static int open_header(const io_file *f, json *header, size_t *data_at, saeuron_error *err)
{
    if (f->size < 8)
        return fail(err, SAEURON_EFORMAT,
                    "%s: %zu bytes are no safetensors file: it was cut short, fetch it again",
                    f->path, f->size);
    const uint64_t n = get_le(f->data, 8);
    if (n > HEADER_MAX)
        return fail(err, SAEURON_EFORMAT, "%s: a header of %" PRIu64 " bytes: this is no safetensors file",
                    f->path, n);
    if (n > f->size - 8)
        return fail(err, SAEURON_EFORMAT,
                    "%s: the header alone needs %" PRIu64 " bytes, but the file has %zu: "
                    "it was cut short, fetch it again", f->path, n + 8, f->size);
    *data_at = 8 + (size_t)n;
    const int code = json_open(header, (const char *)f->data + 8, (size_t)n, f->path, err);
    if (code)
        return code;
    if (header->at != (const char *)f->data + 8 || *header->at != '{')
        return fail(err, SAEURON_EFORMAT,
                    "%s: its header does not begin with '{': this is no safetensors file", f->path);
    return SAEURON_OK;
}

/* Tensors in place order must cover the data without overlap or hole. */
static int check_cover(tensor *list, size_t n, const unsigned char *data, size_t data_size, const char *path,
                       saeuron_error *err)
{
    const unsigned char *end = data;
    sort_list(list, n, sizeof *list, by_place);
    for (size_t i = 0; i < n; end = list[i].data + list[i].bytes, i++)
        if (list[i].data != end)
            return fail(err, SAEURON_EFORMAT,
                        "%s: tensor %s begins at byte %zu of the data, but the one before it ends at %zu: "
                        "the file is damaged, fetch it again",
                        path, list[i].name, (size_t)(list[i].data - data), (size_t)(end - data));
    if (end != data + data_size)
        return fail(err, SAEURON_EFORMAT,
                    "%s: its tensors end at byte %zu of the data, but the file has %zu: "
                    "it is damaged, fetch it again",
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
        if (!json_string(key, *names, NAME_MAX_BYTES + 1, &length) || !length)
            return fail(err, SAEURON_EFORMAT,
                        "%s: the name of tensor %zu is empty, longer than %d bytes or holds a zero: "
                        "rename it", f->path, t->count - first, NAME_MAX_BYTES);
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
    size_t count = 0, bytes, name_bytes = NAME_MAX_BYTES + 1; /* room to read a name that is then refused */
    int code = SAEURON_OK;
    for (size_t i = 0; i < t->file_count && !code; i++)
        code = measure_header(&t->files[i], &count, &name_bytes, err);
    if (code)
        return code;
    if (nn_mul(count, sizeof(tensor), &bytes) && bytes <= SIZE_MAX - name_bytes)
        t->memory = io_alloc(t->host, bytes + name_bytes, 1);
    if (!t->memory)
        return no_memory(err, t->path, "the list of its tensors");
    t->list = t->memory;
    char *names = (char *)t->memory + bytes;
    for (size_t i = 0; i < t->file_count && !code; i++)
        code = read_tensors(t, &t->files[i], &names, err);
    if (code)
        return code;
    sort_by_name(t->list, t->count, sizeof *t->list);
    for (size_t i = 1; i < t->count; i++)
        if (!strcmp(t->list[i - 1].name, t->list[i].name))
            return fail(err, SAEURON_EFORMAT, "%s: tensor %s is there twice: save the model again",
                        t->path, t->list[i].name);
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

/* The folder of t->path, followed by name, into out [size]. */
static int beside(const tensors *t, const char *name, char *out, size_t size, saeuron_error *err)
{
    const size_t n = io_folder(t->path);
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
        return fail(err, SAEURON_EFORMAT,
                    "%s: weight_map names the file \"%s\"; only files in the same folder are allowed",
                    t->path, name);
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
            return fail(err, SAEURON_EFORMAT, "%s: weight_map must give a file name for each tensor",
                        t->path);
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
            return fail(err, SAEURON_EFORMAT,
                        "%s: weight_map lists tensor %s, which none of its files has: fetch them again",
                        t->path, name);
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
        code = fail(err, SAEURON_EFORMAT, "%s: has no weight_map: it is no index of shards", t->path);
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
    int code = io_copy_path(t->path, sizeof t->path, path, err);
    if (!code)
        code = n > 5 && !strcmp(path + n - 5, ".json") ? open_index(t, err) : open_single(t, err);
    if (code)
        tensors_close(t);
    return code;
}

/* Whether DIR/STEM + ending is there; its path into path. Also true, with an error in *code, when the path is
 * too long. */
static bool find_file(char path[1024], const saeuron_host *host, const char *dir, const char *stem,
                      const char *ending, int *code, saeuron_error *err)
{
    char name[256];
    print_into(name, sizeof name, "%s%s", stem, ending);
    if (io_join(path, 1024, dir, name))
        return io_exists(host, path);
    *code = fail(err, SAEURON_EUSAGE, "%.60s...: this path is too long", dir);
    return true;
}

/* Of a folder without any of the files that are looked for: says what to do. */
static int no_weights(const saeuron_host *host, const char *dir, const char *stem, const char *pickled,
                      saeuron_error *err)
{
    char path[1024];
    int  code = SAEURON_OK;
    if (find_file(path, host, dir, stem, ".non_ema.safetensors", &code, err))
        return code ? code : fail(err, SAEURON_ENOENT,
                                  "%s: holds training's own weights, which diffusers takes only when asked: "
                                  "rename it to %s.safetensors to mean them", path, stem);
    if (find_file(path, host, dir, pickled, ".non_ema.bin", &code, err))
        return code ? code : fail(err, SAEURON_ENOENT,
                                  "%s: holds training's own weights, which diffusers takes only when asked: "
                                  "rename it to %s.bin to mean them, and convert it with docs/convert.py",
                                  path, pickled);
    return fail(err, SAEURON_ENOENT,
                "%s: there is no %s.safetensors, no %s.fp16.safetensors and no index of one: "
                "is this a diffusers folder?", dir, stem, stem);
}

int tensors_open_model(tensors *t, const saeuron_host *host, const char *dir, const char *stem,
                       saeuron_error *err)
{
    /* Where a folder has a whole file and an index, transformers takes the file and diffusers the index. Both
     * take a pickle before any variant. */
    static const char *const file_first[] = {
        ".safetensors", ".safetensors.index.json", ".bin", ".bin.index.json", ".fp16.safetensors",
        ".safetensors.index.fp16.json", ".fp16.safetensors.index.json", ".safetensors.fp16.index.json",
        ".fp16.bin", ".bin.index.fp16.json", NULL
    }, *const index_first[] = {
        ".safetensors.index.json", ".safetensors", ".bin", ".bin.index.json",
        ".safetensors.index.fp16.json", ".fp16.safetensors.index.json", ".safetensors.fp16.index.json",
        ".fp16.safetensors", ".fp16.bin", ".bin.index.fp16.json", NULL
    };
    const bool of_diffusers = !strcmp(stem, "diffusion_pytorch_model");
    const char *pickled = strcmp(stem, "model") ? stem : "pytorch_model"; /* as transformers calls it */
    char path[1024];
    int  code = SAEURON_OK;
    *t = (tensors){ .host = host };
    for (const char *const *ending = of_diffusers ? index_first : file_first; *ending; ending++) {
        const bool pickle = strstr(*ending, ".bin") != NULL;
        if (!find_file(path, host, dir, pickle ? pickled : stem, *ending, &code, err))
            continue;
        if (!code && pickle)
            return fail(err, SAEURON_ENOENT,
                        "%s: is what diffusers would load, but a pickle, which is never opened here: convert "
                        "it with docs/convert.py", path);
        return code ? code : tensors_open(t, host, path, err);
    }
    return no_weights(host, dir, stem, pickled, err);
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

int tensors_unchanged(const tensors *t, saeuron_error *err)
{
    int code = SAEURON_OK;
    for (size_t i = 0; i < t->file_count && !code; i++)
        code = io_unchanged(&t->files[i], err);
    return code;
}

tensor *tensors_find(const tensors *t, const char *name)
{
    return find_by_name(t->list, t->count, sizeof *t->list, name);
}

/* ---- writing ---- */

const char *io_dtype_name(dtype type)
{
    for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++)
        if (dtypes[i].type == type)
            return dtypes[i].name;
    return "?";
}

uint64_t tensors_digest(uint64_t h, const tensors *t)
{
    for (size_t i = 0; i < t->count; i++)
        h = nn_hash(h, t->list[i].data, t->list[i].bytes);
    return h;
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
static void put_header(text_out *t, const tensor_out *list, size_t count, const char *const *metadata)
{
    const char *comma = "";
    size_t at = 0, n;
    text_add(t, "{");
    for (const char *const *m = metadata; m && m[0]; m += 2) {
        text_add(t, "%s", m == metadata ? "\"__metadata__\":{" : ",");
        text_quote(t, m[0]);
        text_add(t, ":");
        text_quote(t, m[1]);
        comma = "},";
    }
    for (size_t i = 0; i < count; i++, comma = ",") {
        out_count(&list[i], &n);
        text_add(t, "%s", comma);
        text_quote(t, list[i].name);
        text_add(t, ":{\"dtype\":\"%s\",\"shape\":[", io_dtype_name(list[i].type));
        for (int d = 0; d < list[i].ndim; d++)
            text_add(t, d ? ",%zu" : "%zu", list[i].shape[d]);
        text_add(t, "],\"data_offsets\":[%zu,%zu]}", at, at + n * dtype_size(list[i].type));
        at += n * dtype_size(list[i].type);
    }
    text_add(t, count || !*comma ? "}" : "}}");
    text_add(t, "%*s", (int)((8 - t->n % 8) % 8), "");
}

/* Refuses a list that cannot be written. raw: I64 and U8 may be in it, whose bytes the caller writes. */
static int check_out(const char *path, const tensor_out *list, size_t count, bool raw, saeuron_error *err)
{
    size_t total = 0, n, bytes;
    for (size_t i = 0; i < count; i++) {
        const tensor_out *o = &list[i];
        if (o->type != DT_F32 && o->type != DT_F16 && !(raw && (o->type == DT_I64 || o->type == DT_U8)))
            return fail(err, SAEURON_EUSAGE, "%s: tensor %s: only F32 and F16 are written", path, o->name);
        if (!*o->name || strlen(o->name) > NAME_MAX_BYTES || !strcmp(o->name, "__metadata__"))
            return fail(err, SAEURON_EUSAGE, "%s: \"%s\" cannot name a tensor: choose 1 to %d bytes",
                        path, o->name, NAME_MAX_BYTES);
        if (o->ndim < 0 || o->ndim > TENSOR_DIMS || !out_count(o, &n) ||
            !nn_mul(n, dtype_size(o->type), &bytes) || bytes > SIZE_MAX - total)
            return fail(err, SAEURON_EUSAGE, "%s: tensor %s: impossible shape", path, o->name);
        total += bytes;
    }
    return SAEURON_OK;
}

/* Writes x to p as it is stored. false when it is not finite, or F16 has no such number. */
static bool put_value(unsigned char *p, dtype type, float x)
{
    uint16_t half;
    if (!(x >= -FLT_MAX && x <= FLT_MAX))
        return false;
    if (type != DT_F16)
        put_le(p, f32_bits(x), 4);
    else if (nn_f32_to_f16(&half, x))
        put_le(p, half, 2);
    else
        return false;
    return true;
}

int tensors_put(io_out *out, const tensor_out *o, size_t first, const float *values, size_t n,
                saeuron_error *err)
{
    unsigned char buffer[4096];
    const size_t size = dtype_size(o->type), room = sizeof buffer / size;
    char digits[32];
    int code = SAEURON_OK;
    for (size_t i = 0; i < n && !code;) { /* through a small buffer */
        const size_t some = n - i < room ? n - i : room;
        for (size_t j = 0; j < some; j++)
            if (!put_value(buffer + j * size, o->type, values[i + j])) {
                io_format_float(digits, sizeof digits, values[i + j]);
                return fail(err, SAEURON_ENAN, "%s: tensor %s: element %zu is %s, which %s cannot hold",
                            out->path, o->name, first + i + j, digits,
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

int tensors_begin(io_out *out, const saeuron_host *host, const char *path, const tensor_out *list,
                  size_t count, const char *const *metadata, saeuron_error *err)
{
    text_out header = { .host = host };
    unsigned char size[8];
    const char *twice;
    *out = (io_out){ .file = NULL };
    int code = check_out(path, list, count, true, err);
    if (!code && find_twice(&twice, host, list, count, sizeof *list))
        code = no_memory(err, path, "the names of its tensors");
    else if (!code && twice)
        code = fail(err, SAEURON_EUSAGE, "%s: two tensors are called %s", path, twice);
    for (const char *const *m = metadata; m && m[0] && !code; m += 2)
        if (!m[1])
            code = fail(err, SAEURON_EUSAGE, "%s: its metadata has no value for %s", path, m[0]);
    if (code)
        return code;
    put_header(&header, list, count, metadata);
    put_le(size, header.n, 8);
    code = header.failed ? no_memory(err, path, "its header") : io_out_open(out, path, err);
    if (!code)
        code = io_out_write(out, size, 8, err);
    if (!code)
        code = io_out_write(out, header.at, header.n, err);
    text_free(&header);
    return code;
}

int tensors_save(const saeuron_host *host, const char *path, const tensor_out *list, size_t count,
                 const char *const *metadata, saeuron_error *err)
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
