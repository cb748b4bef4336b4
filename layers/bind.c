/* bind.c: the walk over a network's tensors: each found in the file and checked, or filled from the hash.
 *
 *   name, shape --find_tensor--> bytes in the file        name, shape --make_tensor--> hash-filled bytes
 *
 * Not here: any one network (clip.c, unet.c, vae.c, sae.c), the safetensors format (files/tensors.h). */
#include "layers/bind.h"
#include "arithmetic/rng.h"
#include "arithmetic/threads.h"
#include "files/print.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <string.h>

size_t bind_push(binder *b, const char *format, ...)
{
    const size_t mark = b->at;
    va_list args;
    va_start(args, format);
    const size_t n = print_values(b->prefix + b->at, sizeof b->prefix - b->at, format, args);
    va_end(args);
    if (n + 2 > sizeof b->prefix - b->at) { /* no module path here is that long */
        if (!b->code)
            b->code = fail(b->err, SAEURON_EFORMAT, "a tensor name under %.100s is too long", b->prefix);
        b->prefix[mark] = 0;
        return mark;
    }
    b->at += n;
    b->prefix[b->at++] = '.';
    b->prefix[b->at] = 0;
    return mark;
}

void bind_pop(binder *b, size_t mark)
{
    b->at = mark;
    b->prefix[mark] = 0;
}

/* "[320, 4, 3, 3]" for messages. */
static void shape_text(char *out, size_t size, int ndim, const size_t *shape)
{
    size_t at = 0;
    out[at++] = '[';
    for (int i = 0; i < ndim && at + 24 < size; i++)
        at += print_into(out + at, size - at, "%s%zu", i ? ", " : "", shape[i]);
    out[at++] = ']';
    out[at] = 0;
}

/* Names under which older files keep the VAE's attention, before diffusers 0.18 (AttentionBlock).
 * ModelMixin._convert_deprecated_attention_blocks renames likewise. */
static const struct { const char *now, *then; } aliases[] = {
    { "to_q.weight", "query.weight" },         { "to_q.bias", "query.bias" },
    { "to_k.weight", "key.weight" },           { "to_k.bias", "key.bias" },
    { "to_v.weight", "value.weight" },         { "to_v.bias", "value.bias" },
    { "to_out.0.weight", "proj_attn.weight" }, { "to_out.0.bias", "proj_attn.bias" },
};

static tensor *find_by_alias(const tensors *file, const char *full)
{
    const size_t n = strlen(full);
    for (size_t i = 0; i < sizeof aliases / sizeof *aliases; i++) {
        const size_t m = strlen(aliases[i].now);
        char old[320];
        if (n <= m || strcmp(full + n - m, aliases[i].now) || full[n - m - 1] != '.')
            continue;
        print_into(old, sizeof old, "%.*s%s", (int)(n - m), full, aliases[i].then);
        return tensors_find(file, old);
    }
    return NULL;
}

/* Equal, or equal but for trailing ones: a 1x1 convolution and a linear layer are one matrix. */
static bool same_shape(const tensor *t, int ndim, const size_t *shape)
{
    for (int i = 0; i < ndim || i < t->ndim; i++)
        if ((i < t->ndim ? t->shape[i] : 1) != (i < ndim ? shape[i] : 1))
            return false;
    return true;
}

/* Whether elements at..at+n-1 hold an infinity or a NaN: these have all exponent bits set, in each of the
 * three formats. The loop has no early end, so that it runs in lanes. */
static bool any_bad(const unsigned char *data, dtype type, size_t at, size_t n)
{
    const uint32_t mask = type == DT_F32 ? 0x7f800000u : type == DT_F16 ? 0x7c00u : 0x7f80u;
    const unsigned char *p = data + at * dtype_size(type);
    uint32_t bad = 0;
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    if (type == DT_F32)
        for (size_t i = 0; i < n; i++) {
            uint32_t u;
            memcpy(&u, p + 4 * i, sizeof u);
            bad |= (u & mask) == mask;
        }
    else {
        uint16_t narrow = 0;
        for (size_t i = 0; i < n; i++) {
            uint16_t u;
            memcpy(&u, p + 2 * i, sizeof u);
            narrow = (uint16_t)(narrow | ((u & mask) == mask));
        }
        bad = narrow;
    }
#else
    const size_t size = dtype_size(type);
    for (size_t i = 0; i < n; i++) {
        const uint32_t high = (uint32_t)p[i * size + size - 1] << 8 | p[i * size + size - 2];
        bad |= (type == DT_F32 ? high << 16 & mask : high & mask) == mask;
    }
#endif
    return bad != 0;
}

/* Refuses a file of which a tensor that was bound is not finite. Threads share the tensors, since reading a
 * large file takes most of the time of opening it. */
static int check_finite(const tensors *file, int threads, saeuron_error *err)
{
    size_t first = file->count, at = 0;
    (void)threads;
    OMP(omp parallel for num_threads(threads) schedule(dynamic) reduction(min : first) if (file->count > 1))
    for (size_t i = 0; i < file->count; i++) {
        const tensor *t = &file->list[i];
        const bool floating = t->type == DT_F32 || t->type == DT_F16 || t->type == DT_BF16;
        if (t->used && floating && i < first && any_bad(t->data, t->type, 0, t->count))
            first = i;
    }
    if (first == file->count)
        return SAEURON_OK;
    const tensor *t = &file->list[first];
    while (!any_bad(t->data, t->type, at, 1))
        at++;
    return fail(err, SAEURON_ENAN,
                "%s: tensor %s is not finite at element %zu: the file is damaged, or training failed",
                file->path, t->name, at);
}

/* How a tensor is filled: centre + uniform in +-a, from a stream of its own (contract 6). */
typedef struct hashed { uint64_t seed, stream; float a, centre; } hashed;

static bool ends_in(const char *name, const char *end)
{
    const size_t n = strlen(name), m = strlen(end);
    return n >= m && !strcmp(name + n - m, end);
}

static hashed hash_rule(uint64_t seed, const char *name, int ndim, const size_t *shape)
{
    hashed h = { .seed = seed, .stream = nn_hash(0, name, strlen(name)), .a = 0.1f };
    double fan_in = 1;
    for (int d = 1; d < ndim; d++)
        fan_in *= (double)shape[d];
    if (ndim >= 2)
        h.a = (float)sqrt(3.0 / fan_in);
    else if (!ends_in(name, "bias") && !ends_in(name, "b_dec"))
        h.centre = 1.0f;
    return h;
}

static float hash_value(const hashed *h, size_t i)
{
    const float v = rng_symmetric(h->seed, h->stream, i, h->a);
    return h->centre == 0 ? v : h->centre + v;
}

float hash_weight(uint64_t seed, const char *name, int ndim, const size_t *shape, size_t i)
{
    const hashed h = hash_rule(seed, name, ndim, shape);
    return hash_value(&h, i);
}

/* count elements, little-endian as in a file; F16 rounds to nearest even. */
static void hash_fill(unsigned char *p, dtype type, const hashed *h, size_t count, int threads)
{
    (void)threads;
    OMP(omp parallel for num_threads(threads) if (count > 100000))
    for (size_t i = 0; i < count; i++) {
        const float v = hash_value(h, i);
        uint32_t u;
        uint16_t half = 0;
        memcpy(&u, &v, 4);
        if (type == DT_F16) {
            nn_f32_to_f16(&half, v); /* never too large: |v| < 2 */
            u = half;
        }
        for (size_t j = 0; j < dtype_size(type); j++)
            p[dtype_size(type) * i + j] = (unsigned char)(u >> 8 * j);
    }
}

/* The tensor made from the hash; w->data is NULL while keep only measures. */
static void make_tensor(binder *b, const char *full, weight *w, int ndim, const size_t *shape, size_t count)
{
    const hashed   rule = hash_rule(b->seed, full, ndim, shape);
    unsigned char *values = arena_bytes(b->keep, count, dtype_size(w->type));

    if (values)
        hash_fill(values, w->type, &rule, count, b->threads);
    w->data = values;
}

/* The tensor as the file has it, of the shape and one of the types that are asked for. */
static void find_tensor(binder *b, const char *full, weight *w, int ndim, const size_t *shape)
{
    char    want[128], found[128];
    tensor *t = tensors_find(b->file, full);

    if (!t)
        t = find_by_alias(b->file, full);
    shape_text(want, sizeof want, ndim, shape);
    if (!t) {
        b->code = fail(b->err, SAEURON_EFORMAT,
                       "%s: tensor %s %s is missing: "
                       "the file is for another architecture than the config beside it says",
                       b->file->path, full, want);
        return;
    }
    shape_text(found, sizeof found, t->ndim, t->shape);
    if (!same_shape(t, ndim, shape)) {
        b->code = fail(b->err, SAEURON_EFORMAT,
                       "%s: tensor %s has shape %s, but the config beside it asks for %s", b->file->path,
                       full, found, want);
        return;
    }
    if (t->type != DT_F32 && t->type != DT_F16 && t->type != DT_BF16) {
        b->code = fail(b->err, SAEURON_EFORMAT,
                       "%s: tensor %s is not F32, F16 or BF16: convert it to one of them",
                       b->file->path, full);
        return;
    }
    t->used = true;
    w->data = t->data;
    w->type = t->type;
}

/* NAME below the prefix, found or made, for a field of the network. */
static void bind_tensor(binder *b, const char *name, weight *w, const void *field, int ndim,
                        const size_t *shape)
{
    char   full[320];
    size_t count = 1;

    *w = (weight){ .type = b->type == DT_F16 ? DT_F16 : DT_F32 };
    for (int i = 0; i < ndim; i++)
        if (!nn_mul(count, shape[i], &count)) {
            b->keep->failed = true;
            return;
        }
    if (b->code)
        return;
    print_into(full, sizeof full, "%s%s", b->prefix, name);
    if (b->list)
        b->list(b->list_user, full, field, ndim, shape);
    if (b->file)
        find_tensor(b, full, w, ndim, shape);
    else
        make_tensor(b, full, w, ndim, shape, count);
}

void bind_matrix(binder *b, const char *name, weight *w, size_t rows, size_t columns)
{
    const size_t shape[2] = { rows, columns };
    bind_tensor(b, name, w, w, 2, shape);
}

void bind_array(binder *b, const char *name, const float **v, int ndim, const size_t *shape)
{
    weight w;
    size_t n = 1;
    bind_tensor(b, name, &w, v, ndim, shape); /* which refuses a product that overflows */
    for (int i = 0; i < ndim; i++)
        n *= shape[i];
    float *y = arena_floats(b->keep, n);
    if (y && w.data)
        nn_widen(y, w, 0, n);
    *v = y;
}

void bind_vector(binder *b, const char *name, const float **v, size_t n) { bind_array(b, name, v, 1, &n); }

/* A layer's weights [N,ci,...] a second time, as the kernels read them, if that was asked for. */
static void pack_weight(binder *b, weight *w, int ndim, const size_t *shape)
{
    const size_t taps = ndim == 4 ? shape[2] * shape[3] : 1;
    const size_t n = b->pack && !b->code ? nn_packed_size(b->pack, shape[0], taps, shape[1]) : 0;
    if (!n)
        return;
    float *packed = arena_floats(b->keep, n);
    if (packed && w->data)
        nn_pack(b->pack, packed, *w, shape[0], taps, shape[1]);
    w->packed = packed;
}

static void bind_weight_and_bias(binder *b, const char *name, weight *w, const float **bias,
                                 int ndim, const size_t *shape)
{
    const size_t mark = bind_push(b, "%s", name);
    bind_tensor(b, "weight", w, w, ndim, shape);
    pack_weight(b, w, ndim, shape);
    bind_vector(b, "bias", bias, shape[0]);
    bind_pop(b, mark);
}

void bind_linear(binder *b, const char *name, linear *l, size_t in, size_t out)
{
    const size_t shape[2] = { out, in };
    l->in = in;
    l->out = out;
    bind_weight_and_bias(b, name, &l->w, &l->bias, 2, shape);
}

void bind_linear_no_bias(binder *b, const char *name, linear *l, size_t in, size_t out)
{
    const size_t shape[2] = { out, in }, mark = bind_push(b, "%s", name);
    *l = (linear){ .in = in, .out = out };
    bind_tensor(b, "weight", &l->w, &l->w, 2, shape);
    pack_weight(b, &l->w, 2, shape);
    bind_pop(b, mark);
}

void bind_conv(binder *b, const char *name, conv *l, size_t ci, size_t co, size_t k)
{
    const size_t shape[4] = { co, ci, k, k };
    *l = (conv){ .ci = ci, .co = co, .k = k };
    bind_weight_and_bias(b, name, &l->w, &l->bias, 4, shape);
}

void bind_norm(binder *b, const char *name, norm *l, size_t C)
{
    const size_t mark = bind_push(b, "%s", name);
    l->C = C;
    bind_vector(b, "weight", &l->gamma, C);
    bind_vector(b, "bias", &l->beta, C);
    bind_pop(b, mark);
}

/* The buffer 0, 1, 2, ... that CLIPTextEmbeddings saved before transformers 4.31. Since then it is made anew,
 * and what a file says is not read. */
static bool ignorable(const char *name)
{
    return !strcmp(name, "text_model.embeddings.position_ids") || !strcmp(name, "embeddings.position_ids");
}

/* Refuses a file that holds a tensor which the walk did not name. */
static int check_known(const tensors *file, saeuron_error *err)
{
    for (size_t i = 0; i < file->count; i++)
        if (!file->list[i].used && !ignorable(file->list[i].name))
            return fail(err, SAEURON_EFORMAT,
                        "%s: tensor %s is unknown to this architecture: check the config beside it",
                        file->path, file->list[i].name);
    return SAEURON_OK;
}

/* b says what to bind from; *memory gets what the file does not hold. */
static int bind_all(binder b, const saeuron_host *host, void (*walk)(binder *, void *), void *network,
                    void **memory)
{
    const char *from = b.file ? b.file->path : "hash-filled weights";
    arena keep = { 0 };

    b.keep = &keep;
    *memory = NULL;
    walk(&b, network);
    if (!b.code && b.file)
        b.code = check_finite(b.file, b.threads, b.err);
    if (b.code)
        return b.code;
    if (!keep.failed)
        *memory = io_alloc(host, keep.peak ? keep.peak + 64 : 64, 1);
    if (!*memory)
        return fail(b.err, SAEURON_ENOMEM, "%s: no memory for %zu bytes of weights", from, keep.peak);
    keep = (arena){ .base = *memory, .size = keep.peak + 64 };
    walk(&b, network);
    if (!b.code && keep.failed)
        b.code = fail(b.err, SAEURON_ENOMEM, "the plan of a network's memory was too small: this is a bug");
    if (!b.code && b.file)
        b.code = check_known(b.file, b.err);
    if (b.code) {
        io_free(host, *memory);
        *memory = NULL;
    }
    return b.code;
}

bool packs(const saeuron_host *host, const tensors *file)
{
    size_t weights = 0;
    for (size_t i = 0; i < file->count; i++)
        weights += file->list[i].count;
    return weights <= host->pack / sizeof(float);
}

int bind_file(const saeuron_host *host, tensors *file, const nn *c, bool pack, void (*walk)(binder *, void *),
              void *network, void **memory, saeuron_error *err)
{
    const binder b = { .file = file, .threads = c ? c->threads : 1, .pack = pack ? c : NULL, .err = err };
    return bind_all(b, host, walk, network, memory);
}

int bind_hashed(const saeuron_host *host, uint64_t seed, dtype type, int threads,
                void (*walk)(binder *, void *), void *network, void **memory, saeuron_error *err)
{
    const binder b = { .seed = seed, .type = type, .threads = threads, .err = err };
    return bind_all(b, host, walk, network, memory);
}
